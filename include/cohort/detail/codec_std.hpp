// Codecs of the standard library's types.
#pragma once

#include <algorithm>
#include <array>
#include <bitset>
#include <cohort/detail/codec.hpp>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace cohort::detail {

// ---- strings and vectors: contiguous

template <class String>
struct StringCodec {
  using Char = typename String::value_type;
  using Elements = TypeList<>;
  static constexpr std::size_t kMinSize = 1;
  static constexpr bool kFlat = true;

  static void put(Encoder& e, const String& s) {
    e.count(s.size());
    e.out.write(s.data(), s.size() * sizeof(Char));
  }
  static void get(Decoder& d, String& s) requires requires { s.resize(0); }
  {
    const std::size_t n = d.count(sizeof(Char));
    const auto bytes = d.in.view(n * sizeof(Char));
    if constexpr (sizeof(Char) == 1) {
      s.assign(reinterpret_cast<const Char*>(bytes.data()), n);
    } else {
      s.resize(n);
      if (n != 0) std::memcpy(s.data(), bytes.data(), bytes.size());
    }
  }
  static String make(Decoder& d) requires(sizeof(Char) == 1 &&
                                          requires(String s) { s.resize(0); }) {
    const auto bytes = d.in.view(d.count(1));
    return String(reinterpret_cast<const Char*>(bytes.data()), bytes.size());
  }
};

template <class C, class Tr, class A>
struct Codec<std::basic_string<C, Tr, A>> : StringCodec<std::basic_string<C, Tr, A>> {};
template <class C, class Tr>  // can be sent, as a string; not received
struct Codec<std::basic_string_view<C, Tr>> : StringCodec<std::basic_string_view<C, Tr>> {};

// An element of a container that may take no bytes at all gets one, so that every length can be
// checked against the bytes that are left.
template <class T>
inline constexpr bool is_marked = min_size<T>() == 0;

template <class T>
void put_element(Encoder& e, const T& value) {
  if constexpr (is_marked<T>) e.byte(0);
  put(e, value);
}
template <class T>
void before_element(Decoder& d) {
  if constexpr (is_marked<T>) {
    if (d.byte() != 0) throw_serialization_error("an element is not where it should be");
  }
}
template <class T>
T make_element(Decoder& d) {
  before_element<T>(d);
  return make<T>(d);
}
// A length whose elements take at least a byte each.
template <class T>
std::size_t count_elements(Decoder& d) {
  return d.count(min_size<T>());
}
// How many elements to reserve for: all, unless they are so large that broken bytes could ask for
// much more memory than they hold.
template <class T>
std::size_t reserve_for(std::size_t n) {
  return std::min<std::size_t>(n, sizeof(T) <= 64 ? n : 1 + 65536 / sizeof(T));
}

template <class C>
struct SequenceCodec {
  using T = typename C::value_type;
  using Elements = TypeList<T>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const C& c) {
    e.count(c.size());
    for (const auto& x : c) put_element<T>(e, x);
  }
  static void get(Decoder& d, C& c) {
    c.clear();
    const std::size_t n = count_elements<T>(d);
    if constexpr (requires { c.reserve(n); }) c.reserve(reserve_for<T>(n));
    for (std::size_t i = 0; i < n; ++i) {
      if constexpr (prefers_make<T>() || CodecMakes<T>) {
        c.push_back(make_element<T>(d));
      } else {
        before_element<T>(d);
        detail::get(d, c.emplace_back());
      }
    }
  }
};

template <class T, class A>
struct Codec<std::deque<T, A>> : SequenceCodec<std::deque<T, A>> {};
template <class T, class A>
struct Codec<std::list<T, A>> : SequenceCodec<std::list<T, A>> {};
template <class T, class A>
struct Codec<std::vector<T, A>> : SequenceCodec<std::vector<T, A>> {};

