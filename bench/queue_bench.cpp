// Messages between processes through a Queue and a Pipe, beside Python's, Boost.Interprocess's,
// POSIX's and ZeroMQ's, a pipe(2), and the least that a queue can be whose processes may be killed.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cohort/process.hpp>
#include <cohort/queue.hpp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "support/channel.hpp"
#include "support/comparison.hpp"
#include "support/own_channels.hpp"
#include "support/ping_pong.hpp"
#include "support/python_peer.hpp"
#include "support/queue_peers.hpp"
#include "support/shared.hpp"
#include "support/table.hpp"

namespace {

using bench::Channel;
using bench::Comparison;
using bench::Load;
using bench::Placement;

constexpr std::size_t kBatch = 64;
constexpr double kTime = 0.02;  // seconds, of one measurement

const std::string kQueue = "Queue";
constexpr std::size_t kBound = 8;
const std::string kBounded = "Queue, at most " + std::to_string(kBound);
const std::string kLent = "Queue, lent";
const std::string kPipe = "Pipe";
const std::string kRing = "bare robust ring";
const std::string kMemcpy = "memcpy";
const std::string kMemcpyInCache = "memcpy, all in the cache";
const std::string kInBatches = ", " + std::to_string(kBatch) + " at a time";

// Measures so many that it takes about kTime, as the first time tells.
template <class Measure>
std::function<double()> paced(std::size_t first, Measure measure) {
  return [first, measure, count = std::size_t{0}]() mutable {
    const double seconds = measure(count > 0 ? count : first);
    if (!(seconds > 0)) throw std::runtime_error("a peer does not answer");
    if (count == 0)
      count = std::clamp<std::size_t>(static_cast<std::size_t>(kTime / seconds),
                                      std::min<std::size_t>(first, 4), 1'000'000);
    return seconds;
  };
}

// `question`, followed by a count, is put to peers/queues.py.
void add_python(Comparison& comparison, bench::PythonPeer& python, const std::string& name,
                std::size_t first, const std::string& question) {
  if (!python.missing().empty()) return comparison.skip(name, python.missing());
  comparison.add(name, paced(first, [&python, question](std::size_t count) {
                   return python.ask(question + " " + std::to_string(count));
                 }));
}

struct Place {
  Placement placement;
  std::string text;
  std::string python;  // as peers/queues.py calls it
};
const Place kAnywhere{Placement::anywhere, "wherever they are put", "anywhere"};
const Place kApart{Placement::apart, "each on a CPU of its own", "apart"};
const Place kTogether{Placement::together, "both on one CPU", "together"};

// A comparison of channels: each is measured, or the reason is told why not.
class Channels {
 public:
  Channels(std::string title, const Place& place, int rounds)
      : place_(place), comparison_(title + ", " + place.text, rounds) {
    if (place.placement != Placement::apart) return;
    comparison_.leave_out_if([] { return bench::on_one_core(bench::time_between_cpus()); },
                             "the two CPUs were threads of one core");
  }

  // Measures transfers through the channel.
  void transfer(bench::Peer peer, const Load& load, std::size_t pairs = 1) {
    if (load.batch > 1) peer.name += kInBatches;
    Channel* const channel = keep(peer);
    if (!channel) return;
    const auto measure = [placement = place_.placement, channel, load, pairs](std::size_t count) {
      return bench::time_transfer(placement, *channel, load, count, pairs);
    };
    comparison_.add(peer.name, paced(first_count(load), measure));
    names_.push_back(peer.name);
  }

  using TimeRoundTrip = double (*)(Placement, Channel&, Channel&, std::size_t);
  void round_trip(bench::Peer there, bench::Peer back, TimeRoundTrip time, std::size_t first) {
    Channel* const ping = keep(there);
    Channel* const pong = keep(back);
    if (!ping || !pong) return;
    comparison_.add(there.name, paced(first, [=, placement = place_.placement](std::size_t count) {
                      return time(placement, *ping, *pong, count);
                    }));
    names_.push_back(there.name);
  }

