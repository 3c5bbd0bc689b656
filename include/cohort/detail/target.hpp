// What to run in another process: a callable and its arguments, and how they cross.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "cohort/serialize.hpp"

namespace cohort::detail {

// A place in the code of this program that means the same in every member: the module by its
// build-id, and the offset in it.
struct CodeReference {
  std::uint64_t module = 0;
  std::uint64_t offset = 0;
};
// Throws cohort::Error when the address lies in no module.
CodeReference refer_to_code(const void* address);
// Throws cohort::Error when the module is not loaded here or is another build.
const void* find_code(CodeReference reference);

// Told by a thunk when it has decoded everything and is about to call.
class Decoded {
 public:
  virtual void operator()() = 0;

 protected:
  ~Decoded() = default;
};

// A thing to call in another process.
class Target {
 public:
  virtual ~Target() = default;
  virtual void invoke() = 0;
  // The function that decodes and invokes it elsewhere; null: it crosses by fork only.
  virtual const void* thunk() const = 0;
  virtual void encode(Writer& writer) const = 0;
};
using Thunk = void (*)(Reader&, Decoded&);

void preload(Target& target);

// ---- callables

template <class F>
inline constexpr bool is_function_pointer =
    std::is_pointer_v<F>&& std::is_function_v<std::remove_pointer_t<F>>;
template <class F>
concept Stateless = std::is_class_v<F> && std::is_empty_v<F> &&
    std::is_default_constructible_v<F> && std::is_trivially_copyable_v<F>;

// Whether a callable may be sent to a process that is not forked from here at this moment.
template <class F>
concept SendableCallable =
    is_function_pointer<F> || std::is_member_pointer_v<F> || Stateless<F> || Serializable<F>;

// A callable in a form that serializes.
template <class F>
class Callable {
 public:
  Callable() requires std::is_default_constructible_v<F>
  = default;
  Callable(F f) : f_(std::move(f)) {}
  operator F&() { return f_; }

  template <class... Args>
  decltype(auto) operator()(Args&&... args) {
    return std::invoke(f_, std::forward<Args>(args)...);
  }
  template <class... Args>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(f_, std::forward<Args>(args)...);
  }
  F& get() { return f_; }

  void encode_to(Writer& writer) const {
    if constexpr (is_function_pointer<F>) {
      auto reference = refer_to_code(reinterpret_cast<const void*>(f_));
      writer.write(&reference, sizeof reference);
    } else if constexpr (std::is_member_function_pointer_v<F>) {
      encode_member(writer);
    } else if constexpr (std::is_member_object_pointer_v<F>) {
      writer.write(&f_, sizeof f_);
    } else if constexpr (!Stateless<F>) {
      encode(writer, f_);
    }
  }
  static Callable decode_from(Reader& reader) {
    if constexpr (is_function_pointer<F>) {
      CodeReference reference;
      reader.read(&reference, sizeof reference);
      return Callable(reinterpret_cast<F>(const_cast<void*>(find_code(reference))));
    } else if constexpr (std::is_member_function_pointer_v<F>) {
      return Callable(decode_member(reader));
    } else if constexpr (std::is_member_object_pointer_v<F>) {
      F f;
      reader.read(&f, sizeof f);
      return Callable(f);
    } else if constexpr (Stateless<F>) {
      return Callable(F{});
    } else {
      return Callable(decode<F>(reader));
    }
  }

 private:
  // Itanium C++ ABI: {address or table offset, adjustment}. The lowest bit that tells a virtual
  // function is in the first word on x86-64 and in the second on aarch64.
  struct MemberPointer {
    std::uintptr_t function;
    std::ptrdiff_t adjustment;
  };
#if defined(__aarch64__)
  static bool is_virtual(const MemberPointer& p) { return (p.adjustment & 1) != 0; }
#else
  static bool is_virtual(const MemberPointer& p) { return (p.function & 1) != 0; }
#endif
  struct SentMember {
    CodeReference code;
    std::uint64_t table_offset;
    std::int64_t adjustment;
    std::uint64_t is_virtual;
  };

  void encode_member(Writer& writer) const {
    static_assert(sizeof(F) == sizeof(MemberPointer));
    MemberPointer pointer;
    std::memcpy(&pointer, &f_, sizeof pointer);
    SentMember sent{{}, 0, pointer.adjustment, is_virtual(pointer) ? 1U : 0U};
    if (sent.is_virtual) {
      sent.table_offset = pointer.function;
    } else {
      sent.code = refer_to_code(reinterpret_cast<const void*>(pointer.function));
    }
    writer.write(&sent, sizeof sent);
  }
  static F decode_member(Reader& reader) {
    SentMember sent;
    reader.read(&sent, sizeof sent);
    MemberPointer pointer{sent.is_virtual ? static_cast<std::uintptr_t>(sent.table_offset)
                                          : reinterpret_cast<std::uintptr_t>(find_code(sent.code)),
                          static_cast<std::ptrdiff_t>(sent.adjustment)};
    F f;
    std::memcpy(&f, &pointer, sizeof f);
    return f;
  }

  F f_;
};

// ---- arguments

template <class A>
struct StoredArgument {
  using type = A;
};
// Text is sent by value: a pointer to it means nothing elsewhere.
template <>
struct StoredArgument<const char*> {
  using type = std::string;
};
template <>
struct StoredArgument<char*> {
  using type = std::string;
};
template <>
struct StoredArgument<std::string_view> {
  using type = std::string;
};
template <class A>
using Stored = typename StoredArgument<std::decay_t<A>>::type;

