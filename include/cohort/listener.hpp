// Connections to other programs: over TCP, and over Unix sockets on the same machine. The other end
// may be this library, or multiprocessing.connection of CPython 3.8 and newer.
//
// Addresses are text:
//   "host:port", "[ipv6]:port"   TCP. To a listener, port 0 is any that is free, and no host, as in
//                                ":5000", every interface of the machine
//   "unix:/path"                 a Unix socket, at most 107 bytes
//   "unix:@name"                 an abstract Unix socket, without a file; also written as a zero
//                                byte and the name, as CPython does. Anybody on the machine may
//                                connect to it
//
// With a key, both ends prove to each other that they have it before anything else is sent, without
// showing it: by HMAC-SHA256 over fresh random bytes. What is sent afterwards is neither encrypted
// nor signed. Across machines that calls for a tunnel.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "cohort/connection.hpp"
#include "cohort/detail/deadline.hpp"

namespace cohort::connection {

struct ListenerOptions {
  // Where to listen. Empty: at a new Unix socket in a folder that only this user can look into.
  std::string address = {};
  // What clients must have, too. None: whoever can reach the address is let in. An empty key is a
  // key (CPython up to 3.12 listens without one then).
  std::optional<std::string> authkey = std::nullopt;
  // How many clients may wait to be accepted before others are turned away.
  int backlog = 128;
  // How long accept() gives a client to prove that it has the key. More than zero.
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);
  // No MD5 in handshakes: with that, CPython before 3.12 cannot connect. Without it, a client may
  // choose MD5.
  bool refuse_md5 = false;
};

struct ClientOptions {
  // Where the listener is.
  std::string address = {};
  // What the listener must have, too; none: no handshake. A listener that has a key while the
  // client has none, or the other way round, is not noticed as such: one takes the handshake's
  // messages for data, the other waits for them in vain.
  std::optional<std::string> authkey = std::nullopt;
  // How long to try to connect. None: as long as the system does, minutes.
  std::optional<std::chrono::nanoseconds> connect_timeout = std::nullopt;
  // How long the handshake may take. More than zero.
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);
  // See ListenerOptions.
  bool refuse_md5 = false;
};

// Listens at an address, and accepts one connection for each client that connects to it. The only
// owner of its socket: it can be moved and not copied.
//
// Any thread may use it, and several may accept. So may a process that was forked from this one
// (as Process::forked does), beside it: each client goes to one of them, and each has to close its
// own. The file of a Unix socket goes when the process closes it that made it, or is at its end.
class Listener {
 public:
  // Listens from here on. Throws std::invalid_argument when the address has none of the forms, or a
  // limit is not positive; std::system_error when it cannot be had (EADDRINUSE, EACCES, ...; an
  // old file in the place of a Unix socket is not removed), or its host is not known.
  Listener() : Listener(ListenerOptions()) {}
  explicit Listener(ListenerOptions options);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();  // closes

  // Waits for a client. With a key: for one that has it; handshakes go on side by side, so that one
  // who is slow or silent keeps nobody else waiting. At most 64 at a time: then the oldest is
  // dropped. Handshakes go on only while some thread is in here.
  //
  // AuthenticationError when a client did not prove in time that it has the key: that one is
  // dropped, and the listener is as good as before. std::system_error: EBADF when it is closed, now
  // or by another thread meanwhile; EMFILE and the like, which leave the client waiting.
  Connection accept() const;
  // None when no client was let in within the limit. A limit of zero or less does not wait, and so
  // suits a loop that waits for many things.
  template <class Rep, class Period>
  std::optional<Connection> accept_for(std::chrono::duration<Rep, Period> limit) const {
    return accept_until(detail::deadline_after(limit));
  }

  // Where it listens, in a form that Client takes: with the port that was free, with the new path.
  const std::string& address() const;
  // The address of the client that was accepted last; empty when there was none, or it has none, as
  // clients of Unix sockets.
  std::string last_accepted() const;

  // Polls readable when accept() has something to do, so that it can be waited for. Not the socket
  // itself. std::system_error (EBADF) when closed.
  int fileno() const;
  // Ends waiting calls of accept() in this process, too. Clients that wait are turned away, unless
  // another process has the listener. May be repeated.
  void close() noexcept;
  bool closed() const noexcept;

 private:
  struct State;
  State& open_state(const char* call) const;
  std::optional<Connection> accept_until(detail::Deadline deadline) const;

  std::shared_ptr<State> state_;
};

// Connects to a listener. Throws std::invalid_argument as Listener does; std::system_error when
// nobody listens there (ECONNREFUSED, ENOENT, ...), or the host is not known; TimeoutError when a
// limit has passed; AuthenticationError when the listener has another key; EndOfFile when it hangs
// up in the middle of the handshake.
Connection Client(const ClientOptions& options);

}  // namespace cohort::connection