template <Raw T, class A>
requires(!std::same_as<T, bool>) struct Codec<std::vector<T, A>> {
  using Vector = std::vector<T, A>;
  using Elements = TypeList<T>;
  static constexpr std::size_t kMinSize = 1;
  static constexpr bool kFlat = true;

  static void put(Encoder& e, const Vector& v) {
    e.count(v.size());
    const std::size_t bytes = v.size() * sizeof(T);
    if (is_aligned(v.size())) e.out.align(std::min<std::size_t>(alignof(T), 16), bytes);
    e.out.write(v.data(), bytes);
  }
  static void get(Decoder& d, Vector& v) {
    if constexpr (kByElement) {
      v = make(d);
    } else {
      const auto bytes = view(d);
      if (lies_aligned(bytes)) {
        v.assign(first(bytes), first(bytes) + bytes.size() / sizeof(T));
      } else {
        v.resize(bytes.size() / sizeof(T));
        if (!v.empty()) std::memcpy(static_cast<void*>(v.data()), bytes.data(), bytes.size());
      }
    }
  }
  static Vector make(Decoder& d) {
    const auto bytes = view(d);
    if constexpr (kByElement) {
      Reader in(bytes);
      Decoder elements(in);
      Vector v;
      v.reserve(bytes.size() / sizeof(T));
      while (in.remaining() != 0) v.push_back(detail::make<T>(elements));
      return v;
    } else {
      // One copy into fresh memory, without filling it with zeros first.
      if (lies_aligned(bytes)) return Vector(first(bytes), first(bytes) + bytes.size() / sizeof(T));
      Vector v(bytes.size() / sizeof(T));
      if (!v.empty()) std::memcpy(static_cast<void*>(v.data()), bytes.data(), bytes.size());
      return v;
    }
  }

 private:
  static constexpr bool kByElement = holds_bool<T>() || prefers_make<T>();

  // Where it pays, the elements are aligned in the message, so that the other side can copy them
  // straight into a new vector.
  static constexpr bool is_aligned(std::size_t n) { return alignof(T) > 1 && n * sizeof(T) >= 64; }
  static std::span<const std::byte> view(Decoder& d) {
    const std::size_t n = d.count(sizeof(T));
    if (is_aligned(n)) d.in.view(d.byte());
    return d.in.view(n * sizeof(T));
  }
  static bool lies_aligned(std::span<const std::byte> bytes) {
    return reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(T) == 0;
  }
  static const T* first(std::span<const std::byte> bytes) {
    return reinterpret_cast<const T*>(bytes.data());
  }
};

template <class A>
struct Codec<std::vector<bool, A>> {
  using Elements = TypeList<>;
  static constexpr std::size_t kMinSize = 1;
  static constexpr bool kFlat = true;

  static void put(Encoder& e, const std::vector<bool, A>& v) {
    e.count(v.size());
    unsigned char* place = reinterpret_cast<unsigned char*>(e.out.reserve(v.size()));
    for (const bool b : v) *place++ = b ? 1 : 0;
  }
  static void get(Decoder& d, std::vector<bool, A>& v) {
    const auto bytes = d.in.view(d.count(1));
    v.clear();
    v.reserve(bytes.size());
    for (const std::byte b : bytes) {
      if (b > std::byte{1}) throw_serialization_error("a bool is neither 0 nor 1");
      v.push_back(b == std::byte{1});
    }
  }
};

template <class T, class A>
struct Codec<std::forward_list<T, A>> {
  using List = std::forward_list<T, A>;
  using Elements = TypeList<T>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const List& c) {
    e.count(static_cast<std::size_t>(std::distance(c.begin(), c.end())));
    for (const auto& x : c) put_element<T>(e, x);
  }
  static void get(Decoder& d, List& c) {
    c.clear();
    auto last = c.before_begin();
    for (std::size_t n = count_elements<T>(d); n != 0; --n) {
      last = c.insert_after(last, make_element<T>(d));
    }
  }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
  using Array = std::array<T, N>;
  using Elements = TypeList<T>;
  static constexpr std::size_t kMinSize = N * min_size<T>();

  static void put(Encoder& e, const Array& a) {
    for (const auto& x : a) detail::put(e, x);
  }
  static void get(Decoder& d, Array& a) requires(!prefers_make<T>()) {
    for (auto& x : a) detail::get(d, x);
  }
  static Array make(Decoder& d) requires(prefers_make<T>()) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return Array{{(static_cast<void>(I), detail::make<T>(d))...}};
    }
    (std::make_index_sequence<N>());
  }
};
template <Raw T, std::size_t N>
requires(N > 0) struct Codec<std::array<T, N>> {
  static constexpr bool kRaw = true;
  static constexpr bool kBools = holds_bool<T>();
};

// ---- sets and maps

template <class C>
struct SetCodec {
  using T = typename C::value_type;
  using Elements = TypeList<T>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const C& c) {
    e.count(c.size());
    for (const auto& x : c) put_element<T>(e, x);
  }
  static void get(Decoder& d, C& c) {
    c.clear();
    const std::size_t n = count_elements<T>(d);
    if constexpr (requires { c.reserve(n); }) c.reserve(n);
    for (std::size_t i = 0; i < n; ++i) c.emplace_hint(c.end(), make_element<T>(d));
  }
};

template <class C>
struct MapCodec {
  using K = typename C::key_type;
  using V = typename C::mapped_type;
  using Elements = TypeList<K, V>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const C& c) {
    e.count(c.size());
    for (const auto& [k, v] : c) {
      put_element<K>(e, k);
      detail::put(e, v);
    }
  }
  static void get(Decoder& d, C& c) {
    c.clear();
    const std::size_t n = count_elements<K>(d);
    if constexpr (requires { c.reserve(n); }) c.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      K key = make_element<K>(d);
      c.emplace_hint(c.end(), std::move(key), detail::make<V>(d));
    }
  }
};

