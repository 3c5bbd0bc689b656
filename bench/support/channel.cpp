#include "channel.hpp"

#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cohort/process.hpp>
#include <stdexcept>

#include "ping_pong.hpp"
#include "shared.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::size_t meet(std::atomic<std::size_t>& arrived, std::size_t all) {
  const std::size_t place = arrived++;
  while (arrived.load() < all) sched_yield();
  return place;
}

// Where the processes of a transfer meet.
class Meeting {
 public:
  explicit Meeting(std::size_t processes) : processes_(processes) {}

  template <class Work>
  void time(const Work& work) {
    Span& span = spans_.at(meet(ready_, processes_));
    span.begin = Clock::now();
    work();
    span.end = Clock::now();
    // One that left early could take with it what others still read.
    meet(done_, processes_);
  }
  void add(std::uint64_t numbers) { sum_ += numbers; }

  std::uint64_t sum() const { return sum_; }
  double seconds() const {
    const auto spans = std::span(spans_).first(processes_);
    const auto begin = std::ranges::min(spans, {}, &Span::begin).begin;
    const auto end = std::ranges::max(spans, {}, &Span::end).end;
    return std::chrono::duration<double>(end - begin).count();
  }

 private:
  struct Span {
    Clock::time_point begin;
    Clock::time_point end;
  };
  std::size_t processes_;
  std::atomic<std::size_t> ready_{0};
  std::atomic<std::size_t> done_{0};
  std::atomic<std::uint64_t> sum_{0};
  std::array<Span, 8> spans_{};
};

// Runs `work` in so many processes, this one among them.
template <class Work>
void run_in(std::size_t processes, const Work& work) {
  if (processes == 1) return work();
  auto other = cohort::Process::forked([&] { run_in(processes - 1, work); });
  other.start();
  work();
  other.join();
  if (other.exitcode() != 0) throw std::runtime_error("a process of the benchmark failed");
}

std::uint64_t sum_up_to(std::size_t count) { return std::uint64_t{count} * (count + 1) / 2; }

// A signal for ping_pong.
class MessageSignal {
 public:
  explicit MessageSignal(Channel& channel) : channel_(channel) {}
  void raise() { channel_.send(1); }
  void await() { channel_.receive(1); }

 private:
  Channel& channel_;
};

template <class There, class Back>
double time_turns(Placement placement, std::size_t count, There& there, Back& back) {
  struct Turns {
    double seconds = 0;
    std::atomic<std::size_t> done{0};
  };
  const Shared<Turns> turns;
  const std::size_t warm_up = count / 5 + 1;
  const auto turn = [&] {
    there.raise();
    back.await();
  };
  const auto ask = [&] {
    for (std::size_t i = 0; i < warm_up; ++i) turn();
    const auto begin = Clock::now();
    for (std::size_t i = 0; i < count; ++i) turn();
    turns->seconds = seconds_since(begin);
    meet(turns->done, 2);
  };
  const auto answer = [&] {
    for (std::size_t i = 0; i < warm_up + count; ++i) {
      there.await();
      back.raise();
    }
    meet(turns->done, 2);
  };
  in_two_processes(placement, ask, answer);
  return turns->seconds / static_cast<double>(count);
}

// A signal that is awaited without ever sleeping.
class SpinSignal {
 public:
  void raise() { raised_.store(true, std::memory_order_release); }
  void await() {
    while (!raised_.load(std::memory_order_acquire)) {
    }
    raised_.store(false, std::memory_order_relaxed);
  }

 private:
  alignas(64) std::atomic<bool> raised_{false};
};

}  // namespace

double time_transfer(Placement placement, Channel& channel, const Load& load, std::size_t count,
                     std::size_t pairs) {
  const auto batches = [&](std::size_t messages) {
    return std::max<std::size_t>(1, messages / load.batch) * load.batch;
  };
  const std::size_t each = batches(count / pairs);
  const std::size_t warm_up = batches(each / 8);  // opens connections, touches memory
  const Shared<Meeting> meeting(2 * pairs);
  const auto send = [&] {
    channel.send(warm_up);
    meeting->time([&] { channel.send(each); });
  };
  const auto receive = [&] {
    std::uint64_t sum = channel.receive(warm_up);
    meeting->time([&] { sum += channel.receive(each); });
    meeting->add(sum);
  };
  in_two_processes(
      placement, [&] { run_in(pairs, send); }, [&] { run_in(pairs, receive); });
  if (meeting->sum() != pairs * (sum_up_to(warm_up) + sum_up_to(each)))
    throw std::logic_error("messages were lost");
  return meeting->seconds() / static_cast<double>(each * pairs);
}

double time_round_trip(Placement placement, Channel& there, Channel& back, std::size_t count) {
  MessageSignal ping(there);
  MessageSignal pong(back);
  return time_turns(placement, count, ping, pong);
}

double time_round_trip(Placement placement, FutexSignal& there, FutexSignal& back,
                       std::size_t count) {
  return time_turns(placement, count, there, back);
}

double time_sleeping_round_trip(Placement placement, Channel& there, Channel& back,
                                std::size_t count) {
  MessageSignal ping(there);
  MessageSignal pong(back);
  return 2 * ping_pong(placement, Other::asleep, static_cast<int>(count), ping, pong);
}

double time_between_cpus() {
  const Shared<std::array<SpinSignal, 2>> signals;
  return time_turns(Placement::apart, 2000, (*signals)[0], (*signals)[1]);
}

bool on_one_core(double between_cpus) { return between_cpus < 60e-9; }

}  // namespace bench
