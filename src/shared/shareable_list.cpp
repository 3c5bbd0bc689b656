// The layout is that of Lib/multiprocessing/shared_memory.py in CPython 3.8 to 3.13:
//   N                   int64
//   N + 1 offsets       int64, from the start of the values; the last one is their end
//   values              8 bytes each for numbers; text and bytes padded with NULs to their room
//   N formats           8 bytes each, padded with NULs
//   N codes             int8: what to make of the value that the format reads
#include "cohort/shareable_list.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <iomanip>
#include <optional>
#include <ostream>
#include <span>
#include <sstream>
#include <stdexcept>

#include "shared/shared_memory_maker.hpp"

namespace cohort {
namespace {

using Item = ShareableItem;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kWord = 8;
constexpr std::size_t kLongestText = 9'999'999 / kWord * kWord;  // what 8 characters can say

enum class Code : std::int8_t { plain, text, bytes, nothing };

// How one item is stored.
struct Packed {
  std::string format;
  Code code = Code::plain;
  std::array<std::byte, kWord> word{};
  std::span<const std::byte> text{};  // instead of the word
  bool is_text() const { return code == Code::text || code == Code::bytes; }
  std::span<const std::byte> content() const {
    return is_text() ? text : std::span<const std::byte>(word);
  }
};

std::string text_format(std::size_t room) { return std::to_string(room) + "s"; }
std::size_t room_for(std::size_t bytes) { return kWord * (bytes / kWord + 1); }

template <class Number>
Packed pack_number(const char* format, Number number) {
  static_assert(sizeof number == kWord);
  Packed packed{format};
  std::memcpy(packed.word.data(), &number, kWord);
  return packed;
}

Packed pack_text(Code code, std::span<const std::byte> text) {
  return {text_format(room_for(text.size())), code, {}, text};
}

struct Packer {
  Packed operator()(std::monostate) const { return {"xxxxxx?x", Code::nothing}; }
  Packed operator()(bool value) const {
    Packed packed{"xxxxxxx?"};
    packed.word.back() = std::byte{value};
    return packed;
  }
  Packed operator()(std::int64_t value) const { return pack_number("q", value); }
  Packed operator()(double value) const { return pack_number("d", value); }
  Packed operator()(const std::string& value) const {
    return pack_text(Code::text, std::as_bytes(std::span(value)));
  }
  Packed operator()(const Bytes& value) const { return pack_text(Code::bytes, value); }
};

// Refers to the item's text.
Packed pack(const Item& item) { return std::visit(Packer(), item); }

std::size_t room_of(const Packed& packed) {
  return packed.is_text() ? room_for(packed.text.size()) : kWord;
}

template <class Number>
Number read(std::span<const std::byte> bytes, std::size_t from) {
  Number number;
  std::memcpy(&number, bytes.data() + from, sizeof number);
  return number;
}
template <class Number>
void write(std::span<std::byte> bytes, std::size_t from, Number number) {
  std::memcpy(bytes.data() + from, &number, sizeof number);
}

void write_padded(std::span<std::byte> room, std::span<const std::byte> content) {
  auto end = std::copy(content.begin(), content.end(), room.begin());
  std::fill(end, room.end(), std::byte{0});
}

std::span<const std::byte> without_padding(std::span<const std::byte> text) {
  while (!text.empty() && text.back() == std::byte{0}) text = text.first(text.size() - 1);
  return text;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// "24s": 24. Empty for other formats.
std::optional<std::size_t> text_room(std::string_view format) {
  std::size_t room = 0;
  if (format.size() < 2 || format.back() != 's') return std::nullopt;
  auto [end, error] = std::from_chars(format.data(), format.data() + format.size() - 1, room);
  if (error != std::errc() || end != format.data() + format.size() - 1) return std::nullopt;
  return room;
}

void print_text(std::ostream& out, std::string_view text) {
  out << '\'';
  for (char c : text) {
    if (c == '\'' || c == '\\') out << '\\';
    out << c;
  }
  out << '\'';
}

void print_bytes(std::ostream& out, const Bytes& bytes) {
  std::ostringstream text;
  text << std::hex << std::setfill('0');
  for (std::byte byte : bytes) {
    auto c = static_cast<unsigned char>(byte);
    bool printable = c >= ' ' && c < 0x7f && c != '\'' && c != '\\';
    if (printable) {
      text << static_cast<char>(c);
    } else {
      text << "\\x" << std::setw(2) << unsigned{c};
    }
  }
  out << "b'" << text.str() << '\'';
}

struct Printer {
  std::ostream& out;
  void operator()(std::monostate) const { out << "None"; }
  void operator()(bool value) const { out << (value ? "True" : "False"); }
  void operator()(std::int64_t value) const { out << value; }
  void operator()(double value) const { out << value; }
  void operator()(const std::string& value) const { print_text(out, value); }
  void operator()(const Bytes& value) const { print_bytes(out, value); }
};

}  // namespace

// Where everything is. Read once and checked, since others can write to the block: what they write
// there later leads no reader out of it.
struct ShareableList::Layout {
  std::vector<std::size_t> offsets{0};