template <class... X>
struct Codec<std::set<X...>> : SetCodec<std::set<X...>> {};
template <class... X>
struct Codec<std::multiset<X...>> : SetCodec<std::multiset<X...>> {};
template <class... X>
struct Codec<std::unordered_set<X...>> : SetCodec<std::unordered_set<X...>> {};
template <class... X>
struct Codec<std::unordered_multiset<X...>> : SetCodec<std::unordered_multiset<X...>> {};
template <class... X>
struct Codec<std::map<X...>> : MapCodec<std::map<X...>> {};
template <class... X>
struct Codec<std::multimap<X...>> : MapCodec<std::multimap<X...>> {};
template <class... X>
struct Codec<std::unordered_map<X...>> : MapCodec<std::unordered_map<X...>> {};
template <class... X>
struct Codec<std::unordered_multimap<X...>> : MapCodec<std::unordered_multimap<X...>> {};

// ---- products and sums

template <class Tuple, class... T>
struct TupleCodec {
  using Elements = TypeList<std::remove_cv_t<T>...>;
  static constexpr std::size_t kMinSize = min_size_of(Elements());
  static constexpr bool kMake =
      (prefers_make<std::remove_cv_t<T>>() || ...) || (std::is_const_v<T> || ...);

  static void put(Encoder& e, const Tuple& t) {
    std::apply([&](const auto&... x) { (detail::put(e, x), ...); }, t);
  }
  static void get(Decoder& d, Tuple& t) requires(!kMake) {
    std::apply([&](auto&... x) { (detail::get(d, x), ...); }, t);
  }
  static Tuple make(Decoder& d) requires kMake {
    return Tuple{detail::make<std::remove_cv_t<T>>(d)...};
  }
};
template <class A, class B>
struct Codec<std::pair<A, B>> : TupleCodec<std::pair<A, B>, A, B> {};
template <class... T>
struct Codec<std::tuple<T...>> : TupleCodec<std::tuple<T...>, T...> {};

template <class T>
struct Codec<std::optional<T>> {
  using Elements = TypeList<std::remove_cv_t<T>>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const std::optional<T>& o) {
    e.byte(o.has_value() ? 1 : 0);
    if (o) detail::put(e, *o);
  }
  static void get(Decoder& d, std::optional<T>& o) {
    const unsigned char has = d.byte();
    if (has > 1) throw_serialization_error("an optional is neither full nor empty");
    if (has == 1) {
      o.emplace(detail::make<std::remove_cv_t<T>>(d));
    } else {
      o.reset();
    }
  }
};

template <>
struct Codec<std::monostate> {
  static constexpr bool kRaw = true;
};

template <class... T>
struct Codec<std::variant<T...>> {
  using Variant = std::variant<T...>;
  using Elements = TypeList<T...>;
  static constexpr std::size_t kMinSize = 1;
  static_assert(sizeof...(T) < 256);

  static void put(Encoder& e, const Variant& v) {
    if (v.valueless_by_exception()) throw_serialization_error("the variant holds no value");
    e.byte(static_cast<unsigned char>(v.index()));
    std::visit([&](const auto& x) { detail::put(e, x); }, v);
  }
  static void get(Decoder& d, Variant& v) requires(!any_prefers_make(Elements()) &&
                                                   std::is_default_constructible_v<Variant>) {
    v = make(d);
  }
  static Variant make(Decoder& d) {
    const unsigned char index = d.byte();
    return make_at(d, index, std::index_sequence_for<T...>());
  }

 private:
  template <std::size_t... I>
  static Variant make_at(Decoder& d, std::size_t index, std::index_sequence<I...>) {
    using Maker = Variant (*)(Decoder&);
    static constexpr Maker makers[] = {[](Decoder& in) {
      return Variant(std::in_place_index<I>,
                     detail::make<std::variant_alternative_t<I, Variant>>(in));
    }...};
    if (index >= sizeof...(I)) throw_serialization_error("a variant has no such alternative");
    return makers[index](d);
  }
};

template <std::size_t N>
struct Codec<std::bitset<N>> {
  using Elements = TypeList<>;
  static constexpr std::size_t kMinSize = sizeof(std::bitset<N>);
  static constexpr bool kFlat = true;

  static void put(Encoder& e, const std::bitset<N>& b) { e.out.write(&b, sizeof b); }
  static void get(Decoder& d, std::bitset<N>& b) {
    d.in.read(&b, sizeof b);
    b.flip().flip();  // clears the bits past the end, which count() relies on
  }
};

// ---- pointers

template <class T>
concept PlainPointee = std::is_object_v<T> && !std::is_array_v<T> && !LeftToCereal<T>;

