#include "connection/address.hpp"

#include <charconv>
#include <optional>
#include <stdexcept>

namespace cohort::connection {
namespace {

constexpr std::string_view kUnix = "unix:";

// As it can be shown: whoever made the address may have had another idea of what it is.
std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 200));
  for (char& c : shown) {
    if (c < ' ' || c == '\x7f') c = '?';
  }
  return shown;
}

[[noreturn]] void refuse(std::string_view text, std::string_view reason) {
  throw std::invalid_argument(
      "\"" + printable(text) + "\" is not an address: " + std::string(reason) +
      R"( (addresses are "host:port", "[ipv6]:port", "unix:/path" and "unix:@abstract-name"))");
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return port;
}

UnixAddress unix_form(std::string_view text, std::string name) {
  const bool abstract = name.starts_with('\0');
  if (name.size() <= (abstract ? 1u : 0u)) refuse(text, "there is no name in it");
  if (name.size() > os::kLongestUnixName)
    refuse(text, "the name has more than " +
                     std::to_string(os::kLongestUnixName - (abstract ? 1 : 0)) + " bytes");
  if (!abstract && name.find('\0') != std::string::npos) refuse(text, "no path has a zero byte");
  return {std::move(name)};
}

InternetAddress internet_form(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) refuse(text, "there is no port in it");
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) refuse(text, "the port is no number from 0 to 65535");
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || host.size() < 4 || host.find(':') == std::string_view::npos)
      refuse(text, "there is no IPv6 address in the brackets");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    refuse(text, "an IPv6 address is written in brackets");
  }
  if (host.find('\0') != std::string_view::npos) refuse(text, "no host has a zero byte");
  return {std::string(host), *port};
}

}  // namespace

Address parse_address(std::string_view text) {
  if (text.starts_with('\0')) return unix_form(text, std::string(text));
  if (text.starts_with(R"(\\)")) refuse(text, "pipes with names are Windows' alone");
  if (!text.starts_with(kUnix)) return internet_form(text);
  std::string name(text.substr(kUnix.size()));
  if (name.starts_with('@')) name[0] = '\0';
  return unix_form(text, std::move(name));
}

std::string text_of(const os::SocketAddress& address) {
  if (address.family() != AF_UNIX) return os::internet_name(address);
  std::string name = os::unix_name(address);
  if (name.empty()) return name;
  if (name[0] == '\0') name[0] = '@';
  return name.insert(0, kUnix);
}

std::vector<os::SocketAddress> resolve(const Address& address, bool to_listen) {
  if (const auto* local = std::get_if<UnixAddress>(&address))
    return {os::unix_address(local->name)};
  const auto& internet = std::get<InternetAddress>(address);
  return os::resolve(internet.host, internet.port, to_listen);
}

}  // namespace cohort::connection
