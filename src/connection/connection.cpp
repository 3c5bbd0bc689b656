#include "cohort/connection.hpp"

#include <fcntl.h>

#include <cerrno>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "connection/state.hpp"
#include "launch/descriptor_bank.hpp"
#include "os/call.hpp"
#include "wire/frame.hpp"

namespace cohort::connection {
namespace {

using State = Connection::State;

// The part of `size` bytes from `offset` on of so many; `size` none: all the rest.
std::pair<std::size_t, std::size_t> part_of(std::size_t bytes, std::ptrdiff_t offset,
                                            std::optional<std::ptrdiff_t> size) {
  if (offset < 0) throw std::out_of_range("the offset is negative");
  if (size && *size < 0) throw std::out_of_range("the size is negative");
  const auto from = static_cast<std::size_t>(offset);
  if (from > bytes) throw std::out_of_range("the offset is beyond the bytes' end");
  const std::size_t length = size ? static_cast<std::size_t>(*size) : bytes - from;
  if (length > bytes - from) throw std::out_of_range("offset and size reach beyond the bytes' end");
  return {from, length};
}

// What a receiver found that can read no more. Nothing of `state` is used afterwards but by others.
template <class Body>
auto in_step(State& state, Body&& body) {
  try {
    return body();
  } catch (const wire::TruncatedFrame&) {
    throw EndOfFile("end of file: the other end is gone, in the middle of a message");
  } catch (const wire::ProtocolError&) {
    state.stop_receiving();
    throw;
  } catch (const std::length_error&) {
    state.stop_receiving();
    throw;
  } catch (const std::bad_alloc&) {
    state.stop_receiving();  // the rest of the message would be taken for others
    throw;
  }
}

void check_length(std::uint64_t length, std::optional<std::size_t> most) {
  if (most && length > *most)
    throw std::length_error("a message of " + std::to_string(length) + " bytes, where at most " +
                            std::to_string(*most) + " are accepted: nothing more can be received");
}

}  // namespace

void Connection::send_bytes(std::span<const std::byte> bytes, std::ptrdiff_t offset,
                            std::optional<std::ptrdiff_t> size) const {
  State::Turn turn(State::of(*this, "send"), Direction::send, "send");
  const auto [from, length] = part_of(bytes.size(), offset, size);
  turn.send(bytes.subspan(from, length));
}

std::vector<std::byte> Connection::recv_bytes(std::optional<std::size_t> max_bytes) const {
  State& state = State::of(*this, "recv");
  State::Turn turn(state, Direction::receive, "recv");
  return in_step(state, [&] {
    const std::uint64_t length = wire::read_length(turn.stream(), turn);
    check_length(length, max_bytes);
    return wire::read_payload(turn.stream(), length, turn);
  });
}

std::size_t Connection::recv_bytes_into(std::span<std::byte> buffer, std::ptrdiff_t offset) const {
  State& state = State::of(*this, "recv");
  State::Turn turn(state, Direction::receive, "recv");
  const auto room = part_of(buffer.size(), offset, std::nullopt);
  return in_step(state, [&]() -> std::size_t {
    const std::uint64_t length = wire::read_length(turn.stream(), turn);
    if (length > room.second) throw BufferTooShort(wire::read_payload(turn.stream(), length, turn));
    wire::read_exactly(turn.stream(), buffer.subspan(room.first, length), turn);
    return length;
  });
}

bool Connection::poll_until(detail::Deadline deadline) const {
  const State::Use use(State::of(*this, "poll"), "poll");
  for (;;) {
    use.check(Direction::receive);
    if (use.stream().wait_readable(next_look(deadline))) return true;
    if (deadline && os::Clock::now() >= *deadline) return false;
  }
}

int Connection::fileno() const {
  return State::Use(State::of(*this, "fileno"), "fileno").stream().fd();
}

void Connection::close() const noexcept {
  if (state_) state_->close();
}

bool Connection::closed() const noexcept { return !state_ || state_->closed(); }
bool Connection::readable() const noexcept { return !closed() && state_->readable.load(); }
bool Connection::writable() const noexcept { return !closed() && state_->writable.load(); }

std::ostream& operator<<(std::ostream& out, const Connection& connection) {
  if (connection.closed()) return out << "<Connection closed>";
  const bool reads = connection.readable();
  const bool writes = connection.writable();
  const int number = connection.state()->number();
  return out << "<Connection fd=" << (number < 0 ? "none" : std::to_string(number)) << ' '
             << (reads && writes ? "read-write"
                 : reads         ? "read"
                                 : "write")
             << '>';
}

Connection Connection::from_descriptor(int fd, bool readable, bool writable) {
  if (!readable && !writable)
    throw std::invalid_argument("a connection must receive or send, or both");
  os::must("fcntl(F_GETFD)", [&] { return ::fcntl(fd, F_GETFD); });
  os::set_close_on_exec(fd, true);
  return State::connect(os::Fd(fd), readable, writable, {});
}

}  // namespace cohort::connection

namespace cohort::detail {

using connection::Connection;

PackedConnection pack_connection(const Connection& connection) {
  PackedConnection packed;
  if (connection.closed()) return packed;
  using State = Connection::State;
  State& state = State::of(connection, "send");
  packed.flags = PackedConnection::kOpen;
  if (state.readable.load()) packed.flags |= PackedConnection::kReadable;
  if (state.writable.load()) packed.flags |= PackedConnection::kWritable;
  packed.hub = state.hub;
  packed.ticket = state.unfetched();
  if (packed.ticket) return packed;
  const State::Use use(state, "send");
  packed.ticket = launch::deposit(use.stream().fd());
  return packed;
}

// Whoever has no number left for the descriptor keeps the ticket, so that nothing is lost of the
// message that this is in.
Connection unpack_connection(const PackedConnection& packed) {
  if ((packed.flags & PackedConnection::kOpen) == 0) return {};
  os::Fd fetched;
  BlockRef unfetched;
  try {
    fetched = launch::withdraw(packed.ticket);
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::too_many_files_open) throw;
    unfetched = packed.ticket;
  }
  return Connection::State::connect(
      std::move(fetched), (packed.flags & PackedConnection::kReadable) != 0,
      (packed.flags & PackedConnection::kWritable) != 0, packed.hub, std::move(unfetched));
}

}  // namespace cohort::detail
