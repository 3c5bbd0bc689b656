// Connections: message by message, both ways or one way, between processes of this program (Pipe),
// and with other programs, CPython's multiprocessing.connection among them (Listener and Client).
#pragma once

#include <chrono>
#include <cstddef>
#include <iosfwd>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cohort/detail/connection_message.hpp"
#include "cohort/detail/deadline.hpp"
#include "cohort/detail/restore.hpp"
#include "cohort/error.hpp"
#include "cohort/object.hpp"
#include "cohort/serialize.hpp"

namespace cohort::connection {

// One end of a stream of messages. Copies mean the same end; the descriptor goes when the last copy
// of this process goes, or at close(). May be sent to another process, which gets a descriptor of
// its own: the sender may close its own at once.
//
// Any thread may use it: a message is sent whole and received whole. Processes that share one end
// must take turns themselves.
//
// Fails with std::system_error when closed (EBADF), when used against its direction (EBADF), and
// when the other end is gone while sending (EPIPE; there is never a SIGPIPE).
//
// One that was received by a process that has no descriptor number left is received all the same,
// and loses nothing: each use of it but closed(), close() and sending it on fails with EMFILE until
// there is a number.
class Connection {
 public:
  Connection() noexcept = default;  // closed

  // Sends an object. Through a Pipe: whatever is serializable, handles included. To another
  // program, in pickle's form: what a managers::Object can be made from, else SerializationError.
  template <class T>
  void send(const T& object) const;
  // Waits for a message. EndOfFile when the other end is gone, killed or not; TypeMismatch when it
  // is of another type: then the message is gone, the connection goes on. From another program: a
  // managers::Object, or what one can be read as; SerializationError for what that cannot be.
  template <class T>
  T recv() const;

  // Bytes as they are, `size` of them from `offset` on. std::out_of_range when these do not lie in
  // `bytes`, with nothing sent.
  void send_bytes(std::span<const std::byte> bytes, std::ptrdiff_t offset = 0,
                  std::optional<std::ptrdiff_t> size = std::nullopt) const;
  void send_bytes(std::string_view text) const { send_bytes(std::as_bytes(std::span(text))); }
  // The next message's bytes. A longer one than `max_bytes` closes the connection for receiving, as
  // its bytes are left unread: std::length_error.
  std::vector<std::byte> recv_bytes(std::optional<std::size_t> max_bytes = std::nullopt) const;
  // The next message's bytes into `buffer` from `offset` on; answers how many. BufferTooShort, with
  // the whole message in it, when they do not fit.
  std::size_t recv_bytes_into(std::span<std::byte> buffer, std::ptrdiff_t offset = 0) const;

  // Whether recv would find a message, or the end, at once; or within the limit. A limit of zero or
  // less does not wait.
  bool poll() const { return poll_until(std::chrono::steady_clock::now()); }
  template <class Rep, class Period>
  bool poll(std::chrono::duration<Rep, Period> limit) const {
    return poll_until(detail::deadline_after(limit));
  }
  // Waits as long as it takes.
  bool poll(std::nullopt_t) const { return poll_until(std::nullopt); }

  int fileno() const;  // the descriptor
  // Of all copies in this process. What other threads wait for ends with EBADF, within a tenth of a
  // second; but a send into a one-way pipe goes on until its reader has taken the message, or is
  // gone.
  void close() const noexcept;
  bool closed() const noexcept;
  bool readable() const noexcept;  // this end receives
  bool writable() const noexcept;  // this end sends

  friend bool operator==(const Connection& a, const Connection& b) noexcept {
    return a.state_ == b.state_;
  }
  // <Connection fd=N read|write|read-write>, fd=none while it has none, <Connection closed>
  friend std::ostream& operator<<(std::ostream& out, const Connection& connection);

  // Takes over a descriptor of a stream that speaks this framing (a socket, a pipe's end), for
  // programs that made it themselves. Peers that it leads to are taken for foreign: see send.
  static Connection from_descriptor(int fd, bool readable = true, bool writable = true);

  template <class Archive>
  void save(Archive& archive) const {
    detail::save_connection(*this, archive);
  }
  template <class Archive>
  Connection(detail::Restore, Archive& archive)
      : Connection(detail::unpack_connection(detail::load_connection(archive))) {}

  struct State;
  explicit Connection(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}
  const std::shared_ptr<State>& state() const noexcept { return state_; }

 private:
  bool poll_until(detail::Deadline deadline) const;

  std::shared_ptr<State> state_;
};

template <class T>
void Connection::send(const T& object) const {
  using managers::Object;
  if constexpr (detail::is_text<T>) {
    send(std::string(object));
  } else if constexpr (!detail::Encodable<T> && managers::ObjectConvertible<T>) {
    send(Object(object));
  } else {
    if (!detail::leads_outside(*this)) {
      detail::send_object(*this, detail::encode_object<T>, std::addressof(object));
    } else if constexpr (managers::ObjectConvertible<T>) {
      detail::send_pickle(*this, Object(object));
    } else {
      detail::refuse_outside(detail::type_name<T>());
    }
  }
}

template <class T>
T Connection::recv() const {
  if (!detail::leads_outside(*this)) {
    std::optional<T> object;
    detail::receive_object(*this, detail::decode_object<T>, &object);
    return std::move(*object);
  }
  if constexpr (managers::ObjectReadable<T>) {
    return detail::receive_pickle(*this).template as<T>();
  } else {
    detail::refuse_outside(detail::type_name<T>());
  }
}

}  // namespace cohort::connection

namespace cohort {

using Connection = connection::Connection;

// Two connected ends, for processes of this program. Both send and receive; or, when not `duplex`,
// the first receives and the second sends. Throws std::system_error (EMFILE).
//
// An end that everybody has closed is gone for the other; so close in each process what it does not
// use. A message that carries handles waits in shared memory; none is lost when its sender dies,
// and none stays when both ends are gone.
std::pair<Connection, Connection> Pipe(bool duplex = true);

}  // namespace cohort

#include "cohort/connection_wait.hpp"
#include "cohort/listener.hpp"
