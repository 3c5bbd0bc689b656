#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>

#include "managers/utf8.hpp"
#include "wire/pickle.hpp"
#include "wire/pickle_classes.hpp"
#include "wire/pickle_opcodes.hpp"

namespace cohort::wire {

namespace {

using managers::Object;
using Kind = Object::Kind;

constexpr std::size_t kDeepest = 1000;  // what CPython still prints and compares
constexpr std::size_t kBatch = 1000;    // items between two marks: readers stack them all

class Encoder {
 public:
  explicit Encoder(int protocol) {
    op(Op::proto);
    byte(static_cast<unsigned>(protocol));
  }

  void write(const Object& object, std::size_t depth = 0) {
    switch (object.kind()) {
      case Kind::none:
        return op(Op::none);
      case Kind::boolean:
        return op(object.as<bool>() ? Op::true_ : Op::false_);
      case Kind::integer:
        return write_integer(object);
      case Kind::floating:
        return write_float(object.as<double>());
      case Kind::complex:
        return write_complex(object);
      case Kind::str:
        return write_text(object.text());
      case Kind::bytes:
        return write_counted(Op::short_binbytes, Op::binbytes, Op::binbytes8, object.data());
      case Kind::bytearray:
        op(Op::bytearray8);
        little_endian(object.data().size(), 8);
        return append(object.data());
      default:
        return write_container(object, depth + 1);
    }
  }

  std::vector<std::byte> finish() {
    op(Op::stop);
    return std::move(out_);
  }

 private:
  void byte(unsigned value) { out_.push_back(static_cast<std::byte>(value)); }
  void op(Op opcode) { byte(static_cast<unsigned>(opcode)); }
  void append(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void little_endian(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i, value >>= 8) byte(value & 0xff);
  }

