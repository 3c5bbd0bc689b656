// Queues whose users are killed and stopped at random instants.
//
// A message that was put is got once, whole, and in its producer's order, unless who gets it is
// killed over that; who is stopped holds up nobody and loses nothing.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cohort/queue.hpp>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "arena_use.hpp"
#include "effort.hpp"
#include "numbered_message.hpp"
#include "os/pidfd.hpp"
#include "queue/queue_cell.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::JoinableQueue;
using cohort::Queue;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;
using test::Space;

using Bytes = std::vector<std::byte>;

constexpr std::size_t kProducers = 3;
constexpr std::size_t kConsumers = 3;
constexpr std::size_t kMembers = kProducers + kConsumers;
constexpr std::size_t kMost = std::size_t{1} << 22;  // messages of one producer
constexpr std::size_t kBatch = 8;
constexpr std::size_t kCrowd = 500;  // messages in a queue without bound, about

struct Record {
  std::array<std::atomic<std::uint64_t>, kProducers> begun;  // the last number that a put was given
  std::array<std::array<std::atomic<std::uint8_t>, kMost>, kProducers> put;
  std::array<std::array<std::atomic<std::uint8_t>, kMost>, kProducers> came;
  std::atomic<std::uint64_t> taken;
  std::atomic<int> ends;  // 1: producers end, 2: consumers do when it is empty
};

// Most are small, some too large for the ring, a few very large.
std::size_t bytes_of(std::uint64_t number) {
  if (number % 20'000 == 19'999) return std::size_t{64} << 20;
  if (number % 512 == 511) return std::size_t{1} << 20;
  if (number % 64 == 63) return number * 7919 % (40 << 10);
  return number * 31 % 200;
}
Bytes message_of(std::uint64_t producer, std::uint64_t number) {
  return test::numbered(producer << 32 | number, bytes_of(number));
}

int produce(const Queue<Bytes>& queue, Record& record, std::size_t producer) {
  const bool in_batches = producer % 2 == 1;
  while (record.ends.load() == 0) {
    if (queue.maxsize() == 0 && queue.size() > kCrowd) {
      ::sched_yield();
      continue;
    }
    const std::size_t count = in_batches ? kBatch : 1;
    const std::uint64_t first = record.begun[producer].fetch_add(count) + 1;
    if (first + count >= kMost) return 1;
    std::vector<Bytes> messages;
    for (std::size_t i = 0; i < count; ++i) messages.push_back(message_of(producer, first + i));
    if (in_batches) {
      queue.put_many(messages);
    } else {
      queue.put(messages.front());
    }
    for (std::size_t i = 0; i < count; ++i) record.put[producer][first + i].store(1);
  }
  return 0;
}

// Answers another exit code when it saw damage.
int note(Record& record, std::array<std::uint64_t, kProducers>& last, const Bytes& message) {
  const auto whole = test::number_of(message);
  if (!whole) return 2;
  const std::size_t producer = *whole >> 32;
  const std::uint64_t number = *whole & 0xFFFF'FFFF;
  if (producer >= kProducers || number >= kMost) return 3;
  if (message.size() != std::max(bytes_of(number), sizeof number)) return 4;
  if (record.came[producer][number].fetch_add(1) != 0) return 5;
  if (number <= last[producer]) return 6;
  last[producer] = number;
  record.taken.fetch_add(1);
  return 0;
}

int consume(const Queue<Bytes>& queue, Record& record, std::size_t consumer) {
  std::array<std::uint64_t, kProducers> last{};
  std::vector<Bytes> messages;
  for (;;) {
    messages.clear();
    if (consumer % 2 == 1) {
      queue.get_many_for(messages, kBatch, 50ms);
    } else if (auto one = queue.get_for(50ms)) {
      messages.push_back(std::move(*one));
    }
    for (const Bytes& one : messages)
      if (int damage = note(record, last, one)) return damage;
    if (messages.empty() && record.ends.load() == 2) return 0;
  }
}

class QueueChaos : public test::ArenaUse, public testing::WithParamInterface<std::size_t> {
 protected:
  QueueChaos() : ArenaUse(3000) {}