template <PlainPointee T>
struct Codec<std::unique_ptr<T>> {
  using Elements = TypeList<std::remove_cv_t<T>>;
  static constexpr std::size_t kMinSize = 1;

  static void put(Encoder& e, const std::unique_ptr<T>& p) {
    e.byte(p ? 1 : 0);
    if (p) detail::put(e, *p);
  }
  static void get(Decoder& d, std::unique_ptr<T>& p) {
    using Object = std::remove_cv_t<T>;
    const unsigned char has = d.byte();
    if (has > 1) throw_serialization_error("a pointer is neither set nor null");
    if (has == 0) {
      p.reset();
    } else if constexpr (prefers_make<Object>()) {
      p.reset(new Object(detail::make<Object>(d)));
    } else {
      auto object = std::make_unique<Object>();
      detail::get(d, *object);
      p = std::move(object);
    }
  }
};

// Several pointers to one object inside a message stay pointers to one object.
template <PlainPointee T>
struct Codec<std::shared_ptr<T>> {
  using Object = std::remove_cv_t<T>;
  using Elements = TypeList<Object>;
  static constexpr std::size_t kMinSize = sizeof(std::uint32_t);
  static constexpr std::uint32_t kNew = cereal::detail::msb_32bit;

  static void put(Encoder& e, const std::shared_ptr<T>& p) {
    const std::uint32_t id = p ? e.archive().share(p, tag_of<T>()) : 0;
    e.out.write(&id, sizeof id);
    if ((id & kNew) != 0) detail::put(e, *p);
  }
  static void get(Decoder& d, std::shared_ptr<T>& p) {
    std::uint32_t id = 0;
    d.in.read(&id, sizeof id);
    if (id == 0) {
      p.reset();
    } else if ((id & kNew) == 0) {
      p = std::static_pointer_cast<Object>(d.archive().shared(id, tag_of<T>()));
    } else {
      d.archive().expect_new(id, tag_of<T>());
      if constexpr (prefers_make<Object>()) {
        auto object = std::make_shared<Object>(detail::make<Object>(d));
        d.archive().set_shared(id, object);
        p = std::move(object);
      } else {
        auto object = std::make_shared<Object>();
        d.archive().set_shared(id, object);  // first, since the object may point to itself
        detail::get(d, *object);
        p = std::move(object);
      }
    }
  }
};

template <PlainPointee T>
struct Codec<std::weak_ptr<T>> {
  using Shared = Codec<std::shared_ptr<T>>;
  using Elements = typename Shared::Elements;
  static constexpr std::size_t kMinSize = Shared::kMinSize;

  static void put(Encoder& e, const std::weak_ptr<T>& p) { Shared::put(e, p.lock()); }
  static void get(Decoder& d, std::weak_ptr<T>& p) {
    std::shared_ptr<T> owner;
    Shared::get(d, owner);
    p = owner;
  }
};

// ---- known by their shape, so that <chrono>, <complex> and <filesystem> need not be included

template <class T>
concept Duration = requires(const T& t) {
  typename T::rep;
  typename T::period;
  { t.count() } -> std::same_as<typename T::rep>;
  { T::zero() } -> std::same_as<T>;
};
template <class T>
concept TimePoint = requires(const T& t) {
  typename T::clock;
  { t.time_since_epoch() } -> std::same_as<typename T::duration>;
};
template <class T>
concept Complex = requires(const T& t, typename T::value_type x) {
  { t.real() } -> std::same_as<typename T::value_type>;
  { t.imag() } -> std::same_as<typename T::value_type>;
  T(x, x);
  requires sizeof(T) == 2 * sizeof(x);
};
template <class T>
consteval bool is_number_like() {
  if constexpr (Duration<T>) {
    return Scalar<typename T::rep>;
  } else if constexpr (TimePoint<T>) {
    return Scalar<typename T::rep>;
  } else if constexpr (Complex<T>) {
    return Scalar<typename T::value_type>;
  } else {
    return false;
  }
}
template <class T>
requires(
    std::is_class_v<T>&& std::is_trivially_copyable_v<T>&& is_number_like<T>()) struct Codec<T> {
  static constexpr bool kRaw = true;
};

template <class T>
concept Path = std::is_class_v<T> && requires(const T& t, typename T::string_type s) {
  { t.native() } -> std::same_as<const typename T::string_type&>;
  T::preferred_separator;
  T(std::move(s));
};
template <Path T>
struct Codec<T> {
  using Native = typename T::string_type;
  using Elements = TypeList<>;
  static constexpr std::size_t kMinSize = 1;
  static constexpr bool kFlat = true;

  static void put(Encoder& e, const T& path) { Codec<Native>::put(e, path.native()); }
  static void get(Decoder& d, T& path) { path = T(detail::make<Native>(d)); }
};

}  // namespace cohort::detail
