// Data of any kind, as programs in other languages exchange it: managers::Object holds what
// Python's None, bool, int, float, complex, str, bytes, bytearray, tuple, list, dict, set and
// frozenset hold, and objects of a few known classes as inert records.
//
//   managers::Object pair = std::tuple("a", 1);  // ('a', 1)
//   auto d = managers::Object::dict({{"a", 1}, {"b", managers::Object::list({2, 3.5})}});
//   d["c"] = std::vector<int>{1, 2, 3};
//   int a = d.at("a").as<int>();           // TypeMismatch, std::out_of_range
//   std::cout << d;                        // {'a': 1, 'b': [2, 3.5], 'c': [1, 2, 3]}
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cohort/detail/object_form.hpp"
#include "cohort/error.hpp"

namespace cohort::managers {

// An Object can be made from a T: bool, integers, floating-point numbers, complex, what converts to
// std::string_view, contiguous ranges of std::byte, nullptr, std::nullopt, and of such: optional,
// pairs and tuples (tuple), ranges (list), maps (dict), sets (set).
template <class T>
concept ObjectConvertible = detail::makes_object<std::remove_cvref_t<T>>();

// object.as<T>() exists: the same types, where they own their content. No string_view, no span.
template <class T>
concept ObjectReadable = detail::reads_object<std::remove_cv_t<T>>();

// A value: copies are independent, cheap, and share their content until one of them is changed.
// Different threads may use different Objects, also copies of each other; one Object is for one
// thread at a time, as any standard container.
//
// References and iterators into an Object last until it is next changed or copied.
class Object {
 public:
  enum class Kind : std::uint8_t {
    none,
    boolean,
    integer,  // of any size
    floating,
    complex,
    str,  // UTF-8; lone surrogates as three bytes each
    bytes,
    bytearray,
    tuple,
    list,
    dict,  // in the order of insertion
    set,
    frozenset,
    instance,  // of a class: exceptions, range, slice, array.array and their like
  };

  struct Instance;  // class and arguments: below
  class Iterator;   // over elements: const Object&
  class Items;      // over a dict's pairs
  using Pair = std::pair<Object, Object>;

  Object() noexcept = default;  // None
  template <class T>
  requires(ObjectConvertible<T> && !std::is_same_v<std::remove_cvref_t<T>, Object>)  //
      Object(T&& value)
      : Object(detail::make_object(std::forward<T>(value))) {}

  Object(const Object& other) noexcept : tag_(other.tag_), content_(other.content_) { share(); }
  Object(Object&& other) noexcept : tag_(other.tag_), content_(other.content_) { other.tag_ = {}; }
  Object& operator=(Object other) noexcept {
    swap(other);
    return *this;
  }
  ~Object() {
    if (tag_.counted) release();
  }
  void swap(Object& other) noexcept {
    std::swap(tag_, other.tag_);
    std::swap(content_, other.content_);
  }

  static Object tuple(std::vector<Object> elements = {});
  static Object list(std::vector<Object> elements = {});
  static Object tuple(std::initializer_list<Object> elements);
  static Object list(std::initializer_list<Object> elements);
  // Of equal keys the first stays, with the last value, as in Python. TypeMismatch for a key that
  // can be none: see hashable.
  static Object dict(std::initializer_list<Pair> items = {});
  static Object set(std::initializer_list<Object> elements = {});
  static Object frozenset(std::initializer_list<Object> elements = {});
  static Object set(std::vector<Object> elements);
  static Object frozenset(std::vector<Object> elements);
  static Object bytes(std::span<const std::byte> content);
  static Object bytes(std::string_view content);
  static Object bytearray(std::span<const std::byte> content);
  static Object bytearray(std::string_view content);
  static Object complex(double real, double imaginary);
  // Of decimal digits with an optional sign. std::invalid_argument for anything else.
  static Object integer(std::string_view decimal);
  // Of the bytes of two's complement, least significant first; none mean 0.
  static Object integer(std::span<const std::byte> twos_complement);
  static Object instance(Instance instance);
  // An exception of Python's own: exception("KeyError", {"x"}).
  static Object exception(std::string name, std::initializer_list<Object> args = {});
  static Object range(Object start, Object stop, Object step = 1);
  static Object slice(Object start, Object stop, Object step = nullptr);