  void start(std::size_t i) {
    const Queue<Bytes>& queue = queue_;
    Record& record = **record_;
    if (i < kProducers) {
      members_[i] = std::make_unique<Member>([&, i] { return produce(queue, record, i); });
    } else {
      members_[i] = std::make_unique<Member>([&, i] { return consume(queue, record, i); });
    }
  }
  bool goes_on(std::uint64_t by) const {
    const std::uint64_t enough = record().taken.load() + by;
    return eventually([&] { return record().taken.load() >= enough; });
  }
  // Lets all come to their ends, and looks at what came.
  void end(std::uint64_t most_lost) {
    record().ends.store(1);
    for (std::size_t i = 0; i < kProducers; ++i) EXPECT_EQ(members_[i]->wait(), 0);
    record().ends.store(2);
    for (std::size_t i = kProducers; i < kMembers; ++i) EXPECT_EQ(members_[i]->wait(), 0);
    for (auto& one : members_) {
      EXPECT_TRUE(one->bury());
    }
    std::uint64_t lost = 0, messages = 0;
    for (std::size_t producer = 0; producer < kProducers; ++producer) {
      for (std::uint64_t n = 1; n <= record().begun[producer].load(); ++n) {
        const int came = record().came[producer][n].load();
        ASSERT_LE(came, 1);
        if (record().put[producer][n].load() == 0) continue;
        ++messages;
        lost += came == 0 ? 1 : 0;
      }
    }
    EXPECT_LE(lost, most_lost);
    EXPECT_EQ(queue_.size(), 0U);
    std::printf("%llu messages, %llu lost with their takers\n",
                static_cast<unsigned long long>(messages), static_cast<unsigned long long>(lost));
    for (auto& one : members_) one.reset();
    queue_ = Queue<Bytes>(1);
  }
  Record& record() const { return **record_; }
  static auto time() { return test::with_effort(kSanitized ? 3s : 1200ms); }

  std::mt19937_64 random_{std::random_device{}()};
  std::unique_ptr<Shared<Record>> record_ = std::make_unique<Shared<Record>>();
  std::array<std::unique_ptr<Member>, kMembers> members_;
  Queue<Bytes> queue_{1};
};

TEST_P(QueueChaos, KillsLoseAtMostWhatTheKilledHadTaken) {
  queue_ = Queue<Bytes>(GetParam());
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
  std::uint64_t kills = 0, held = 0;
  const auto until = Clock::now() + time();
  while (Clock::now() < until) {
    ASSERT_TRUE(goes_on(random_() % 100)) << "a stall after " << kills << " kills";
    const std::size_t i = random_() % kMembers;
    members_[i]->kill();
    ASSERT_EQ(members_[i]->wait(), -SIGKILL) << "a member saw damage";
    // Half of them are found by those who wait for them.
    if (random_() % 2 == 0) {
      ASSERT_TRUE(members_[i]->bury());
    }
    if (i >= kProducers) held += i % 2 == 1 ? kBatch : 1;
    start(i);
    ++kills;
  }
  std::printf("%llu kills, ", static_cast<unsigned long long>(kills));
  end(held);
}

TEST_P(QueueChaos, StopsLoseNothingAndHoldUpNobodyElse) {
  queue_ = Queue<Bytes>(GetParam());
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
  std::uint64_t stops = 0;
  const auto until = Clock::now() + time();
  while (Clock::now() < until) {
    const std::size_t producer = random_() % kProducers;
    const std::size_t consumer = kProducers + random_() % kConsumers;
    const auto which = random_() % 3;
    if (which != 0) members_[producer]->send(SIGSTOP);
    if (which != 1) members_[consumer]->send(SIGSTOP);
    ASSERT_TRUE(goes_on(random_() % 50)) << "a stall after " << stops << " stops";
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 3000));
    members_[producer]->send(SIGCONT);
    if (random_() % 2 == 0) ::sched_yield();
    members_[consumer]->send(SIGCONT);
    ++stops;
  }
  std::printf("%llu stops, ", static_cast<unsigned long long>(stops));
  end(0);
}

// While some are stopped, others are killed: among them those who robbed the stopped ones.
TEST_P(QueueChaos, KillsAmongTheStoppedLoseAtMostWhatTheKilledHadTaken) {
  queue_ = Queue<Bytes>(GetParam());
  for (std::size_t i = 0; i < kMembers; ++i) start(i);
  std::uint64_t kills = 0, held = 0;
  const auto until = Clock::now() + time();
  while (Clock::now() < until) {
    const std::size_t i = random_() % kMembers;
    const std::size_t side = i < kProducers ? 0 : kProducers;
    const std::size_t other = side + (i - side + 1 + random_() % 2) % 3;
    members_[i]->send(SIGSTOP);
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 4000));
    const std::size_t victim = random_() % 4 == 0 ? i : other;
    members_[victim]->kill();
    ASSERT_EQ(members_[victim]->wait(), -SIGKILL) << "a member saw damage";
    if (random_() % 2 == 0) {
      ASSERT_TRUE(members_[victim]->bury());
    }
    if (victim >= kProducers) held += victim % 2 == 1 ? kBatch : 1;
    if (random_() % 2 == 0) {
      ASSERT_TRUE(goes_on(random_() % 50)) << "a stall after " << kills << " kills";
    }
    if (victim != i) members_[i]->send(SIGCONT);
    start(victim);
    ++kills;
  }
  std::printf("%llu kills, ", static_cast<unsigned long long>(kills));
  end(held);
}

