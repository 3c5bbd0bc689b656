// The other end of a connection as any program may play it: it says what the test wants.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connection/address.hpp"
#include "member.hpp"
#include "os/net.hpp"
#include "wire/frame.hpp"

namespace test {

inline cohort::os::SocketAddress socket_address(const std::string& address) {
  namespace connection = cohort::connection;
  return connection::resolve(connection::parse_address(address), true).at(0);
}

class RawPeer {
 public:
  // Connects to a listener.
  explicit RawPeer(const std::string& address)
      : RawPeer(cohort::os::connect_to(socket_address(address), soon())) {}
  explicit RawPeer(cohort::os::Fd socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }
  void send(std::string_view message) {
    cohort::wire::write_frame(fd(), std::as_bytes(std::span(message)), soon());
  }
  void send_raw(std::string_view bytes) {
    if (!cohort::os::send_now(fd(), bytes)) throw std::runtime_error("the peer is gone");
  }
  std::string receive() {
    const auto bytes = cohort::wire::read_frame(fd(), soon());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // Whether the other end hangs up, in time, and without another word.
  bool sees_the_end() {
    char byte;
    return cohort::os::wait_readable(fd(), soon()) &&
           cohort::os::receive_now(fd(), {&byte, 1}) == 0;
  }
  // Whether there is nothing to read, not even the end.
  bool idle() { return !cohort::os::wait_readable(fd(), Clock::now()); }
  void hang_up() { socket_.reset(); }

 private:
  cohort::os::Fd socket_;
};

// A listener that is one only as far as the system knows.
class RawListener {
 public:
  explicit RawListener(const std::string& address, int backlog = 16)
      : socket_(cohort::os::listen_at(socket_address(address), backlog)) {}

  std::string address() const {
    return cohort::connection::text_of(cohort::os::local_address(socket_.get()));
  }
  RawPeer accept() {
    if (!cohort::os::wait_readable(socket_.get(), soon()))
      throw std::runtime_error("nobody connected");
    return RawPeer(std::move(cohort::os::accept_one(socket_.get())->socket));
  }

 private:
  cohort::os::Fd socket_;
};

}  // namespace test