  Kind kind() const noexcept { return tag_.kind; }
  bool is(Kind kind) const noexcept { return tag_.kind == kind; }
  bool is_none() const noexcept { return is(Kind::none); }
  bool is_bool() const noexcept { return is(Kind::boolean); }
  bool is_int() const noexcept { return is(Kind::integer); }
  bool is_float() const noexcept { return is(Kind::floating); }
  bool is_str() const noexcept { return is(Kind::str); }
  bool is_bytes() const noexcept { return is(Kind::bytes); }
  bool is_tuple() const noexcept { return is(Kind::tuple); }
  bool is_list() const noexcept { return is(Kind::list); }
  bool is_dict() const noexcept { return is(Kind::dict); }
  bool is_set() const noexcept { return is(Kind::set); }
  bool is_instance() const noexcept { return is(Kind::instance); }
  // An instance of this class; "builtins" is the module of Python's own.
  bool is_instance(std::string_view module, std::string_view name) const noexcept;
  // as<T>() would succeed. Costs as much.
  template <ObjectReadable T>
  bool is() const;
  // Python's name of the type: "NoneType", "int", "dict", "KeyError".
  std::string_view type_name() const noexcept;

  // The value as a T. Integers and floats are read from ints, floats and complex also from ints,
  // complex also from floats; sequences from tuples and lists; byte containers from bytes and
  // bytearrays; optional: None is empty.
  // TypeMismatch for another kind; std::out_of_range for a number that T cannot hold, and for a
  // tuple or array of another length.
  template <ObjectReadable T>
  T as() const;

  // Without a copy: of str, bytes and bytearray. TypeMismatch for others.
  std::string_view text() const;                   // of a str
  std::span<const std::byte> data() const;         // of bytes and bytearray
  std::span<const Object> elements() const;        // of tuples and lists
  Items items() const;                             // of a dict
  const Instance& instance() const;                // of an instance
  std::vector<std::byte> twos_complement() const;  // of an int: as few bytes as possible; 0: none

  // Elements of a str (code points), bytes, bytearray, tuple, list, dict, set, frozenset or range.
  // TypeMismatch for others.
  std::size_t size() const;
  bool empty() const { return size() == 0; }
  // The elements of a tuple, list, set or frozenset; the keys of a dict.
  Iterator begin() const;
  Iterator end() const;
  // A list of what iterating over this object gives in Python: also of bytes, ranges, arrays,
  // deques, iterators and characters. std::length_error when there are more than `limit` elements.
  Object to_list(std::size_t limit = 10'000'000) const;

  // A dict's value: KeyError when missing. A tuple's or list's element: the index may count from
  // the end, -1 being the last; IndexError.
  const Object& at(const Object& key) const;
  const Object& operator[](const Object& key) const { return at(key); }
  // To change it. A dict gets a missing key, with None. Tuples cannot be changed: TypeMismatch.
  Object& operator[](const Object& key);
  // A dict's value or null.
  const Object* find(const Object& key) const;
  // A dict has the key; a set, tuple or list has the element.
  bool contains(const Object& key) const;

  void append(Object element);                  // to a list
  bool add(Object element);                     // to a set: true when it was not there
  void insert(std::size_t at, Object element);  // into a list, before the element at `at`
  // A dict's key, a set's element, a list's element at this index. False when it was not there.
  bool erase(const Object& key);
  void clear();  // a list, dict, set or bytearray

  // May be a dict's key or a set's element: none, bool, int, float, complex, str, bytes, ranges,
  // tuples and frozensets of such.
  bool hashable() const noexcept;
  // Equal objects have equal hashes. They differ from run to run, so that nobody who sends keys
  // can choose them to collide. TypeMismatch when not hashable.
  std::size_t hash() const;

  // Python's ==: 1, 1.0 and True are equal, the order of dicts does not matter, a list equals no
  // tuple, bytes equal a bytearray, a NaN equals nothing but is found in a container that has it.
  friend bool operator==(const Object& a, const Object& b) { return a.equals(b); }

