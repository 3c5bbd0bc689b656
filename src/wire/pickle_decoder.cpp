// The machine that reads pickles. It neither recurses nor calls anything that a message names.
#include <bit>
#include <string>

#include "managers/object_nodes.hpp"
#include "managers/utf8.hpp"
#include "wire/pickle.hpp"
#include "wire/pickle_classes.hpp"
#include "wire/pickle_input.hpp"
#include "wire/pickle_reduce.hpp"
#include "wire/pickle_stack.hpp"

namespace cohort::wire {

namespace {

using managers::Object;
using Kind = Object::Kind;
using Role = PickleEntry::Role;

constexpr std::size_t kNameLimit = 256;    // bytes of a module's or a class's name
constexpr std::size_t kNodeBytes = 96;     // a node with its allocation and an empty container
constexpr std::size_t kElementBytes = 32;  // in a list that has grown
constexpr std::size_t kTableBytes = 96;    // a key and its value, with their part of the index

class Decoder {
 public:
  Decoder(std::span<const std::byte> bytes, const PickleLimits& limits)
      : input_(bytes), stack_(input_, limits) {}

  Object run() {
    try {
      while (step(input_.operation())) {
      }
    } catch (const TypeMismatch& error) {
      input_.refuse(error.what());  // a key that cannot be one
    }
    if (!input_.at_end()) input_.refuse("bytes after the end");
    return stack_.finish();
  }

 private:
  // ---- scalars and strings

  void push_text(Kind kind, std::uint64_t size) {
    const auto content = input_.take(size);
    if (size > stack_.limits().string_bytes) input_.refuse("a string longer than allowed");
    stack_.charge(kNodeBytes + size);
    if (kind == Kind::str && !managers::is_utf8(content)) input_.refuse("a str is not UTF-8");
    stack_.push_string(kind == Kind::str     ? Object(content)
                       : kind == Kind::bytes ? Object::bytes(content)
                                             : Object::bytearray(content),
                       size);
  }

  void push_integer(std::uint64_t size) {
    if (size > stack_.limits().integer_bytes) input_.refuse("an int longer than allowed");
    const auto bytes = input_.take(size);
    stack_.charge(kNodeBytes + size);
    stack_.push_string(Object::integer(std::as_bytes(std::span(bytes))), size);
  }

