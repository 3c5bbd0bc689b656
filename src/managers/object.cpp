// How Objects are made, shared, freed and looked into.
#include "cohort/object.hpp"

#include <limits>
#include <memory>
#include <stdexcept>

#include "managers/object_nodes.hpp"
#include "wire/pickle.hpp"

namespace cohort::managers {

namespace {

using Kind = Object::Kind;

std::string to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Object make_text(Kind kind, std::string content) {
  return ObjectAccess::adopt(kind, new TextNode(std::move(content)));
}

Object make_sequence(Kind kind, std::vector<Object> elements) {
  return ObjectAccess::adopt(kind, new SequenceNode(std::move(elements)));
}

Object make_integer(BigInteger value) {
  if (const auto small = value.small()) return ObjectAccess::integer(*small);
  return ObjectAccess::adopt(Kind::integer, new IntegerNode(std::move(value)));
}

Object make_table(Kind kind, std::size_t stride) {
  return ObjectAccess::adopt(kind, new TableNode(stride));
}

Object make_set(Kind kind, std::span<const Object> elements) {
  auto result = make_table(kind, 1);
  auto& table = table_of(result).table;
  table.reserve(elements.size());
  for (const auto& element : elements) table.insert(element);
  return result;
}

void require(const Object& object, Kind kind, const char* name) {
  if (!object.is(kind)) throw TypeMismatch(name, object.type_name());
}

bool is_sequence(const Object& object) { return object.is_list() || object.is_tuple(); }
bool is_table(const Object& object) {
  return object.is_dict() || object.is_set() || object.is(Kind::frozenset);
}
bool is_binary(const Object& object) { return object.is_bytes() || object.is(Kind::bytearray); }

// An index that may count from the end; out of range: nullopt.
std::optional<std::size_t> index_in(const Object& key, std::size_t size) {
  auto index = ObjectAccess::read_integer(key);
  if (index < 0) index += static_cast<std::int64_t>(size);
  if (index < 0 || index >= static_cast<std::int64_t>(size)) return std::nullopt;
  return static_cast<std::size_t>(index);
}

std::size_t index_of(const Object& key, std::size_t size) {
  const auto index = index_in(key, size);
  if (!index) {
    throw IndexError("index " + key.repr() + " is out of range: there are " + std::to_string(size) +
                     " elements");
  }
  return *index;
}

// The node for changing it: one that no other Object has.
template <class Node>
Node& own(Object& object) {
  auto& node = ObjectAccess::node<Node>(object);
  if (node.holders.load(std::memory_order_acquire) != 1) {
    object = ObjectAccess::adopt(object.kind(), [&] {
      if constexpr (std::is_same_v<Node, SequenceNode>) {
        return new Node(node.elements);
      } else if constexpr (std::is_same_v<Node, TextNode>) {
        return new Node(node.content);
      } else {
        return new Node(node);
      }
    }());
  }
  return ObjectAccess::node<Node>(object);
}

// ---- freeing, without recursion: a deep object must not overflow the stack

bool was_last(detail::ObjectNode* node) {
  return node->holders.fetch_sub(1, std::memory_order_acq_rel) == 1;
}

// Containers wait in a list that runs through the place of their hash, which is of no use any more.
class Graveyard {
 public:
  explicit Graveyard(detail::ObjectNode* node) noexcept { bury(node); }
  void empty() noexcept {
    while (next_ != nullptr) {
      auto* node = next_;
      next_ = reinterpret_cast<HashedNode*>(node->hash.load(std::memory_order_relaxed));
      clear(node);
    }
  }

 private:
  void bury(detail::ObjectNode* node) noexcept {
    switch (static_cast<Kind>(node->kind)) {
      case Kind::integer:
        delete static_cast<IntegerNode*>(node);
        return;
      case Kind::complex:
        delete static_cast<ComplexNode*>(node);
        return;
      case Kind::str:
      case Kind::bytes:
      case Kind::bytearray:
        delete static_cast<TextNode*>(node);
        return;
      default: {
        auto* container = static_cast<HashedNode*>(node);
        container->hash.store(reinterpret_cast<std::size_t>(next_), std::memory_order_relaxed);
        next_ = container;
      }
    }
  }
  void clear(HashedNode* node) noexcept {
    switch (static_cast<Kind>(node->kind)) {
      case Kind::tuple:
      case Kind::list: {
        const std::unique_ptr<SequenceNode> sequence(static_cast<SequenceNode*>(node));
        drop(sequence->elements);
        return;
      }
      case Kind::instance: {
        const std::unique_ptr<InstanceNode> instance(static_cast<InstanceNode*>(node));
        drop({&instance->instance.args, 1});
        drop({&instance->instance.state, 1});
        return;
      }
      default: {
        const std::unique_ptr<TableNode> table(static_cast<TableNode*>(node));
        drop(table->table.cells());
      }
    }
  }
  void drop(std::span<Object> objects) noexcept {
    for (auto& object : objects) {
      auto* node = ObjectAccess::take(object);
      if (node != nullptr && was_last(node)) bury(node);
    }
  }