  std::size_t count() const { return offsets.size() - 1; }
  std::size_t values() const { return kWord * (offsets.size() + 1); }
  std::size_t formats() const { return values() + offsets.back(); }
  std::size_t codes() const { return formats() + kWord * count(); }
  std::size_t end() const { return codes() + count(); }
  std::size_t room(std::size_t i) const { return offsets[i + 1] - offsets[i]; }

  template <class Byte>
  std::span<Byte> slot(std::span<Byte> bytes, std::size_t i) const {
    return bytes.subspan(values() + offsets[i], room(i));
  }
  template <class Byte>
  std::span<Byte> format(std::span<Byte> bytes, std::size_t i) const {
    return bytes.subspan(formats() + kWord * i, kWord);
  }
  Code code(std::span<const std::byte> bytes, std::size_t i) const {
    return static_cast<Code>(read<std::int8_t>(bytes, codes() + i));
  }
  std::string format_text(std::span<const std::byte> bytes, std::size_t i) const {
    return std::string(as_text(without_padding(format(bytes, i))));
  }

  static std::shared_ptr<const Layout> read_from(const SharedMemory& memory);
};

namespace {

[[noreturn]] void no_list(const SharedMemory& memory, const char* why) {
  throw Error("shared memory '" + memory.name() + "' holds no ShareableList: " + why);
}

}  // namespace

std::shared_ptr<const ShareableList::Layout> ShareableList::Layout::read_from(
    const SharedMemory& memory) {
  std::span<const std::byte> bytes = memory.bytes();
  if (bytes.size() < 2 * kWord) no_list(memory, "it is too small");
  auto count = read<std::int64_t>(bytes, 0);
  // Each item takes an offset, a value, a format and a code.
  constexpr std::size_t kLeast = 3 * kWord + 1;
  if (count < 0 || static_cast<std::uint64_t>(count) > (bytes.size() - 2 * kWord) / kLeast)
    no_list(memory, "its length does not fit into the block");
  auto layout = std::make_shared<Layout>();
  layout->offsets.resize(static_cast<std::size_t>(count) + 1);
  for (std::size_t i = 0; i < layout->offsets.size(); ++i)
    layout->offsets[i] = read<std::uint64_t>(bytes, kWord * (i + 1));
  if (layout->offsets.front() != 0) no_list(memory, "its first item is not where it should be");
  for (std::size_t i = 0; i < layout->count(); ++i) {
    if (layout->offsets[i + 1] > bytes.size() ||
        layout->offsets[i + 1] < layout->offsets[i] + kWord)
      no_list(memory, "an item is not inside the block");
  }
  if (layout->end() > bytes.size()) no_list(memory, "its items do not fit into the block");
  return layout;
}

ShareableList::ShareableList(const std::vector<Item>& items, std::string_view name,
                             SharedMemoryOptions options)
    : memory_([&] {
        std::vector<Packed> packed;
        Layout layout;
        for (const Item& item : items) {
          packed.push_back(pack(item));
          std::size_t room = room_of(packed.back());
          if (room > kLongestText)
            throw std::invalid_argument("text of " + std::to_string(packed.back().text.size()) +
                                        " bytes is too long for a ShareableList: its room must "
                                        "be below 10,000,000 bytes");
          layout.offsets.push_back(layout.offsets.back() + room);
        }
        auto fill = [&](std::span<std::byte> bytes) {
          write(bytes, 0, static_cast<std::int64_t>(items.size()));
          for (std::size_t i = 0; i <= items.size(); ++i)
            write(bytes, kWord * (i + 1), static_cast<std::int64_t>(layout.offsets[i]));
          for (std::size_t i = 0; i < items.size(); ++i) {
            write_padded(layout.slot(bytes, i), packed[i].content());
            write_padded(layout.format(bytes, i), std::as_bytes(std::span(packed[i].format)));
            write(bytes, layout.codes() + i, packed[i].code);
          }
        };
        return SharedMemoryMaker::make(name, layout.end(), options, fill);
      }()),
      layout_(Layout::read_from(memory_)) {}

ShareableList::ShareableList(const ShareableList& other, std::string_view name,
                             SharedMemoryOptions options)
    : memory_(SharedMemoryMaker::make(name, other.layout().end(), options,
                                      [&](std::span<std::byte> bytes) {
                                        auto from = other.memory_.bytes();
                                        std::copy_n(from.begin(), bytes.size(), bytes.begin());
                                      })),
      layout_(Layout::read_from(memory_)) {}

ShareableList::ShareableList(SharedMemory memory)
    : memory_(std::move(memory)), layout_(Layout::read_from(memory_)) {}

ShareableList ShareableList::open(std::string_view name) {
  return ShareableList(SharedMemory::open(name));
}

const ShareableList::Layout& ShareableList::layout() const {
  if (!layout_) throw Error("this handle of a ShareableList is empty: it was moved from");
  return *layout_;
}

std::size_t ShareableList::size() const { return layout().count(); }

std::size_t ShareableList::place(std::int64_t index) const {
  auto count = static_cast<std::int64_t>(layout().count());
  std::int64_t from_start = index < 0 ? index + count : index;
  if (from_start < 0 || from_start >= count)
    throw IndexError("index " + std::to_string(index) + " is out of range in a ShareableList of " +
                     std::to_string(count));
  return static_cast<std::size_t>(from_start);
}

Item ShareableList::get(std::int64_t index) const {
  std::size_t i = place(index);
  std::span<const std::byte> bytes = memory_.bytes();
  auto slot = layout().slot(bytes, i);
  std::string format = layout().format_text(bytes, i);
  Code code = layout().code(bytes, i);
  if (code == Code::plain) {
    if (format == "q") return read<std::int64_t>(slot, 0);
    if (format == "d") return read<double>(slot, 0);
    if (format == "xxxxxxx?") return slot[kWord - 1] != std::byte{0};
  }
  if (code == Code::nothing && format == "xxxxxx?x") return std::monostate();
  auto room = text_room(format);
  if (room && *room <= slot.size()) {
    auto text = without_padding(slot.first(*room));
    if (code == Code::text) return std::string(as_text(text));
    if (code == Code::bytes) return Bytes(text.begin(), text.end());
  }
  throw Error("item " + std::to_string(i) + " of shared memory '" + memory_.name() +
              "' is of no kind that a ShareableList has: it is being written, or was never one");
}

void ShareableList::set(std::int64_t index, const Item& item) const {
  std::size_t i = place(index);
  std::span<std::byte> bytes = memory_.bytes();
  auto slot = layout().slot(bytes, i);
  Packed packed = pack(item);
  if (packed.is_text()) {
    if (packed.text.size() > slot.size())
      throw std::invalid_argument(std::to_string(packed.text.size()) +
                                  " bytes do not fit into a slot of " +
                                  std::to_string(slot.size()));
    auto room = text_room(layout().format_text(bytes, i));
    bool keeps = room && *room <= slot.size() && *room >= packed.text.size();
    packed.format = text_format(keeps ? *room : slot.size());
  }
  write_padded(layout().format(bytes, i), std::as_bytes(std::span(packed.format)));
  write(bytes, layout().codes() + i, packed.code);
  write_padded(packed.is_text() ? slot : slot.first(kWord), packed.content());
}

std::string ShareableList::format(std::int64_t index) const {
  return layout().format_text(memory_.bytes(), place(index));
}

std::string ShareableList::format() const {
  std::string all;
  for (std::size_t i = 0; i < size(); ++i) all += format(static_cast<std::int64_t>(i));
  return all;
}

std::size_t ShareableList::index(const Item& item) const {
  for (std::size_t i = 0; i < size(); ++i) {
    if (get(static_cast<std::int64_t>(i)) == item) return i;
  }
  std::ostringstream text;
  std::visit(Printer{text}, item);
  throw std::invalid_argument(text.str() + " is not in the list");
}

std::size_t ShareableList::count(const Item& item) const {
  return static_cast<std::size_t>(std::count(begin(), end(), item));
}

const char* ShareableList::name_of(const Item& item) {
  static constexpr std::array names{"nothing", "bool",        "std::int64_t",
                                    "double",  "std::string", "std::vector<std::byte>"};
  return item.index() < names.size() ? names[item.index()] : "nothing";
}

std::ostream& operator<<(std::ostream& out, const ShareableList& list) {
  out << "ShareableList([";
  const char* separator = "";
  for (const Item& item : list) {
    out << separator;
    std::visit(Printer{out}, item);
    separator = ", ";
  }
  return out << "], name='" << list.memory_.name() << "')";
}

}  // namespace cohort
