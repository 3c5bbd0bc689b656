// Pipes between processes of this program, and the objects that go through them.
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "cohort/connection.hpp"
#include "connection/hub.hpp"
#include "connection/state.hpp"
#include "launch/handle_io.hpp"
#include "os/call.hpp"
#include "os/stream.hpp"
#include "wire/frame.hpp"

namespace cohort {

namespace {

// What most systems grant.
constexpr std::size_t kSocketBuffer = 256 << 10;
constexpr std::size_t kPipeBuffer = 256 << 10;

// A message's first byte: none that a text or a pickle would begin with.
enum class Form : std::uint8_t { object = 0xc0, parcel = 0xc1 };

}  // namespace

std::pair<Connection, Connection> Pipe(bool duplex) {
  using State = Connection::State;
  const detail::BlockRef hub = connection::make_hub();
  auto [first, second] = duplex ? os::stream_pair(kSocketBuffer) : os::make_pipe(kPipeBuffer);
  return {State::connect(std::move(first), true, duplex, hub),
          State::connect(std::move(second), duplex, true, hub)};
}

namespace detail {

using connection::Direction;
using connection::IncomingParcel;
using connection::OutgoingParcel;
using connection::ParcelNote;
using State = Connection::State;

namespace {

void send_parcel(State& state, State::Turn& turn, std::span<const arena::Offset> references,
                 std::span<const std::byte> message) {
  OutgoingParcel parcel(state.hub, references, message);
  std::byte frame[1 + sizeof(ParcelNote)];
  frame[0] = static_cast<std::byte>(Form::parcel);
  std::memcpy(frame + 1, &parcel.note(), sizeof(ParcelNote));
  turn.send(frame);
  parcel.hand_over();
}

std::optional<ParcelNote> note_in(std::span<const std::byte> frame) {
  if (frame.size() != 1 + sizeof(ParcelNote) || frame[0] != static_cast<std::byte>(Form::parcel))
    return std::nullopt;
  ParcelNote note;
  std::memcpy(&note, frame.data() + 1, sizeof note);
  return note;
}

}  // namespace

void send_object(const Connection& connection, EncodeObject encode, const void* object) {
  State& state = State::of(connection, "send");
  launch::HandleWriter writer;
  const auto form = Form::object;
  writer.write(&form, sizeof form);
  encode(writer, object);  // before it is our turn, as this may run anything
  State::Turn turn(state, Direction::send, "send");
  if (writer.blocks.empty()) {
    turn.send(writer.bytes());
  } else {
    send_parcel(state, turn, writer.blocks, writer.bytes().subspan(1));
  }
}

void receive_object(const Connection& connection, DecodeObject decode, void* object) {
  for (;;) {
    const auto frame = connection.recv_bytes();
    if (auto note = note_in(frame)) {
      const auto parcel = IncomingParcel::take(connection.state()->hub, *note, [&] {
        if (connection.closed()) os::fail("recv", EBADF, "the connection was closed meanwhile");
      });
      if (!parcel) continue;
      launch::HandleReader reader(parcel->message());
      decode(reader, object);
      return;
    }
    if (frame.empty() || frame[0] != static_cast<std::byte>(Form::object))
      throw SerializationError(
          "the message is no object: what send_bytes() sent is received with recv_bytes()");
    launch::HandleReader reader(std::span<const std::byte>(frame).subspan(1));
    decode(reader, object);
    return;
  }
}

}  // namespace detail
}  // namespace cohort
