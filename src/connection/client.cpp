#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "cohort/detail/deadline.hpp"
#include "cohort/error.hpp"
#include "cohort/listener.hpp"
#include "connection/address.hpp"
#include "connection/state.hpp"
#include "os/net.hpp"
#include "wire/handshake_io.hpp"

namespace cohort::connection {
namespace {

void check(const ClientOptions& options, const Address& address) {
  const auto* internet = std::get_if<InternetAddress>(&address);
  if (internet && internet->port == 0)
    throw std::invalid_argument("\"" + options.address + "\": nobody can connect to port 0");
  if (options.handshake_timeout <= options.handshake_timeout.zero())
    throw std::invalid_argument("a client's handshake_timeout must be more than zero");
}

// To the first of a host's addresses where somebody listens.
os::Fd connect_to_any(const std::vector<os::SocketAddress>& addresses, os::Deadline deadline) {
  for (std::size_t i = 0;; ++i) {
    try {
      os::Fd socket = os::connect_to(addresses.at(i), deadline);
      if (socket) return socket;
      throw TimeoutError("connecting to " + text_of(addresses[i]) + " timed out");
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
}

[[noreturn]] void refuse(const char* reason) {
  throw AuthenticationError(std::string("authentication failed: ") + reason);
}

void authenticate(int socket, wire::Credentials mine, os::Deadline deadline) {
  using State = wire::HandshakeIo::State;
  using Role = wire::Handshake::Role;
  wire::HandshakeIo io(socket, wire::Handshake(Role::connecting, std::move(mine)));
  for (;;) {
    if (!os::wait_readable(socket, deadline))
      throw TimeoutError("the listener did not answer the handshake in time: has it no key?");
    switch (io.advance()) {
      case State::going:
        break;
      case State::done:
        return;
      case State::failed:
        refuse(io.reason());
      case State::hung_up:
        throw EndOfFile("the listener hung up in the middle of the handshake");
    }
  }
}

}  // namespace

Connection Client(const ClientOptions& options) {
  const Address address = parse_address(options.address);
  check(options, address);
  os::Deadline limit;
  if (options.connect_timeout) limit = detail::deadline_after(*options.connect_timeout);
  os::Fd socket = connect_to_any(resolve(address, false), limit);
  if (options.authkey) {
    authenticate(socket.get(), {*options.authkey, options.refuse_md5},
                 detail::deadline_after(options.handshake_timeout));
  }
  return Connection::State::connect(std::move(socket), true, true, {});
}

}  // namespace cohort::connection