INSTANTIATE_TEST_SUITE_P(Each, QueueChaos, testing::Values(std::size_t{0}, std::size_t{50}),
                         [](const auto& each) {
                           return each.param ? std::string("bounded") : std::string("unbounded");
                         });

// ---- joinable queues

class JoinableChaos : public test::ArenaUse {
 protected:
  JoinableChaos() : ArenaUse(3000) {}
};

struct Work {
  static constexpr int kTasks = 1 << 20;
  std::array<std::atomic<std::uint8_t>, kTasks> came;
  std::atomic<std::uint64_t> done;
};

TEST_F(JoinableChaos, JoinEndsHoweverManyWorkersAreKilled) {
  std::mt19937_64 random{std::random_device{}()};
  auto work = std::make_unique<Shared<Work>>();
  Work& seen = **work;
  JoinableQueue<int> queue;
  auto start = [&] {
    return std::make_unique<Member>([&] {
      for (;;) {
        const int task = queue.get();
        if (seen.came[static_cast<std::size_t>(task)].fetch_add(1) != 0) return 2;
        queue.task_done();
        seen.done.fetch_add(1);
      }
    });
  };
  std::array<std::unique_ptr<Member>, 3> workers;
  for (auto& one : workers) one = start();
  std::uint64_t kills = 0;
  int put = 0;
  const auto until = Clock::now() + test::with_effort(kSanitized ? 3s : 1s);
  while (Clock::now() < until && put + 200 < Work::kTasks) {
    for (int i = 0; i < 200; ++i) queue.put(put++);
    for (int i = 0; i < 2; ++i) {
      const std::uint64_t enough = seen.done.load() + random() % 90;
      EXPECT_TRUE(eventually([&] { return seen.done.load() >= enough || queue.empty(); }));
      auto& victim = workers[random() % workers.size()];
      victim->kill();
      ASSERT_EQ(victim->wait(), -SIGKILL) << "a worker got a task twice";
      if (random() % 2 == 0) {
        ASSERT_TRUE(victim->bury());
      }
      victim = start();
      ++kills;
    }
    ASSERT_TRUE(queue.join_for(20s)) << queue.unfinished() << " unfinished, " << kills << " kills";
    ASSERT_EQ(queue.size(), 0U);
  }
  int missing = 0;
  for (int i = 0; i < put; ++i) missing += seen.came[static_cast<std::size_t>(i)].load() == 0;
  EXPECT_LE(static_cast<std::uint64_t>(missing), kills);
  EXPECT_LE(queue.lost(), kills);
  std::printf("%llu kills, %d tasks, %d never came, %llu lost\n",
              static_cast<unsigned long long>(kills), put, missing,
              static_cast<unsigned long long>(queue.lost()));
}

class KilledWorker : public test::ArenaUse, public testing::WithParamInterface<const char*> {};

TEST_P(KilledWorker, HoldsUpNoJoin) {
  for (bool announced : {true, false}) {
    JoinableQueue<int> queue;
    Shared<std::atomic<int>> begin;
    Member holder([&] {
      queue.get();
      ::raise(SIGKILL);
    });
    Member victim([&] {
      if (!eventually([&] { return begin->load() == 1; })) return;
      test::die_at(GetParam());
      queue.get();
      queue.task_done();
      queue.unfinished();
      ::raise(SIGTERM);
    });
    queue.put(1);
    ASSERT_EQ(holder.wait(), -SIGKILL);
    ASSERT_TRUE(holder.bury());
    queue.put(2);
    begin->store(1);
    ASSERT_EQ(victim.wait(), -SIGKILL) << "the step was never reached";
    if (announced) {
      ASSERT_TRUE(victim.bury());
    }
    ASSERT_TRUE(queue.join_for(20s));
    EXPECT_EQ(queue.unfinished(), 0U);
    queue.put(3);
    EXPECT_EQ(queue.get(), 3);
    EXPECT_FALSE(queue.join_for(0s));
    queue.task_done();
    EXPECT_TRUE(queue.join_for(20s));
  }
}
INSTANTIATE_TEST_SUITE_P(Every, KilledWorker,
                         testing::Values("unfinished.finished", "unfinished.written_off",
                                         "ring.taken"),
                         [](const auto& each) {
                           std::string name = each.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