  // Python's repr; of instances "Name(args)". SerializationError when nested deeper than 2,000.
  std::string repr() const;
  // Python's str: a str's text, else the repr.
  std::string str() const;
  friend std::ostream& operator<<(std::ostream& out, const Object& object) {
    return object.print(out);
  }

  // Objects are serializable; those of unknown classes are not.
  template <class Archive>
  void save(Archive& archive) const {
    archive(to_bytes());
  }
  template <class Archive>
  void load(Archive& archive) {
    std::vector<std::byte> bytes;
    archive(bytes);
    *this = from_bytes(bytes);
  }

 private:
  friend struct detail::ObjectAccess;
  struct Tag {
    Kind kind = Kind::none;
    bool counted = false;  // the content is a node
  };
  union Content {
    bool boolean;
    std::int64_t integer = 0;
    double floating;
    detail::ObjectNode* node;
  };

  static constexpr Kind kHole = Kind{255};  // an erased place in a table

  Object(Tag tag, Content content) noexcept : tag_(tag), content_(content) {}
  void share() const noexcept {
    if (tag_.counted) content_.node->holders.fetch_add(1, std::memory_order_relaxed);
  }
  void release() noexcept;
  bool equals(const Object& other) const;
  std::ostream& print(std::ostream& out) const;
  std::vector<std::byte> to_bytes() const;
  static Object from_bytes(std::span<const std::byte> bytes);

  Tag tag_{};
  Content content_{};
};

// An object of a class that this side has no code for: nothing of it ever runs.
//
// Exceptions have their arguments and, rarely, a dict of attributes as state. range(start, stop,
// step), slice(start, stop, step), array.array(typecode, bytes), collections.deque(list[, maxlen]),
// OrderedDict(dict), Counter(dict), iter(list) and reversed(list) with the position as state,
// multiprocessing.managers.Token(typeid, address, id).
struct Object::Instance {
  std::string module{};
  std::string name{};
  Object args = Object::tuple();
  Object state{};

  bool operator==(const Instance&) const = default;
};

class Object::Iterator {
 public:
  using value_type = Object;
  using reference = const Object&;
  using pointer = const Object*;
  using difference_type = std::ptrdiff_t;
  using iterator_category = std::forward_iterator_tag;

  Iterator() = default;
  Iterator(const Object* at, const Object* end, std::ptrdiff_t stride) noexcept
      : at_(at), end_(end), stride_(stride) {
    skip();
  }
  reference operator*() const noexcept { return *at_; }
  pointer operator->() const noexcept { return at_; }
  Iterator& operator++() noexcept {
    at_ += stride_;
    skip();
    return *this;
  }
  Iterator operator++(int) noexcept {
    auto before = *this;
    ++*this;
    return before;
  }
  bool operator==(const Iterator& other) const noexcept { return at_ == other.at_; }

 private:
  void skip() noexcept {
    while (at_ != end_ && at_->kind() == kHole) at_ += stride_;
  }

  const Object* at_ = nullptr;
  const Object* end_ = nullptr;
  std::ptrdiff_t stride_ = 1;  // 2 in tables: key, value, key, value
};

class Object::Items {
 public:
  class Iterator : public Object::Iterator {
   public:
    using value_type = std::pair<const Object&, const Object&>;
    using reference = value_type;
    using pointer = void;
    using iterator_category = std::input_iterator_tag;
    using iterator_concept = std::forward_iterator_tag;

    using Object::Iterator::Iterator;
    explicit Iterator(Object::Iterator base) noexcept : Object::Iterator(base) {}
    reference operator*() const noexcept {
      const auto& key = Object::Iterator::operator*();
      return {key, *(&key + 1)};
    }
    Iterator& operator++() noexcept {
      Object::Iterator::operator++();
      return *this;
    }
    Iterator operator++(int) noexcept {
      auto before = *this;
      ++*this;
      return before;
    }
  };

  Iterator begin() const noexcept { return begin_; }
  Iterator end() const noexcept { return end_; }

 private:
  friend class Object;
  Items(Iterator begin, Iterator end) noexcept : begin_(begin), end_(end) {}

  Iterator begin_;
  Iterator end_;
};

}  // namespace cohort::managers

#include "cohort/detail/object_convert.hpp"