  void push_float() {
    std::uint64_t bits = 0;
    for (const char byte : input_.take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
    stack_.push(std::bit_cast<double>(bits));
  }

  void push_small(int size) {
    const auto bits = input_.number(size);
    stack_.push(size == 4 ? std::int64_t{static_cast<std::int32_t>(bits)}
                          : static_cast<std::int64_t>(bits));
  }

  // ---- containers

  void push_empty(Object container) {
    stack_.check_depth(1);
    stack_.charge(kNodeBytes);
    stack_.push(std::move(container), {.bytes = 0, .values = 1, .depth = 1});
  }

  template <class Make>
  PickleEntry& make(std::size_t from, std::size_t element_bytes, Make&& make_object) {
    const auto weight = stack_.weigh(stack_.above(from));
    stack_.charge(kNodeBytes + stack_.above(from).size() * element_bytes);
    return stack_.push(make_object(stack_.take_above(from)), weight);
  }

  PickleEntry& push_tuple(std::size_t from) {
    return make(from, sizeof(Object), [](auto values) { return Object::tuple(std::move(values)); });
  }

  void make_tuple(std::size_t from) {
    const auto entries = stack_.above(from);
    // Among values a class may stand in one place only: in front of what an array is made from.
    const bool reconstructs = entries.size() == 4 && entries[0].role == Role::label &&
                              entries[0].kind == ClassKind::array;
    if (reconstructs) entries[0] = {};
    auto& tuple = push_tuple(from);
    if (reconstructs) tuple.role = Role::reconstructor_args;
  }

  void make_list(std::size_t from) {
    make(from, sizeof(Object), [](auto values) { return Object::list(std::move(values)); });
  }

  void make_frozenset(std::size_t from) {
    make(from, kTableBytes, [](auto values) { return Object::frozenset(std::move(values)); });
  }

  void make_dict(std::size_t from) {
    const auto dict = Object::dict();
    const auto weight = put_items(dict, from);
    stack_.charge(kNodeBytes);
    stack_.push(dict, weight);
  }

  // What elements are added to, in place: the entry below `from`, a container of this kind or an
  // object around one.
  Object& target(std::size_t from, Kind kind) {
    auto& entry = stack_[below(from)];
    stack_.require_value(entry);
    stack_.require_changeable(entry);
    auto* object = &entry.value;
    if (object->is_instance("collections", "OrderedDict") ||
        object->is_instance("collections", "deque")) {
      auto& args = managers::instance_of(*object).instance.args;
      object = managers::sequence_of(args).elements.data();
    }
    if (!object->is(kind)) {
      input_.refuse("elements are added to a " + std::string(object->type_name()));
    }
    return *object;
  }

  std::size_t below(std::size_t from) const {
    const auto rest = stack_.size() - from;
    return stack_.first_of(rest + 1);
  }

  void append(std::size_t from) {
    auto& elements = managers::sequence_of(target(from, Kind::list)).elements;
    const auto weight = stack_.weigh(stack_.above(from));
    stack_.charge(stack_.above(from).size() * kElementBytes);
    for (auto& entry : stack_.above(from)) elements.push_back(std::move(entry.value));
    stack_.drop(from);
    stack_.grow(stack_[from - 1], weight);
  }

  void set_items(std::size_t from) {
    const auto weight = put_items(target(from, Kind::dict), from);
    stack_.grow(stack_[from - 1], weight);
  }

  void add_items(std::size_t from) {
    auto& table = managers::table_of(target(from, Kind::set)).table;
    const auto weight = stack_.weigh(stack_.above(from));
    stack_.charge(stack_.above(from).size() * kTableBytes);
    for (auto& entry : stack_.above(from)) table.insert(std::move(entry.value));
    stack_.drop(from);
    stack_.grow(stack_[from - 1], weight);
  }

  PickleWeight put_items(const Object& dict, std::size_t from) {
    const auto entries = stack_.above(from);
    if (entries.size() % 2 != 0) input_.refuse("a key without a value");
    const auto weight = stack_.weigh(entries);
    stack_.charge(entries.size() / 2 * kTableBytes);
    auto& table = managers::table_of(dict).table;
    for (std::size_t i = 0; i < entries.size(); i += 2) {
      auto* cell = table.insert(std::move(entries[i].value)).first;
      *(cell + 1) = std::move(entries[i + 1].value);
    }
    stack_.drop(from);
    return weight;
  }

  // ---- classes

  void push_label(std::string_view module, std::string_view class_name) {
    if (module.size() > kNameLimit || class_name.size() > kNameLimit) {
      input_.refuse("a name that is too long");
    }
    ClassName name{std::string(module), std::string(class_name)};
    if (!is_plain_name(name)) input_.refuse("a name that is none");
    name = modern_name(std::move(name.module), std::move(name.name));
    const auto kind = class_kind(name);
    if (kind == ClassKind::unknown && !stack_.limits().unknown_classes) {
      input_.refuse("the class or function " + name.module + "." + name.name +
                    " is not one that data is made of");
    }
    stack_.charge(3 * kNodeBytes + name.module.size() + name.name.size());
    auto& entry = stack_.push(Object::tuple({std::move(name.module), std::move(name.name)}));
    entry.role = Role::label;
    entry.kind = kind;
  }

  void push_global() {
    const auto module = input_.line(kNameLimit);
    const auto name = input_.line(kNameLimit);
    push_label(module, name);
  }

  void push_stack_global() {
    const auto name = stack_.pop();
    const auto module = stack_.pop();
    if (!name.value.is_str() || !module.value.is_str()) input_.refuse("a name that is no str");
    push_label(module.value.text(), name.value.text());
  }

  // REDUCE and NEWOBJ: a class, then a tuple of arguments.
  void call(bool is_new) {
    const auto args = stack_.pop();
    const auto label = stack_.pop();
    if (label.role != Role::label) input_.refuse("a call of what is no class");
    const bool reconstructs = label.kind == ClassKind::array_reconstructor;
    if (reconstructs && args.role != Role::reconstructor_args) {
      input_.refuse("an array without its class");
    }
    if (!reconstructs) stack_.require_value(args);
    if (!args.value.is_tuple()) input_.refuse("arguments that are no tuple");
    const ClassName name{label.value[0].as<std::string>(), label.value[1].as<std::string>()};
    if (label.kind == ClassKind::unknown) {
      push_instance(Object::instance({name.module, name.name, args.value, {}}), args.weight);
    } else if (is_new) {
      push_new(label.kind, name, args);
    } else {
      push_called(label.kind, name, args);
    }
  }

  void push_new(ClassKind kind, const ClassName& name, const PickleEntry& args) {
    if (kind != ClassKind::token || !args.value.empty()) {
      input_.refuse("an object of " + name.module + "." + name.name + " made in another way");
    }
    push_instance(Object::instance({name.module, name.name, args.value, {}}), args.weight).role =
        Role::unfinished;
  }

  PickleEntry& push_instance(Object instance, PickleWeight weight) {
    ++weight.depth;
    ++weight.values;
    stack_.check_depth(weight.depth);
    stack_.charge(2 * kNodeBytes);
    return stack_.push(std::move(instance), weight);
  }

  void push_called(ClassKind kind, const ClassName& name, const PickleEntry& args) {
    auto weight = args.weight;
    const bool table = kind == ClassKind::set || kind == ClassKind::frozenset;
    stack_.charge(kNodeBytes + weight.bytes + weight.values * (table ? kTableBytes : 0));
    auto value = [&] {
      try {
        return call_class(kind, name, args.value);
      } catch (const SerializationError& error) {
        input_.refuse(error.what());
      }
    }();
    if (value.is_instance()) {
      push_instance(std::move(value), weight);
      return;
    }
    // A container is as deep as the list that it was made from: without the tuple around that.
    weight.depth = table || kind == ClassKind::list ? static_cast<std::uint16_t>(weight.depth - 1)
                                                    : std::uint16_t{0};
    // A list made from a list is the same one.
    stack_.push(std::move(value), weight).settled = kind == ClassKind::list;
  }

  // BUILD: an object's state.
  void build() {
    const auto first = stack_.first_of(2);
    const auto weight = stack_.weigh(stack_.above(first + 1));
    const auto state = stack_.pop().value;
    auto& entry = stack_[first];
    stack_.require_changeable(entry);
    if (entry.role == Role::unfinished) {
      finish_token(entry, state);
    } else {
      set_state(entry, state);
    }
    stack_.grow(entry, weight);
  }

  void finish_token(PickleEntry& entry, const Object& state) {
    const auto* fault = state.is_tuple() ? fault_of(ClassKind::token, state.elements())
                                         : "the state of a Token is no tuple";
    if (fault != nullptr) input_.refuse(fault);
    managers::instance_of(entry.value).instance.args = state;
    entry.role = Role::value;
  }

  void set_state(PickleEntry& entry, const Object& state) {
    stack_.require_value(entry);
    if (!entry.value.is_instance()) input_.refuse("a state for what has none");
    auto& instance = managers::instance_of(entry.value).instance;
    const auto kind = class_kind({instance.module, instance.name});
    const auto* fault = kind == ClassKind::unknown ? nullptr : state_fault(kind, state);
    if (!instance.state.is_none()) fault = "a second state";
    if (fault != nullptr) input_.refuse(fault);
    instance.state = state;
  }

  // ---- operations

  void read_protocol() {
    const auto version = input_.number(1);
    if (!input_.at_start()) input_.refuse("a second header");
    if (version < 2 || version > 5) {
      input_.refuse("protocol " + std::to_string(version) + " is not one of 2 to 5");
    }
  }

  // False at the end.
  bool step(Op op) {
    switch (op) {
      case Op::stop:
        return false;
      case Op::proto:
        return read_protocol(), true;
      case Op::frame:
        return input_.open_frame(), true;
      case Op::mark:
        return stack_.open_mark(), true;
      case Op::pop:
        return stack_.pop_value_or_mark(), true;
      case Op::pop_mark:
        return stack_.drop(stack_.take_mark()), true;
      case Op::memoize:
        return stack_.remember_next(), true;
      case Op::binput:
        return stack_.remember(input_.number(1)), true;
      case Op::long_binput:
        return stack_.remember(input_.number(4)), true;
      case Op::binget:
        return stack_.recall(input_.number(1)), true;
      case Op::long_binget:
        return stack_.recall(input_.number(4)), true;
      case Op::global:
        return push_global(), true;
      case Op::stack_global:
        return push_stack_global(), true;
      case Op::reduce:
        return call(false), true;
      case Op::newobj:
        return call(true), true;
      case Op::build:
        return build(), true;
      default:
        break;
    }
    if (step_scalar(op) || step_container(op)) return true;
    input_.refuse("operation " + std::to_string(static_cast<int>(op)) + " is not for data");
  }

  // These two: false for another operation.
  bool step_scalar(Op op) {
    switch (op) {
      case Op::none:
        return stack_.push(nullptr), true;
      case Op::true_:
        return stack_.push(true), true;
      case Op::false_:
        return stack_.push(false), true;
      case Op::binint:
        return push_small(4), true;
      case Op::binint1:
        return push_small(1), true;
      case Op::binint2:
        return push_small(2), true;
      case Op::long1:
        return push_integer(input_.number(1)), true;
      case Op::long4:
        return push_integer(input_.number(4)), true;
      case Op::binfloat:
        return push_float(), true;
      case Op::short_binunicode:
        return push_text(Kind::str, input_.number(1)), true;
      case Op::binunicode:
        return push_text(Kind::str, input_.number(4)), true;
      case Op::binunicode8:
        return push_text(Kind::str, input_.number(8)), true;
      case Op::short_binbytes:
        return push_text(Kind::bytes, input_.number(1)), true;
      case Op::binbytes:
        return push_text(Kind::bytes, input_.number(4)), true;
      case Op::binbytes8:
        return push_text(Kind::bytes, input_.number(8)), true;
      case Op::bytearray8:
        return push_text(Kind::bytearray, input_.number(8)), true;
      default:
        return false;
    }
  }

  bool step_container(Op op) {
    switch (op) {
      case Op::empty_tuple:
        return push_empty(Object::tuple({})), true;
      case Op::empty_list:
        return push_empty(Object::list({})), true;
      case Op::empty_dict:
        return push_empty(Object::dict()), true;
      case Op::empty_set:
        return push_empty(Object::set({})), true;
      case Op::tuple1:
        return make_tuple(stack_.first_of(1)), true;
      case Op::tuple2:
        return make_tuple(stack_.first_of(2)), true;
      case Op::tuple3:
        return make_tuple(stack_.first_of(3)), true;
      case Op::tuple:
        return make_tuple(stack_.take_mark()), true;
      case Op::list:
        return make_list(stack_.take_mark()), true;
      case Op::dict:
        return make_dict(stack_.take_mark()), true;
      case Op::frozenset:
        return make_frozenset(stack_.take_mark()), true;
      case Op::append:
        return append(stack_.first_of(1)), true;
      case Op::setitem:
        return set_items(stack_.first_of(2)), true;
      case Op::appends:
        return append(stack_.take_mark()), true;
      case Op::setitems:
        return set_items(stack_.take_mark()), true;
      case Op::additems:
        return add_items(stack_.take_mark()), true;
      default:
        return false;
    }
  }

  PickleInput input_;
  PickleStack stack_;
};

}  // namespace

Object unpickle(std::span<const std::byte> bytes, const PickleLimits& limits) {
  return Decoder(bytes, limits).run();
}

}  // namespace cohort::wire