  Comparison& comparison() { return comparison_; }
  const std::vector<std::string>& names() const { return names_; }
  bool has(const std::string& name) const { return std::ranges::count(names_, name) > 0; }

  static std::size_t first_count(const Load& load) {
    return std::clamp<std::size_t>((4 << 20) / load.size, 16, 2048);
  }

 private:
  Channel* keep(bench::Peer& peer) {
    if (!peer.channel) {
      if (!told_.contains(peer.name)) comparison_.skip(peer.name, peer.missing);
      told_.insert(peer.name);
      return nullptr;
    }
    kept_.push_back(std::move(peer.channel));
    return kept_.back().get();
  }

  Place place_;
  Comparison comparison_;
  std::vector<std::unique_ptr<Channel>> kept_;
  std::vector<std::string> names_;
  std::set<std::string> told_;
};

const std::string kPeers[] = {"boost message_queue", "POSIX mq", "ZeroMQ ipc"};

// The quickest of the other libraries in this comparison; empty when there is none.
std::string best_peer(const Channels& channels, const Comparison& comparison) {
  std::string best;
  for (const std::string& name : kPeers) {
    if (!channels.has(name)) continue;
    if (best.empty() || comparison.median(name) < comparison.median(best)) best = name;
  }
  return best;
}

bool is_missing(const Place& place, const std::string& what) {
  const std::string missing = bench::missing_for(place.placement);
  if (missing.empty()) return false;
  std::printf("\n%s, %s: skipped, %s\n", what.c_str(), place.text.c_str(), missing.c_str());
  return true;
}

// Seconds per copy of so many bytes, from and to places that change within `memory` bytes.
double time_memcpy(std::size_t size, std::size_t memory, std::size_t count) {
  const std::vector<std::byte> from(memory);
  std::vector<std::byte> to(memory);
  std::size_t place = 0;
  return bench::time_each(count, [&] {
    std::memcpy(to.data() + place, from.data() + place, size);
    benchmark::ClobberMemory();
    place = place + 2 * size <= memory ? place + size : 0;
  });
}

void tell_transfer_ratios(const Channels& channels, const Comparison& comparison,
                          std::size_t size) {
  constexpr double kShareOfRing = 0.6;
  comparison.ratio(kQueue, "python Queue", size == 8 ? std::optional(0.01) : std::nullopt);
  comparison.ratio(kQueue, "python SimpleQueue");
  comparison.ratio(kPipe, "python Pipe");
  comparison.ratio(kPipe, "pipe(2)");
  if (const std::string best = best_peer(channels, comparison); !best.empty())
    comparison.ratio(kQueue, best, 1 / 3.0);
  comparison.ratio(kQueue, kRing, 1 / kShareOfRing);
  comparison.ratio(kQueue + kInBatches, kRing + kInBatches, 1 / kShareOfRing);
  comparison.ratio(kQueue + kInBatches, kQueue, size == 8 ? std::optional(1 / 3.0) : std::nullopt);
  comparison.ratio(kQueue, kMemcpy, size == 1 << 20 ? std::optional(2.0) : std::nullopt);
  comparison.ratio(kQueue, kMemcpyInCache);
  comparison.ratio(kBounded, kRing);
  comparison.ratio(kBounded, kMemcpy);
  comparison.ratio(kLent, kRing);
}

void compare_transfers(const std::string& name, std::size_t size, const Place& place, int rounds,
                       bench::PythonPeer& python, bench::Table& table) {
  const Load single{size, 1};
  const Load batched{size, kBatch};
  const bool batches = size <= 1024;
  Channels channels("messages of " + name, place, rounds);
  Comparison& comparison = channels.comparison();
  channels.transfer(bench::own_queue(single), single);
  channels.transfer(bench::robust_ring_peer(single), single);
  if (batches) {
    channels.transfer(bench::own_queue(batched), batched);
    channels.transfer(bench::robust_ring_peer(batched), batched);
  } else {
    channels.transfer(bench::own_queue(single, kBound), single);
    channels.transfer(bench::own_loans(single), single);
  }
  channels.transfer(bench::own_pipe(single), single);
  channels.transfer(bench::pipe_peer(single), single);
  if (batches) channels.transfer(bench::pipe_peer(batched), batched);
  channels.transfer(bench::boost_peer(single), single);
  channels.transfer(bench::posix_peer(single), single);
  channels.transfer(bench::zeromq_peer(single), single);
  std::vector<std::string> rows = channels.names();
  if (size >= 64 << 10) {
    const auto add = [&](const std::string& row, std::size_t memory) {
      comparison.add(row, paced(64, [=](std::size_t n) { return time_memcpy(size, memory, n); }));
      rows.push_back(row);
    };
    add(kMemcpy, 64 << 20);
    add(kMemcpyInCache, size);
  }
  for (const std::string kind : {"Queue", "SimpleQueue", "Pipe"}) {
    const std::string question = "transfer " + kind + " " + std::to_string(size);
    add_python(comparison, python, "python " + kind, std::min<std::size_t>(200, (16 << 20) / size),
               question + " " + place.python);
    if (python.missing().empty()) rows.push_back("python " + kind);
  }
  comparison.run();
  for (const std::string& row : rows) table.add(row, name, size, comparison.median(row));
  tell_transfer_ratios(channels, comparison, size);
}

void compare_transfers(const Place& place, int rounds, bench::PythonPeer& python) {
  if (is_missing(place, "messages")) return;
  bench::Table table("a message, " + place.text);
  const std::pair<const char*, std::size_t> sizes[] = {
      {"8 B", 8}, {"64 B", 64}, {"1 KiB", 1024}, {"64 KiB", 64 << 10}, {"1 MiB", 1 << 20}};
  for (const auto& [name, size] : sizes)
    compare_transfers(name, size, place, rounds, python, table);
  table.print();
}

void compare_many(const Place& place, int rounds, bench::PythonPeer& python) {
  if (is_missing(place, "two processes to two others")) return;
  const Load single{8, 1};
  const Load batched{8, kBatch};
  Channels channels("messages of 8 B, from two processes to two others", place, rounds);
  Comparison& comparison = channels.comparison();
  channels.transfer(bench::own_queue(single), single, 2);
  channels.transfer(bench::robust_ring_peer(single), single, 2);
  channels.transfer(bench::own_queue(batched), batched, 2);
  channels.transfer(bench::robust_ring_peer(batched), batched, 2);
  channels.transfer(bench::pipe_peer(single), single, 2);
  channels.transfer(bench::boost_peer(single), single, 2);
  channels.transfer(bench::posix_peer(single), single, 2);
  for (const std::string kind : {"Queue", "SimpleQueue"})
    add_python(comparison, python, "python " + kind, 400, "many " + kind + " " + place.python);
  comparison.run();
  comparison.ratio(kQueue, kRing, 1 / 0.6);
  comparison.ratio(kQueue + kInBatches, kRing + kInBatches, 1 / 0.6);
  comparison.ratio(kQueue, "python Queue", 0.01);
  if (const std::string best = best_peer(channels, comparison); !best.empty())
    comparison.ratio(kQueue, best, 1 / 3.0);
}

void add_round_trips(Channels& channels, Channels::TimeRoundTrip time, std::size_t first) {
  const Load load;
  const auto add = [&](auto&& make) { channels.round_trip(make(), make(), time, first); };
  add([&] { return bench::own_queue(load); });
  add([&] { return bench::own_pipe(load); });
  add([&] { return bench::robust_ring_peer(load, 1); });
  add([&] { return bench::pipe_peer(load); });
  add([&] { return bench::boost_peer(load); });
  add([&] { return bench::posix_peer(load); });
  add([&] { return bench::zeromq_peer(load); });
}

void compare_round_trips(const Place& place, int rounds, bench::PythonPeer& python) {
  const std::string title = "8 B there and back, between busy processes";
  if (is_missing(place, title)) return;
  Channels channels(title, place, rounds);
  Comparison& comparison = channels.comparison();
  add_round_trips(channels, bench::time_round_trip, 100);
  const bench::Shared<std::array<bench::FutexSignal, 2>> futexes;
  comparison.add("bare futex", paced(100, [&](std::size_t count) {
                   auto& [there, back] = *futexes;
                   return bench::time_round_trip(place.placement, there, back, count);
                 }));
  for (const std::string kind : {"Queue", "SimpleQueue", "Pipe"})
    add_python(comparison, python, "python " + kind, 40, "round_trip " + kind + " " + place.python);
  const bool apart = place.placement == Placement::apart;
  if (apart) {
    comparison.add("both spinning on a line", bench::time_between_cpus);
    comparison.add("1 us", [] { return 1e-6; });
  }
  comparison.run();
  if (apart) comparison.ratio(kQueue, "1 us", 1.0);
  comparison.ratio(kQueue, kRing);
  comparison.ratio(kQueue, "bare futex");
  comparison.ratio(kQueue, "python Queue");
  comparison.ratio(kPipe, "pipe(2)");
  comparison.ratio(kPipe, "python Pipe");
}

void compare_sleeping_round_trips(const Place& place, int rounds) {
  constexpr std::size_t kTimes = 60;
  const std::string title = "8 B there and back, between sleeping processes";
  if (is_missing(place, title)) return;
  Channels channels(title, place, rounds);
  Comparison& comparison = channels.comparison();
  const auto time = [](Placement placement, Channel& there, Channel& back, std::size_t) {
    return bench::time_sleeping_round_trip(placement, there, back, kTimes);
  };
  add_round_trips(channels, time, kTimes);
  const bench::Shared<std::array<bench::FutexSignal, 2>> futexes;
  comparison.add("bare futex", [&] {
    auto& [there, back] = *futexes;
    return 2 * bench::ping_pong(place.placement, bench::Other::asleep, kTimes, there, back);
  });
  comparison.run();
  comparison.ratio(kQueue, "bare futex", 1.3);
  comparison.ratio(kPipe, "pipe(2)");
}

// The textbook's program: ints, then a word that ends it.
using IntOrWord = std::variant<int, std::string>;

void reader(const cohort::Queue<IntOrWord>& queue) {
  while (queue.get() != IntOrWord("DONE")) {
  }
}

double reader_and_writer(int count) {
  const cohort::Queue<IntOrWord> queue;
  cohort::Process process({.daemon = true}, reader, queue);
  process.start();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) queue.put(i);
  queue.put("DONE");
  process.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void compare_reader_and_writer(int count, int rounds, bench::PythonPeer& python) {
  Comparison comparison("a reader and a writer of " + std::to_string(count) + " ints", rounds);
  comparison.add(kQueue, [count] { return reader_and_writer(count); });
  if (python.missing().empty()) {
    // The first time does not count, and the most take seconds.
    comparison.add("python Queue", [&python, times = 0, count]() mutable {
      const int now = times++ == 0 ? 1000 : count;
      return python.ask("reader_and_writer " + std::to_string(now));
    });
  } else {
    comparison.skip("python Queue", python.missing());
  }
  comparison.run();
  comparison.ratio(kQueue, "python Queue");
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const int rounds = bench::parse_options(argc, argv).rounds;
  bench::PythonPeer python("queues.py");
  for (const Place& place : {kApart, kAnywhere}) {
    compare_transfers(place, rounds, python);
    compare_many(place, rounds, python);
  }
  for (const Place& place : {kApart, kAnywhere, kTogether}) {
    compare_round_trips(place, rounds, python);
    compare_sleeping_round_trips(place, rounds);
  }
  compare_reader_and_writer(10'000, rounds, python);
  compare_reader_and_writer(100'000, rounds, python);
  compare_reader_and_writer(1'000'000, 1, python);
}
