// What a connection sends and receives, and what it is in a message itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/memory_io.hpp"
#include "cohort/object.hpp"
#include "cohort/serialize.hpp"

namespace cohort::connection {
class Connection;
}

namespace cohort::detail {

// Texts that are sent as std::string.
template <class T>
inline constexpr bool is_text = std::is_same_v<T, std::string_view>;
template <>
inline constexpr bool is_text<const char*> = true;
template <>
inline constexpr bool is_text<char*> = true;
template <std::size_t N>
inline constexpr bool is_text<char[N]> = true;

using EncodeObject = void (*)(Writer& writer, const void* object);
using DecodeObject = void (*)(Reader& reader, void* object);

template <class T>
void encode_object(Writer& writer, const void* object) {
  encode_checked(writer, *static_cast<const T*>(object));
}
template <class T>
void decode_object(Reader& reader, void* object) {
  static_cast<std::optional<T>*>(object)->emplace(decode_checked<T>(reader));
}

// Through pipes: in the codec of this program, with the handles it refers to.
void send_object(const connection::Connection& connection, EncodeObject encode, const void* object);
void receive_object(const connection::Connection& connection, DecodeObject decode, void* object);
// To other programs: as a pickle.
bool leads_outside(const connection::Connection& connection);
void send_pickle(const connection::Connection& connection, const managers::Object& object);
managers::Object receive_pickle(const connection::Connection& connection);
[[noreturn]] void refuse_outside(std::string_view type);

// A connection in a message: its descriptor waits in the bank of descriptors for whoever has the
// ticket.
struct PackedConnection {
  enum Flags : std::uint8_t { kOpen = 1, kReadable = 2, kWritable = 4 };
  std::uint8_t flags = 0;
  BlockRef ticket{};
  BlockRef hub{};  // empty: it leads outside
};
PackedConnection pack_connection(const connection::Connection& connection);
connection::Connection unpack_connection(const PackedConnection& packed);

template <class Archive>
void save_connection(const connection::Connection& connection, Archive& archive) {
  const auto packed = pack_connection(connection);
  archive(packed.flags);
  packed.ticket.save(archive);
  packed.hub.save(archive);
}

template <class Archive>
PackedConnection load_connection(Archive& archive) {
  PackedConnection packed;
  archive(packed.flags);
  packed.ticket.load(archive);
  packed.hub.load(archive);
  return packed;
}

}  // namespace cohort::detail
