// Objects as Python prints them.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ostream>

#include "managers/object_array.hpp"
#include "managers/object_nodes.hpp"
#include "managers/utf8.hpp"

namespace cohort::managers {

namespace {

using Kind = Object::Kind;

// The shortest digits that read back as the same number.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  auto* const last = buffer.data() + buffer.size();
  const auto [end, error] =
      std::to_chars(buffer.data(), last, value, std::chars_format::scientific);
  std::string text(buffer.data(), end);
  const auto exponent_at = text.find('e');
  const int exponent = std::atoi(text.c_str() + exponent_at + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(buffer.data(), last, value, std::chars_format::fixed);
  text.assign(buffer.data(), fixed.ptr);
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

// Without the ".0" that tells a float from an int.
std::string complex_part(double value) {
  auto text = float_text(value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

std::string complex_text(const ComplexNode& value) {
  const auto imaginary = complex_part(value.imaginary) + 'j';
  if (value.real == 0 && !std::signbit(value.real)) return imaginary;
  const bool sign = imaginary[0] == '-';
  return '(' + complex_part(value.real) + (sign ? "" : "+") + imaginary + ')';
}

void append_hex(std::string& out, const char* lead, std::uint32_t value, int digits) {
  out += lead;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[value >> shift & 0xf];
  }
}

// What has no picture of its own: controls, spaces other than ' ', surrogates, private use. Close
// to Python's idea, whose tables of Unicode are not here.
bool is_printable(std::uint32_t code) {
  struct Span {
    std::uint32_t first;
    std::uint32_t last;
  };
  constexpr Span hidden[] = {
      {0x7f, 0xa0},     {0xad, 0xad},     {0x600, 0x605},   {0x1680, 0x1680},   {0x180e, 0x180e},
      {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},   {0xd800, 0xf8ff},
      {0xfeff, 0xfeff}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff}};
  for (const auto& [first, last] : hidden) {
    if (code >= first && code <= last) return false;
  }
  return code >= 0x20;
}

// True for the characters that str and bytes escape alike.
bool append_common(std::string& out, std::uint32_t code, char quote) {
  switch (code) {
    case '\n':
      out += "\\n";
      return true;
    case '\r':
      out += "\\r";
      return true;
    case '\t':
      out += "\\t";
      return true;
    case '\\':
      out += "\\\\";
      return true;
    default:
      if (code != static_cast<unsigned char>(quote)) return false;
      out += '\\';
      out += quote;
      return true;
  }
}

char quote_for(std::string_view text) {
  const bool single = text.find('\'') != std::string_view::npos;
  return single && text.find('"') == std::string_view::npos ? '"' : '\'';
}

void append_text(std::string& out, std::string_view text) {
  const char quote = quote_for(text);
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const auto before = at;
    const auto code = next_code_point(text, at);
    if (!code) {
      append_hex(out, "\\x", static_cast<unsigned char>(text[at++]), 2);
    } else if (append_common(out, *code, quote)) {
    } else if (is_printable(*code)) {
      out += text.substr(before, at - before);
    } else if (*code < 0x100) {
      append_hex(out, "\\x", *code, 2);
    } else if (*code < 0x10000) {
      append_hex(out, "\\u", *code, 4);
    } else {
      append_hex(out, "\\U", *code, 8);
    }
  }
  out += quote;
}

// Python escapes every single quote of a bytearray, whatever is around it.
void append_bytes(std::string& out, std::string_view bytes, bool array = false) {
  const char quote = quote_for(bytes);
  out += 'b';
  out += quote;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (append_common(out, code, array && byte == '\'' ? '\'' : quote)) continue;
    if (code >= 0x20 && code < 0x7f) {
      out += byte;
    } else {
      append_hex(out, "\\x", code, 2);
    }
  }
  out += quote;
}

class Printer {
 public:
  explicit Printer(std::string& out) noexcept : out_(out) {}

  void print(const Object& object, std::size_t depth = 0) {
    check_nesting(depth);
    switch (object.kind()) {
      case Kind::none:
        out_ += "None";
        return;
      case Kind::boolean:
        out_ += ObjectAccess::boolean_of(object) ? "True" : "False";
        return;
      case Kind::integer:
        out_ += is_big(object) ? big_of(object).decimal()
                               : std::to_string(ObjectAccess::integer_of(object));
        return;
      case Kind::floating:
        out_ += float_text(ObjectAccess::floating_of(object));
        return;
      case Kind::complex:
        out_ += complex_text(complex_of(object));
        return;
      case Kind::str:
        append_text(out_, text_of(object).content);
        return;
      case Kind::bytes:
        append_bytes(out_, text_of(object).content);
        return;
      case Kind::bytearray:
        out_ += "bytearray(";
        append_bytes(out_, text_of(object).content, true);
        out_ += ')';
        return;
      default:
        print_container(object, depth + 1);
    }
  }

 private:
  void print_container(const Object& object, std::size_t depth) {
    switch (object.kind()) {
      case Kind::tuple:
        print_elements(object, "(", object.size() == 1 ? ",)" : ")", depth);
        return;
      case Kind::list:
        print_elements(object, "[", "]", depth);
        return;
      case Kind::dict:
        print_dict(object, depth);
        return;
      case Kind::set:
        object.empty() ? void(out_ += "set()") : print_elements(object, "{", "}", depth);
        return;
      case Kind::frozenset:
        object.empty() ? void(out_ += "frozenset()")
                       : print_elements(object, "frozenset({", "})", depth);
        return;
      default:
        print_instance(object, depth);
    }
  }

  void print_elements(const Object& object, const char* open, const char* close,
                      std::size_t depth) {
    out_ += open;
    const char* comma = "";
    for (const auto& element : object) {
      out_ += comma;
      print(element, depth);
      comma = ", ";
    }
    out_ += close;
  }

  void print_dict(const Object& dict, std::size_t depth) {
    out_ += '{';
    const char* comma = "";
    for (const auto& [key, value] : dict.items()) {
      out_ += comma;
      print(key, depth);
      out_ += ": ";
      print(value, depth);
      comma = ", ";
    }
    out_ += '}';
  }

  void print_instance(const Object& object, std::size_t depth) {
    const auto& [module, name, args, state] = object.instance();
    out_ += name;
    if (is_array(object)) {
      print_array(object);
    } else if (module == "builtins" && name == "range" && args.size() == 3 && args[2] == 1) {
      print_elements(Object::tuple({args[0], args[1]}), "(", ")", depth);
    } else if (module == "collections" && name == "deque" && args.size() == 2) {
      out_ += '(';
      print(args[0], depth);
      out_ += ", maxlen=";
      print(args[1], depth);
      out_ += ')';
    } else {
      print_elements(args, "(", ")", depth);
    }
  }

  void print_array(const Object& array) {
    out_ += '(';
    print(array.instance().args[0]);
    const auto size = array_size(array);
    if (size != 0) out_ += ", [";
    for (std::size_t i = 0; i < size; ++i) {
      if (i != 0) out_ += ", ";
      print(array_item(array, i));
    }
    out_ += size != 0 ? "])" : ")";
  }

  std::string& out_;
};

}  // namespace

std::string Object::repr() const {
  std::string out;
  Printer(out).print(*this);
  return out;
}

std::string Object::str() const { return is_str() ? std::string(text()) : repr(); }

std::ostream& Object::print(std::ostream& out) const { return out << repr(); }

}  // namespace cohort::managers