  void write_counted(Op tiny, Op small, Op large, std::span<const std::byte> bytes) {
    const auto size = bytes.size();
    op(size < 0x100 ? tiny : size <= 0xffff'ffff ? small : large);
    little_endian(size, size < 0x100 ? 1 : size <= 0xffff'ffff ? 4 : 8);
    append(bytes);
  }

  void write_text(std::string_view text) {
    if (!managers::is_utf8(text)) throw SerializationError("a str to be pickled is not UTF-8");
    write_counted(Op::short_binunicode, Op::binunicode, Op::binunicode8,
                  std::as_bytes(std::span(text)));
  }

  void write_float(double value) {
    op(Op::binfloat);
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int shift = 56; shift >= 0; shift -= 8) byte(bits >> shift & 0xff);
  }

  void write_integer(const Object& object) {
    const auto bytes = object.twos_complement();
    if (bytes.size() <= 4) return write_small(object.as<std::int32_t>());
    if (bytes.size() < 0x100) {
      op(Op::long1);
      byte(static_cast<unsigned>(bytes.size()));
    } else {
      if (bytes.size() > 0x7fff'ffff) throw SerializationError("an int is too large to be pickled");
      op(Op::long4);
      little_endian(bytes.size(), 4);
    }
    append(bytes);
  }

  void write_small(std::int32_t value) {
    const bool one = value >= 0 && value < 0x100;
    const bool two = value >= 0 && value < 0x10000;
    op(one ? Op::binint1 : two ? Op::binint2 : Op::binint);
    little_endian(static_cast<std::uint32_t>(value), one ? 1 : two ? 2 : 4);
  }

  void write_complex(const Object& object) {
    const auto bytes = detail::ObjectAccess::read_complex(object);
    write_class("builtins", "complex");
    write_float(bytes.first);
    write_float(bytes.second);
    op(Op::tuple2);
    op(Op::reduce);
  }

  void write_class(std::string_view module, std::string_view name) {
    write_text(module);
    write_text(name);
    op(Op::stack_global);
  }

  static void check_depth(std::size_t depth) {
    if (depth > kDeepest) {
      throw SerializationError("an object nested deeper than 1,000 cannot be pickled");
    }
  }

  void write_container(const Object& object, std::size_t depth) {
    check_depth(depth);
    switch (object.kind()) {
      case Kind::tuple:
        return write_tuple(object.elements(), depth);
      case Kind::list:
        op(Op::empty_list);
        return write_batches(object, Op::appends, depth);
      case Kind::dict:
        op(Op::empty_dict);
        return write_items(object, depth);
      case Kind::set:
        op(Op::empty_set);
        return write_batches(object, Op::additems, depth);
      case Kind::frozenset:
        op(Op::mark);
        for (const auto& element : object) write(element, depth);
        return op(Op::frozenset);
      default:
        return write_instance(object.instance(), depth);
    }
  }

  void write_tuple(std::span<const Object> elements, std::size_t depth) {
    constexpr Op sizes[] = {Op::empty_tuple, Op::tuple1, Op::tuple2, Op::tuple3};
    const bool marked = elements.size() > 3;
    if (marked) op(Op::mark);
    for (const auto& element : elements) write(element, depth);
    op(marked ? Op::tuple : sizes[elements.size()]);
  }

  void write_batches(const Object& elements, Op end, std::size_t depth) {
    std::size_t count = 0;
    for (const auto& element : elements) {
      if (count % kBatch == 0) {
        if (count != 0) op(end);
        op(Op::mark);
      }
      write(element, depth);
      ++count;
    }
    if (count != 0) op(end);
  }

  void write_items(const Object& dict, std::size_t depth) {
    std::size_t count = 0;
    for (const auto& [key, value] : dict.items()) {
      if (count % kBatch == 0) {
        if (count != 0) op(Op::setitems);
        op(Op::mark);
      }
      write(key, depth);
      write(value, depth);
      ++count;
    }
    if (count != 0) op(Op::setitems);
  }

  // Only classes on the list, with arguments that fit: what a peer asked to be kept here may not
  // run code in another peer.
  ClassKind check(const Object::Instance& instance) {
    const auto kind = class_kind({instance.module, instance.name});
    const auto* fault = fault_of(kind, instance.args.elements());
    if (fault == nullptr && !instance.state.is_none()) fault = state_fault(kind, instance.state);
    if (fault != nullptr) {
      throw SerializationError("an object of " + instance.module + "." + instance.name +
                               " cannot be pickled: " + fault);
    }
    return kind;
  }

  void write_instance(const Object::Instance& instance, std::size_t depth) {
    const auto kind = check(instance);
    const auto args = instance.args.elements();
    check_depth(depth + 1);
    write_class(instance.module, instance.name);
    switch (kind) {
      case ClassKind::token:
        op(Op::empty_tuple);
        op(Op::newobj);
        write_tuple(args, depth + 1);
        return op(Op::build);
      case ClassKind::ordered_dict:
        op(Op::empty_tuple);
        op(Op::reduce);
        return write_items(args[0], depth);
      case ClassKind::deque:
        write_deque_bound(args);
        op(Op::reduce);
        return write_batches(args[0], Op::appends, depth);
      default:
        write(instance.args, depth);
        op(Op::reduce);
        if (instance.state.is_none()) return;
        write(instance.state, depth);
        return op(Op::build);
    }
  }

  void write_deque_bound(std::span<const Object> args) {
    op(Op::empty_tuple);
    if (args.size() < 2) return;
    write(args[1]);
    op(Op::tuple2);
  }

  std::vector<std::byte> out_;
};

}  // namespace

std::vector<std::byte> pickle(const Object& object, int protocol) {
  if (protocol != 4 && protocol != 5) {
    throw std::invalid_argument("pickles are written at protocol 4 or 5, not " +
                                std::to_string(protocol));
  }
  Encoder encoder(protocol);
  encoder.write(object);
  return encoder.finish();
}

}  // namespace cohort::wire
