// Objects between this program and others.
#include <string>

#include "cohort/connection.hpp"
#include "connection/state.hpp"
#include "wire/pickle.hpp"

namespace cohort::detail {

using connection::Connection;

bool leads_outside(const Connection& connection) {
  return !Connection::State::of(connection, "send or recv").hub;
}

void send_pickle(const Connection& connection, const managers::Object& object) {
  connection.send_bytes(wire::pickle(object));
}

managers::Object receive_pickle(const Connection& connection) {
  return wire::unpickle(connection.recv_bytes());
}

void refuse_outside(std::string_view type) {
  throw SerializationError("a " + std::string(type) +
                           " means nothing to another program: send and receive what a "
                           "managers::Object can be made from, or bytes");
}

}  // namespace cohort::detail
