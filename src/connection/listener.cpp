#include "cohort/listener.hpp"

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "connection/address.hpp"
#include "connection/listener_file.hpp"
#include "connection/listener_reception.hpp"
#include "connection/state.hpp"
#include "os/call.hpp"
#include "os/net.hpp"

namespace cohort::connection {
namespace {

constexpr const char* kClosed = "the listener is closed";

HouseRules rules_of(const ListenerOptions& options) {
  HouseRules rules{std::nullopt, options.handshake_timeout};
  if (options.authkey) rules.credentials = wire::Credentials{*options.authkey, options.refuse_md5};
  return rules;
}

// The socket of a listener, and the file that it has where it has one.
struct Place {
  os::Fd socket;
  std::unique_ptr<ListenerFile> file = {};  // goes first: nobody finds it without a listener
};

Place listen_at_path(std::unique_ptr<ListenerFile> file, int backlog) {
  os::Fd socket = os::listen_at(os::unix_address(file->path()), backlog);
  file->bound();
  return {std::move(socket), std::move(file)};
}

// At the first of a host's addresses that can be had.
Place listen_at_any(const std::vector<os::SocketAddress>& addresses, int backlog) {
  for (std::size_t i = 0;; ++i) {
    try {
      return {os::listen_at(addresses.at(i), backlog)};
    } catch (const std::system_error&) {
      if (i + 1 == addresses.size()) throw;
    }
  }
}

Place listen(const ListenerOptions& options) {
  if (options.handshake_timeout <= options.handshake_timeout.zero())
    throw std::invalid_argument("a listener's handshake_timeout must be more than zero");
  if (options.backlog < 0) throw std::invalid_argument("a listener's backlog cannot be negative");
  if (options.address.empty())
    return listen_at_path(ListenerFile::in_new_folder(), options.backlog);
  const Address address = parse_address(options.address);
  const auto* local = std::get_if<UnixAddress>(&address);
  if (local && local->name[0] != '\0')
    return listen_at_path(ListenerFile::at(local->name), options.backlog);
  return listen_at_any(resolve(address, true), options.backlog);
}

}  // namespace

struct Listener::State {
  explicit State(const ListenerOptions& options)
      : rules(rules_of(options)),
        place(listen(options)),
        address(text_of(os::local_address(place.socket.get()))),
        reception(new Reception(place.socket.get(), rules)) {}
  ~State() {
    close();
    // A fork's copy stays: what another thread of the maker did with it at that moment is not
    // known.
    Reception* last = reception.load();
    if (last->made_here()) delete last;
  }

  Reception& reception_here();
  void close() noexcept;

  const HouseRules rules;
  Place place;
  const std::string address;
  std::atomic<Reception*> reception;
  std::atomic<bool> closed{false};
  std::mutex name_mutex;
  std::string last_accepted;
};

Reception& Listener::State::reception_here() {
  Reception* found = reception.load();
  if (found->made_here()) return *found;
  auto mine = std::make_unique<Reception>(place.socket.get(), rules);
  // Unless another thread of this process was first.
  if (!reception.compare_exchange_strong(found, mine.get())) return *found;
  Reception& made = *mine.release();
  if (closed.load()) os::fail("accept", EBADF, kClosed);  // meanwhile
  return made;
}

void Listener::State::close() noexcept {
  if (closed.exchange(true)) return;
  place.file.reset();
  if (Reception* last = reception.load(); last->made_here()) last->close();
  place.socket.reset();
}

Listener::Listener(ListenerOptions options) : state_(std::make_shared<State>(options)) {}

Listener::Listener(Listener&& other) noexcept = default;

Listener& Listener::operator=(Listener&& other) noexcept {
  if (this == &other) return *this;
  close();
  state_ = std::move(other.state_);
  return *this;
}

Listener::~Listener() { close(); }

Connection Listener::accept() const { return *accept_until(std::nullopt); }

std::optional<Connection> Listener::accept_until(detail::Deadline deadline) const {
  // Another thread may close it, and go on to destroy it.
  const std::shared_ptr<State> state = state_;
  auto client = open_state("accept").reception_here().next(deadline);
  if (!client) return std::nullopt;
  {
    const std::lock_guard guard(state->name_mutex);
    state->last_accepted = text_of(client->peer);
  }
  return Connection::State::connect(std::move(client->socket), true, true, {});
}

const std::string& Listener::address() const {
  if (!state_) os::fail("address", EBADF, kClosed);
  return state_->address;
}

std::string Listener::last_accepted() const {
  if (!state_) return {};
  const std::lock_guard guard(state_->name_mutex);
  return state_->last_accepted;
}

int Listener::fileno() const { return open_state("fileno").reception_here().fd(); }

void Listener::close() noexcept {
  if (state_) state_->close();
}

bool Listener::closed() const noexcept { return !state_ || state_->closed.load(); }

Listener::State& Listener::open_state(const char* call) const {
  if (closed()) os::fail(call, EBADF, kClosed);
  return *state_;
}

}  // namespace cohort::connection
