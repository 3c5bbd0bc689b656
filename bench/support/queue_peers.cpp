#include "queue_peers.hpp"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "robust_ring.hpp"

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
#include <boost/interprocess/ipc/message_queue.hpp>
#endif
#ifdef BENCH_HAS_ZEROMQ
#include <zmq.h>
#endif

namespace bench {
namespace {

const std::string kBoostName = "boost message_queue";
const std::string kZeroMqName = "ZeroMQ ipc";

constexpr std::size_t kMostBytes = 8 << 20;  // in a queue of messages of fixed size

std::size_t depth_for(std::size_t size) {
  return std::clamp<std::size_t>(kMostBytes / size, 8, 1024);
}

// Differs from call to call and from program to program.
std::string fresh_name() {
  static int calls = 0;
  return "cohort-bench-" + std::to_string(getpid()) + "-" + std::to_string(++calls);
}

template <class Carrier, class... Args>
Peer make_peer(const std::string& name, const Load& load, Args&&... args) {
  try {
    return {name, std::make_unique<BytesChannel<Carrier>>(load, std::forward<Args>(args)...), ""};
  } catch (const std::exception& error) {
    return {name, nullptr, error.what()};
  }
}

class BarePipe {
 public:
  BarePipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    read_end_ = ends[0];
    write_end_ = ends[1];
    fcntl(write_end_, F_SETPIPE_SZ, 1 << 20);  // the most that is allowed to all; else the default
  }
  ~BarePipe() {
    close(read_end_);
    close(write_end_);
  }
  BarePipe(const BarePipe&) = delete;
  BarePipe& operator=(const BarePipe&) = delete;

  void send(std::span<const std::byte> bytes, std::size_t) const {
    while (!bytes.empty()) {
      const ssize_t written = write(write_end_, bytes.data(), bytes.size());
      if (written <= 0) throw std::runtime_error("the pipe broke");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  std::size_t receive(std::span<std::byte> bytes, std::size_t count) const {
    while (!bytes.empty()) {
      const ssize_t got = read(read_end_, bytes.data(), bytes.size());
      if (got <= 0) throw std::runtime_error("the pipe broke");
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
    return count;
  }

 private:
  int read_end_ = -1;
  int write_end_ = -1;
};

// A POSIX message queue, as deep as the system lets it be.
class PosixQueue {
 public:
  explicit PosixQueue(std::size_t size) {
    raise_limit();
    const std::string name = "/" + fresh_name();
    for (const long depth : {1024, 256, 64, 10}) {
      mq_attr attributes{};
      attributes.mq_maxmsg = depth;
      attributes.mq_msgsize = static_cast<long>(size);
      queue_ = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
      depth_ = depth;
      if (queue_ >= 0) break;
    }
    if (queue_ < 0)
      throw std::runtime_error("mq_open for messages of " + std::to_string(size) +
                               " B: " + std::strerror(errno));
    mq_unlink(name.c_str());
  }
  ~PosixQueue() { mq_close(queue_); }
  PosixQueue(const PosixQueue&) = delete;
  PosixQueue& operator=(const PosixQueue&) = delete;

  void send(std::span<const std::byte> message, std::size_t) const {
    if (mq_send(queue_, reinterpret_cast<const char*>(message.data()), message.size(), 0) != 0)
      throw std::runtime_error("mq_send failed");
  }
  std::size_t receive(std::span<std::byte> message, std::size_t) const {
    const ssize_t got =
        mq_receive(queue_, reinterpret_cast<char*>(message.data()), message.size(), nullptr);
    if (got != static_cast<ssize_t>(message.size())) throw std::runtime_error("mq_receive failed");
    return 1;
  }

 private:
  static void raise_limit() {
    const rlimit more{64 << 20, 64 << 20};
    setrlimit(RLIMIT_MSGQUEUE, &more);  // only where that is allowed
  }

  mqd_t queue_ = -1;
  long depth_ = 0;
};

}  // namespace

Peer robust_ring_peer(const Load& load, int pauses) {
  // Within a core's cache, where the messages leave that choice.
  const std::size_t capacity = std::bit_ceil(std::max<std::size_t>(1 << 20, 8 * load.size));
  return make_peer<RobustRing>("bare robust ring", load, capacity, pauses);
}

Peer pipe_peer(const Load& load) { return make_peer<BarePipe>("pipe(2)", load); }

Peer posix_peer(const Load& load) { return make_peer<PosixQueue>("POSIX mq", load, load.size); }

#if __has_include(<boost/interprocess/ipc/message_queue.hpp>)
namespace {

class BoostQueue {
 public:
  explicit BoostQueue(std::size_t size) : BoostQueue(fresh_name(), size) {}

  void send(std::span<const std::byte> message, std::size_t) {
    queue_.send(message.data(), message.size(), 0);
  }
  std::size_t receive(std::span<std::byte> message, std::size_t) {
    std::size_t got = 0;
    unsigned priority = 0;
    queue_.receive(message.data(), message.size(), got, priority);
    return 1;
  }

 private:
  using Queue = boost::interprocess::message_queue;
  BoostQueue(const std::string& name, std::size_t size)
      : queue_(boost::interprocess::create_only, name.c_str(), depth_for(size), size) {
    Queue::remove(name.c_str());  // the children inherit the mapping
  }

  Queue queue_;
};

}  // namespace

Peer boost_peer(const Load& load) { return make_peer<BoostQueue>(kBoostName, load, load.size); }
#else
Peer boost_peer(const Load&) {
  return {kBoostName, nullptr, "Boost.Interprocess is not installed"};
}
#endif

#ifdef BENCH_HAS_ZEROMQ
namespace {

// A PUSH and a PULL socket, opened by the processes that use them.
class ZeroMq {
 public:
  void send(std::span<const std::byte> message, std::size_t) {
    open(ZMQ_PUSH);
    if (zmq_send(socket_, message.data(), message.size(), 0) < 0) fail("zmq_send");
  }
  std::size_t receive(std::span<std::byte> message, std::size_t) {
    open(ZMQ_PULL);
    const int got = zmq_recv(socket_, message.data(), message.size(), 0);
    if (got != static_cast<int>(message.size())) fail("zmq_recv");
    return 1;
  }

 private:
  void open(int type) {
    if (socket_) return;
    socket_ = zmq_socket(zmq_ctx_new(), type);
    if (!socket_) fail("zmq_socket");
    const int retry = 1;  // millisecond, while the other side is not there yet
    zmq_setsockopt(socket_, ZMQ_RECONNECT_IVL, &retry, sizeof retry);
    const auto attach = type == ZMQ_PULL ? zmq_bind : zmq_connect;
    if (attach(socket_, address_.c_str()) != 0) fail("the ipc address");
  }
  [[noreturn]] static void fail(const std::string& call) {
    throw std::runtime_error(call + ": " + zmq_strerror(zmq_errno()));
  }

  std::string address_ = "ipc://@" + fresh_name();  // abstract: leaves no file
  void* socket_ = nullptr;
};

}  // namespace

Peer zeromq_peer(const Load& load) { return make_peer<ZeroMq>(kZeroMqName, load); }
#else
Peer zeromq_peer(const Load&) { return {kZeroMqName, nullptr, "libzmq is not installed"}; }
#endif

}  // namespace bench
