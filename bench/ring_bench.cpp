// Messages from one process to another: through the ring under queues and pools, one at a time and
// in batches, beside a pipe.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cohort/process.hpp>
#include <cstddef>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ring/ring.hpp"
#include "support/comparison.hpp"

namespace {

using cohort::Process;
using cohort::ring::Ring;

constexpr std::size_t kMostInBatch = 64;

// One measurement: `count` messages of `size` bytes, put and taken up to `batch` at a time.
struct Load {
  std::size_t size;
  std::size_t count;
  std::size_t batch;
};

// The seconds from when the receiver is ready until it has everything.
template <class Receive, class Send>
double time_transfer(const Ring& answers, const Load& load, Receive&& receive, Send&& send) {
  const auto receiver = [&] {
    answers.put({});
    receive();
    answers.put({});
  };
  Process process = Process::forked(receiver);
  process.start();
  answers.take();
  const auto begin = std::chrono::steady_clock::now();
  send();
  answers.take();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  process.join();
  return passed.count() / static_cast<double>(load.count);
}

double time_ring(const Ring& ring, const Ring& answers, const Load& load) {
  const std::vector<std::byte> payload(load.size);
  const auto receive = [&] {
    for (std::size_t got = 0; got < load.count;) {
      if (load.batch > 1) got += ring.take_some(load.batch, [](std::span<const std::byte>) {});
      if (got < load.count) got += ring.take().has_value();  // waits
    }
  };
  const auto send = [&] {
    const std::vector<std::span<const std::byte>> messages(load.batch, payload);
    for (std::size_t sent = 0; sent < load.count;) {
      if (load.batch > 1) {
        sent += ring.put_some(std::span(messages).first(std::min(load.batch, load.count - sent)));
      }
      if (sent < load.count) sent += ring.put(payload);  // waits
    }
  };
  return time_transfer(answers, load, receive, send);
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

  void send(std::span<const std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t written = write(write_end_, bytes.data(), bytes.size());
      if (written <= 0) throw std::runtime_error("the pipe broke");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
  }
  void receive(std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
      const ssize_t got = read(read_end_, bytes.data(), bytes.size());
      if (got <= 0) throw std::runtime_error("the pipe broke");
      bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
  }

 private:
  int read_end_ = -1;
  int write_end_ = -1;
};

double time_pipe(const BarePipe& pipe, const Ring& answers, const Load& load) {
  std::vector<std::byte> sent(load.size * load.batch);
  const auto receive = [&] {
    std::vector<std::byte> got(load.size * load.batch);
    for (std::size_t i = 0; i < load.count; i += load.batch) pipe.receive(got);
  };
  const auto send = [&] {
    for (std::size_t i = 0; i < load.count; i += load.batch) pipe.send(sent);
  };
  return time_transfer(answers, load, receive, send);
}

void compare(const std::string& name, std::size_t size, std::size_t count, int rounds) {
  const Ring ring(8 << 20);
  const Ring answers(4096);
  const BarePipe pipe;
  const Load single{size, count, 1};
  const Load batched{size, count, std::min(kMostInBatch, (1 << 20) / size)};
  const std::string in_batches = ", " + std::to_string(batched.batch) + " at a time";

  bench::Comparison comparison("messages of " + name, rounds);
  comparison.add("ring", [&] { return time_ring(ring, answers, single); });
  comparison.add("pipe", [&] { return time_pipe(pipe, answers, single); });
  if (batched.batch > 1) {
    comparison.add("ring" + in_batches, [&] { return time_ring(ring, answers, batched); });
    comparison.add("pipe" + in_batches, [&] { return time_pipe(pipe, answers, batched); });
  }
  comparison.run();
  const auto tell = [&](const std::string& variant) {
    const double seconds = comparison.median(variant);
    std::printf("  %-44s %10.4g messages/s, %.3g GB/s\n", variant.c_str(), 1 / seconds,
                static_cast<double>(size) / seconds / 1e9);
  };
  tell("ring");
  if (batched.batch > 1) tell("ring" + in_batches);
  comparison.ratio("ring", "pipe");
  comparison.ratio("ring" + in_batches, "pipe" + in_batches);
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const bench::Options options = bench::parse_options(argc, argv);
  compare("8 B", 8, 64 * 8192, options.rounds);
  compare("64 B", 64, 64 * 4096, options.rounds);
  compare("1 KiB", 1024, 64 * 1024, options.rounds);
  compare("64 KiB", 64 << 10, 16 * 128, options.rounds);
  compare("1 MiB", 1 << 20, 128, options.rounds);
}
