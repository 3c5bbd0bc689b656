// The text form of the addresses of listeners.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "os/net.hpp"

namespace cohort::connection {

struct InternetAddress {
  std::string host;  // empty: see os::resolve
  std::uint16_t port = 0;
};
struct UnixAddress {
  std::string name;  // a path, or a zero byte and an abstract name
};
using Address = std::variant<InternetAddress, UnixAddress>;

// Throws std::invalid_argument, naming the forms there are.
Address parse_address(std::string_view text);
// In a form that parse_address takes; empty for a client without a name.
std::string text_of(const os::SocketAddress& address);
// Looks hosts up: may take long, and throws std::system_error.
std::vector<os::SocketAddress> resolve(const Address& address, bool to_listen);

}  // namespace cohort::connection