  HashedNode* next_ = nullptr;
};

}  // namespace

void Object::release() noexcept {
  if (was_last(content_.node)) Graveyard(content_.node).empty();
}

Object Object::tuple(std::vector<Object> elements) {
  return make_sequence(Kind::tuple, std::move(elements));
}
Object Object::list(std::vector<Object> elements) {
  return make_sequence(Kind::list, std::move(elements));
}
Object Object::tuple(std::initializer_list<Object> elements) {
  return make_sequence(Kind::tuple, elements);
}
Object Object::list(std::initializer_list<Object> elements) {
  return make_sequence(Kind::list, elements);
}
Object Object::dict(std::initializer_list<Pair> items) { return ObjectAccess::dict(items); }
Object Object::set(std::initializer_list<Object> elements) { return make_set(Kind::set, elements); }
Object Object::frozenset(std::initializer_list<Object> elements) {
  return make_set(Kind::frozenset, elements);
}
Object Object::set(std::vector<Object> elements) { return make_set(Kind::set, elements); }
Object Object::frozenset(std::vector<Object> elements) {
  return make_set(Kind::frozenset, elements);
}
Object Object::bytes(std::span<const std::byte> content) {
  return make_text(Kind::bytes, to_text(content));
}
Object Object::bytes(std::string_view content) {
  return make_text(Kind::bytes, std::string(content));
}
Object Object::bytearray(std::span<const std::byte> content) {
  return make_text(Kind::bytearray, to_text(content));
}
Object Object::bytearray(std::string_view content) {
  return make_text(Kind::bytearray, std::string(content));
}
Object Object::complex(double real, double imaginary) {
  return ObjectAccess::adopt(Kind::complex, new ComplexNode(real, imaginary));
}

Object Object::integer(std::string_view decimal) {
  auto value = BigInteger::from_decimal(decimal);
  if (!value) throw std::invalid_argument("not a decimal number: " + std::string(decimal));
  return make_integer(std::move(*value));
}
Object Object::integer(std::span<const std::byte> twos_complement) {
  return make_integer(BigInteger::from_bytes(twos_complement));
}

Object Object::instance(Instance instance) {
  require(instance.args, Kind::tuple, "tuple");
  return ObjectAccess::adopt(Kind::instance, new InstanceNode(std::move(instance)));
}
Object Object::exception(std::string name, std::initializer_list<Object> args) {
  return instance({.module = "builtins", .name = std::move(name), .args = tuple(args)});
}
Object Object::range(Object start, Object stop, Object step) {
  return instance({.module = "builtins",
                   .name = "range",
                   .args = tuple({std::move(start), std::move(stop), std::move(step)})});
}
Object Object::slice(Object start, Object stop, Object step) {
  return instance({.module = "builtins",
                   .name = "slice",
                   .args = tuple({std::move(start), std::move(stop), std::move(step)})});
}

bool Object::is_instance(std::string_view module, std::string_view name) const noexcept {
  if (!is_instance()) return false;
  const auto& record = instance_of(*this).instance;
  return record.module == module && record.name == name;
}

std::string_view Object::type_name() const noexcept {
  constexpr std::string_view names[] = {"NoneType", "bool",  "int",       "float", "complex",
                                        "str",      "bytes", "bytearray", "tuple", "list",
                                        "dict",     "set",   "frozenset"};
  if (is_instance()) return instance_of(*this).instance.name;
  return names[static_cast<std::size_t>(kind())];
}

std::string_view Object::text() const {
  require(*this, Kind::str, "str");
  return text_of(*this).content;
}

std::span<const std::byte> Object::data() const {
  if (!is_binary(*this)) throw TypeMismatch("bytes", type_name());
  return std::as_bytes(std::span(text_of(*this).content));
}

std::span<const Object> Object::elements() const {
  if (!is_sequence(*this)) throw TypeMismatch("tuple or list", type_name());
  return sequence_of(*this).elements;
}

Object::Items Object::items() const {
  require(*this, Kind::dict, "dict");
  const auto& cells = table_of(*this).table.cells();
  const auto* end = cells.data() + cells.size();
  return {Items::Iterator(cells.data(), end, 2), Items::Iterator(end, end, 2)};
}

const Object::Instance& Object::instance() const {
  require(*this, Kind::instance, "an instance of a class");
  return instance_of(*this).instance;
}

std::vector<std::byte> Object::twos_complement() const {
  require(*this, Kind::integer, "int");
  const auto copy = [](const BigInteger& value) {
    const auto bytes = std::as_bytes(value.bytes());
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  return copy(is_big(*this) ? big_of(*this) : BigInteger(ObjectAccess::integer_of(*this)));
}

Object::Iterator Object::begin() const {
  if (is_sequence(*this)) {
    const auto& elements = sequence_of(*this).elements;
    return {elements.data(), elements.data() + elements.size(), 1};
  }
  if (!is_table(*this)) throw TypeMismatch("tuple, list, dict or set", type_name());
  const auto& table = table_of(*this).table;
  const auto& cells = table.cells();
  return {cells.data(), cells.data() + cells.size(), static_cast<std::ptrdiff_t>(table.stride())};
}

Object::Iterator Object::end() const {
  if (!is_sequence(*this) && !is_table(*this)) {
    throw TypeMismatch("tuple, list, dict or set", type_name());
  }
  const auto& objects =
      is_sequence(*this) ? sequence_of(*this).elements : table_of(*this).table.cells();
  const auto* end = objects.data() + objects.size();
  return {end, end, 1};
}

const Object& Object::at(const Object& key) const {
  if (is_sequence(*this)) {
    const auto& elements = sequence_of(*this).elements;
    return elements[index_of(key, elements.size())];
  }
  const auto* value = find(key);
  if (value == nullptr) throw KeyError("no such key: " + key.repr());
  return *value;
}

Object& Object::operator[](const Object& key) {
  if (is_list()) {
    const auto index = index_of(key, sequence_of(*this).elements.size());
    return own<SequenceNode>(*this).elements[index];
  }
  if (!is_dict()) throw TypeMismatch("dict or list", type_name());
  return *(own<TableNode>(*this).table.insert(key).first + 1);
}

const Object* Object::find(const Object& key) const {
  require(*this, Kind::dict, "dict");
  const auto* found = table_of(*this).table.find(key);
  return found == nullptr ? nullptr : found + 1;
}

bool Object::contains(const Object& key) const {
  if (!is_sequence(*this)) {
    if (!is_table(*this)) throw TypeMismatch("tuple, list, dict or set", type_name());
    return table_of(*this).table.find(key) != nullptr;
  }
  for (const auto& element : elements()) {
    if (same_element(element, key)) return true;
  }
  return false;
}

void Object::append(Object element) {
  require(*this, Kind::list, "list");
  own<SequenceNode>(*this).elements.push_back(std::move(element));
}

bool Object::add(Object element) {
  require(*this, Kind::set, "set");
  return own<TableNode>(*this).table.insert(std::move(element)).second;
}

void Object::insert(std::size_t at, Object element) {
  require(*this, Kind::list, "list");
  if (at > size()) throw IndexError("index " + std::to_string(at) + " is behind the list's end");
  auto& elements = own<SequenceNode>(*this).elements;
  elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(at), std::move(element));
}

bool Object::erase(const Object& key) {
  if (is_list()) {
    const auto index = index_in(key, size());
    if (!index) return false;
    auto& elements = own<SequenceNode>(*this).elements;
    elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(*index));
    return true;
  }
  if (!is_dict() && !is_set()) throw TypeMismatch("dict, set or list", type_name());
  return own<TableNode>(*this).table.erase(key);
}

void Object::clear() {
  switch (kind()) {
    case Kind::list:
      *this = list();
      return;
    case Kind::dict:
      *this = dict();
      return;
    case Kind::set:
      *this = set();
      return;
    case Kind::bytearray:
      *this = bytearray(std::string_view());
      return;
    default:
      throw TypeMismatch("list, dict, set or bytearray", type_name());
  }
}

std::vector<std::byte> Object::to_bytes() const { return wire::pickle(*this, 5); }

// From a process of this program: whatever it could write is read, so that nothing is lost. It
// writes no references, without which the result cannot be larger than the bytes.
Object Object::from_bytes(std::span<const std::byte> bytes) {
  constexpr auto kAny = std::numeric_limits<std::size_t>::max();
  return wire::unpickle(bytes, {.depth = wire::kMaxDepth,
                                .marks = wire::kMaxDepth,
                                .values = kAny,
                                .memo = 0,
                                .string_bytes = kAny,
                                .integer_bytes = kAny,
                                .memory = kAny,
                                .expanded_bytes = kAny});
}

}  // namespace cohort::managers
