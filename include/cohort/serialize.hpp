// Objects to bytes and back, between processes of one program: same binary, same machine.
//
// Serializable with nothing to write: arithmetic types, enums, strings, the standard containers,
// optional, variant, tuple, pair, chrono, complex, filesystem::path, bitset, unique_ptr,
// shared_ptr, cohort's handles, and plain aggregates of these (at most 40 fields; C arrays in them
// of at most 256 elements together). A class of its own gives cereal's
//   template <class Archive> void serialize(Archive& ar) { ar(a, b); }
// Never: pointers, references, functions, lambdas with captures.
#pragma once

#include <cohort/detail/archive_dispatch.hpp>
#include <cohort/detail/codec.hpp>
#include <cohort/detail/codec_std.hpp>
#include <cohort/detail/fingerprint.hpp>
#include <cohort/detail/memory_io.hpp>
#include <cohort/detail/rethrow.hpp>
#include <cohort/error.hpp>
#include <type_traits>

namespace cohort {

template <class T>
concept Serializable = std::is_object_v<T> && detail::is_serializable < std::remove_cv_t<T>,
true > ();

namespace detail {

// Also views, which can be written but not read back as such.
template <class T>
concept Encodable = std::is_object_v<T> && is_serializable < std::remove_cv_t<T>,
false > ();

template <class T, bool Ok>
consteval void explain() {
  using Plain = std::remove_cvref_t<T>;
  if constexpr (Ok) {
  } else if constexpr (std::is_pointer_v<Plain> || std::is_member_pointer_v<Plain>) {
    static_assert(Ok,
                  "a pointer is not serializable, since it means nothing in another process: "
                  "send the value, a std::unique_ptr or std::shared_ptr, or shared memory");
  } else if constexpr (kind<Plain> == Kind::archive) {
    static_assert(Ok,
                  "this type is not serializable: decoding loads into an object (cereal's "
                  "convention), so give it a public default constructor");
  } else if constexpr (kind<Plain> == Kind::fields) {
    static_assert(Ok,
                  "this aggregate is not serializable, since one of its fields is not (a "
                  "pointer, a function, a lock?): replace the field, or give the type `template "
                  "<class Archive> void serialize(Archive& ar) { ar(a, b); }`");
  } else {
    static_assert(Ok,
                  "this type is not serializable: give it `template <class Archive> void "
                  "serialize(Archive& ar) { ar(a, b); }` or make it a plain aggregate (public "
                  "members, no constructors); pass a lambda's captures as arguments");
  }
}

// Throws SerializationError if the object cannot be written (nested deeper than 3,000, a valueless
// variant); what was written before stays in the writer.
template <class T>
void encode(Writer& writer, const T& object) {
  explain<T, Encodable<T>>();
  if constexpr (Encodable<T>) {
    if constexpr (Raw<T> && !std::is_empty_v<T>) {
      writer.write(std::addressof(object), sizeof(T));
    } else {
      Encoder encoder(writer);
      try {
        put(encoder, object);
      } catch (...) {
        rethrow_as_serialization_error();
      }
    }
  }
}

// Reads one T and leaves what follows it. Bytes that are no T throw SerializationError.
template <class T>
T decode(Reader& reader) {
  explain<T, Serializable<T>>();
  if constexpr (Serializable<T>) {
    Decoder decoder(reader);
    try {
      return make<std::remove_cv_t<T>>(decoder);
    } catch (...) {
      rethrow_as_serialization_error();
    }
  }
}

// As decode, but uses the memory that `object` has already. After a throw it is valid, with some
// content.
template <class T>
void decode_into(Reader& reader, T& object) {
  explain<T, Serializable<T>>();
  if constexpr (Serializable<T>) {
    Decoder decoder(reader);
    try {
      get(decoder, object);
    } catch (...) {
      rethrow_as_serialization_error();
    }
  }
}

// With the type's fingerprint and name in front, so that decode_checked of another type throws
// TypeMismatch.
template <class T>
void encode_checked(Writer& writer, const T& object) {
  explain<T, Encodable<T>>();
  if constexpr (Encodable<T>) {
    writer.write(type_header<T>.data(), type_header<T>.size());
    encode(writer, object);
  }
}

template <class T>
T decode_checked(Reader& reader) {
  explain<T, Serializable<T>>();
  if constexpr (Serializable<T>) {
    check_type_header(reader, fingerprint<T>(), type_name<T>());
    return decode<T>(reader);
  }
}

}  // namespace detail
}  // namespace cohort

// Defines register_exception, which error.hpp declares.
#include <cohort/detail/remote_exception.hpp>