template <class F>
consteval void check_callable() {
  static_assert(SendableCallable<F>,
                "this callable cannot cross to another process: a capturing lambda or a class that "
                "is not serializable holds memory of this one. Pass its captures as arguments, use "
                "cohort::bind(f, args...), make it serializable, or choose "
                "cohort::Process::forked, which takes any callable");
}
template <class A>
consteval void check_argument() {
  static_assert(
      Serializable<A>,
      "this argument cannot cross to another process: its type is not serializable. Give "
      "it `template <class Archive> void serialize(Archive& ar) { ar(a, b); }`, make it a "
      "plain aggregate of serializable fields, or choose cohort::Process::forked and "
      "capture it");
}
template <class F, class... Args>
consteval void check_invocable() {
  static_assert(std::is_invocable_v<F&, Args&...>,
                "this callable cannot be called with these arguments: it gets copies of them, as "
                "lvalues");
}

// A callable with its arguments. Stored in the caller, decoded in the other process.
template <class F, class... Args>
class BoundCall {
 public:
  template <class G, class... Given>
  explicit BoundCall(std::in_place_t, G&& f, Given&&... args)
      : callable_(F(std::forward<G>(f))), arguments_(std::forward<Given>(args)...) {}
  BoundCall(Callable<F> callable, std::tuple<Args...> arguments)
      : callable_(std::move(callable)), arguments_(std::move(arguments)) {}

  decltype(auto) operator()() {
    return std::apply([&](Args&... args) -> decltype(auto) { return callable_(args...); },
                      arguments_);
  }
  void encode_to(Writer& writer) const {
    callable_.encode_to(writer);
    std::apply([&](const Args&... args) { (encode(writer, args), ...); }, arguments_);
  }
  static BoundCall decode_from(Reader& reader) {
    auto callable = Callable<F>::decode_from(reader);
    // Braces: decoded in the order they were encoded.
    std::tuple<Args...> arguments{decode<Args>(reader)...};
    return BoundCall(std::move(callable), std::move(arguments));
  }

 private:
  Callable<F> callable_;
  std::tuple<Args...> arguments_;
};

template <class Call>
class SentTarget final : public Target {
 public:
  explicit SentTarget(Call call) : call_(std::move(call)) {}
  void invoke() override { call_(); }
  const void* thunk() const override { return reinterpret_cast<const void*>(&run); }
  void encode(Writer& writer) const override { call_.encode_to(writer); }

 private:
  static void run(Reader& reader, Decoded& decoded) {
    auto call = Call::decode_from(reader);
    decoded();
    call();
  }
  Call call_;
};

template <class F, class... Args>
auto make_call(F&& f, Args&&... args) {
  using Function = std::decay_t<F>;
  check_callable<Function>();
  (check_argument<Stored<Args>>(), ...);
  check_invocable<Function, Stored<Args>...>();
  return BoundCall<Function, Stored<Args>...>(std::in_place, std::forward<F>(f),
                                              std::forward<Args>(args)...);
}

template <class F, class... Args>
std::unique_ptr<Target> make_target(F&& f, Args&&... args) {
  using Call = decltype(make_call(std::forward<F>(f), std::forward<Args>(args)...));
  return std::make_unique<SentTarget<Call>>(
      make_call(std::forward<F>(f), std::forward<Args>(args)...));
}

template <class F>
class InheritedTarget final : public Target {
 public:
  explicit InheritedTarget(F f) : f_(std::move(f)) {}
  void invoke() override { f_(); }
  const void* thunk() const override { return nullptr; }
  void encode(Writer&) const override {}

 private:
  F f_;
};

template <class F>
std::unique_ptr<Target> make_inherited_target(F&& f) {
  return std::make_unique<InheritedTarget<std::decay_t<F>>>(std::forward<F>(f));
}

}  // namespace cohort::detail

namespace cohort {

// A call with all arguments given, as a serializable function object: what an initializer or a task
// of several parameters is made from. Called with more arguments, they follow the bound ones.
template <class F, class... Args>
class Bound {
 public:
  Bound(F f, Args... args) : callable_(std::move(f)), arguments_(std::move(args)...) {}

  template <class... More>
  decltype(auto) operator()(More&&... more) {
    return std::apply(
        [&](Args&... args) -> decltype(auto) {
          return callable_(args..., std::forward<More>(more)...);
        },
        arguments_);
  }

  template <class Archive>
  void save(Archive& archive) const {
    callable_.encode_to(archive.writer());
    std::apply([&](const Args&... args) { (detail::encode(archive.writer(), args), ...); },
               arguments_);
  }
  // Handles among the arguments cannot be default-constructed. Braces: in the order of encoding.
  template <class Archive>
  Bound(detail::Restore, Archive& archive)
      : callable_(detail::Callable<F>::decode_from(archive.reader())),
        arguments_{detail::decode<Args>(archive.reader())...} {}

 private:
  detail::Callable<F> callable_;
  std::tuple<Args...> arguments_;
};

template <class F, class... Args>
auto bind(F&& f, Args&&... args) {
  detail::check_callable<std::decay_t<F>>();
  (detail::check_argument<detail::Stored<Args>>(), ...);
  return Bound<std::decay_t<F>, detail::Stored<Args>...>(std::forward<F>(f),
                                                         std::forward<Args>(args)...);
}

}  // namespace cohort
