// Exceptions as bytes. One node per known type, in a list that only grows and needs no lock, so
// that it can be used after a fork at any moment.
#pragma once

#include <atomic>
#include <cohort/error.hpp>
#include <cohort/serialize.hpp>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace cohort {
namespace detail {

// What is thrown for an E of another process: an E, with the origin beside it.
template <class E, bool = std::is_base_of_v<std::exception, E>>
class Carried final : public E, public RemoteInfo {
 public:
  Carried(E error, RemoteInfo info) : E(std::move(error)), RemoteInfo(std::move(info)) {}
  // Unchanged, also where E has no constructor for it or would decorate it again.
  const char* what() const noexcept override { return message().c_str(); }
};

template <class E>
class Carried<E, false> final : public E, public RemoteInfo {
 public:
  Carried(E error, RemoteInfo info) : E(std::move(error)), RemoteInfo(std::move(info)) {}
};

struct ExceptionNode {
  const std::type_info* type;
  const std::type_info* carried;  // the type thrown here, which may be sent on
  void (*encode)(Writer&, const std::exception_ptr&);
  std::exception_ptr (*decode)(Reader&, RemoteInfo);
  const ExceptionNode* next = nullptr;
  std::atomic<int> state = 0;  // not in the list, being put there, there
};

// `node` lives as long as the program. Any thread; a type that is known already is ignored.
void add_exception(ExceptionNode& node);

template <class E>
std::exception_ptr carry(E error, RemoteInfo info) {
  if constexpr (std::is_final_v<E> || std::is_base_of_v<RemoteInfo, E>) {
    return std::make_exception_ptr(std::move(error));
  } else {
    return std::make_exception_ptr(Carried<E>(std::move(error), std::move(info)));
  }
}

template <class E>
constexpr const std::type_info* carried_type() {
  if constexpr (std::is_final_v<E> || std::is_base_of_v<RemoteInfo, E>) {
    return &typeid(E);
  } else {
    return &typeid(Carried<E>);
  }
}

// How E's own data travels: `put(Writer&, const E&)` and `get(Reader&, const RemoteInfo&) -> E`.
template <class E, class Put, class Get>
void add_exception_as(Put, Get) {
  static ExceptionNode node{&typeid(E), carried_type<E>(),
                            [](Writer& writer, const std::exception_ptr& pointer) {
                              try {
                                std::rethrow_exception(pointer);
                              } catch (const E& error) {
                                Put()(writer, error);
                              }
                            },
                            [](Reader& reader, RemoteInfo info) {
                              E error = Get()(reader, static_cast<const RemoteInfo&>(info));
                              return carry<E>(std::move(error), std::move(info));
                            }};
  add_exception(node);
}

// In the process where `error` was caught: the type, the message, this process's pid, `traceback`
// and, of an exception that came from another process itself, its origin instead. What cannot be
// encoded is left out, so that it arrives as RemoteError. Throws only what `writer` throws for want
// of room.
void encode_exception(Writer& writer, std::exception_ptr error, std::string_view traceback);

// In the receiving process. Bytes that make no sense give a SerializationError.
std::exception_ptr decode_exception(Reader& reader);
[[noreturn]] void throw_remote(Reader& reader);

// The type's readable name; the mangled one if it cannot be had.
std::string demangle(const char* mangled);

}  // namespace detail

template <class E>
void register_exception() {
  static_assert(std::is_class_v<E> && std::is_same_v<E, std::remove_cv_t<E>>);
  if constexpr (Serializable<E>) {
    detail::add_exception_as<E>(
        [](detail::Writer& writer, const E& error) { detail::encode(writer, error); },
        [](detail::Reader& reader, const RemoteInfo&) { return detail::decode<E>(reader); });
  } else if constexpr (std::is_constructible_v<E, const std::string&>) {
    detail::add_exception_as<E>(
        [](detail::Writer&, const E&) {},
        [](detail::Reader&, const RemoteInfo& info) { return E(info.message()); });
  } else {
    static_assert(!sizeof(E),
                  "an exception that crosses processes must be serializable (give it "
                  "`template <class Archive> void serialize(Archive& ar)` and a default "
                  "constructor) or constructible from a std::string, its message");
  }
}

}  // namespace cohort
