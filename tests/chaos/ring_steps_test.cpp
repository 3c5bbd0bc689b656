// One put and one get, killed or stopped between any two of their instructions, while others go on.
//
// A message is there whole or not at all, comes out once, and in its producer's order; what was
// stopped finishes its operation when it is continued; nothing stays in the arena. Each case tries
// as many instructions as its time allows, evenly spread; with COHORT_TEST_EFFORT=50 that is all.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena_use.hpp"
#include "effort.hpp"
#include "numbered_message.hpp"
#include "ring/ring.hpp"
#include "single_step.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::arena::BlockKind;
using cohort::arena::Offset;
using cohort::detail::BlockRef;
using cohort::detail::BlockRefs;
using cohort::ring::Message;
using cohort::ring::Ring;
using cohort::ring::RingOptions;
using test::Clock;
using test::eventually;
using test::kSanitized;
using test::Member;
using test::Shared;
using test::soon;
using test::Space;
using test::Spread;
using test::Stepped;

using Numbers = std::vector<std::uint64_t>;

constexpr auto kNow = Clock::time_point{};
constexpr std::uint64_t kVictims = 1000;   // the first number that the victim puts
constexpr std::uint64_t kTests = 2000;     // that the test puts
constexpr std::uint64_t kSleepers = 3000;  // that the one who sleeps puts
constexpr std::uint64_t kThieves = 4000;   // that the thief puts
constexpr std::uint64_t kBehind = 5000;

enum class Act { put, put_batch, take, take_batch };
enum class Beside { nobody, a_sleeping_taker, a_sleeping_putter };

struct Operation {
  const char* name;
  Act act;
  RingOptions options = {};
  std::size_t count = 1;   // messages that it is about
  std::size_t there = 0;   // messages that were put before
  std::size_t passed = 0;  // as many of them were taken
  bool parcels = false;
  Beside beside = Beside::nobody;
  const char* died_at = nullptr;  // where one was killed just before, holding the lock

  bool puts() const { return act == Act::put || act == Act::put_batch; }
  friend void PrintTo(const Operation& operation, std::ostream* out) { *out << operation.name; }
};

// What is in each test of one instruction.
class Scene {
 public:
  explicit Scene(const Operation& operation) : is_(operation), ring_(operation.options) {
    for (std::uint64_t i = 1; i <= is_.there; ++i) put(i);
    for (std::uint64_t i = 1; i <= is_.passed; ++i) take(kNow);
    if (is_.died_at) leave_a_dead_owner();
    if (is_.beside == Beside::nobody) return;
    sleeper_ = std::make_unique<Member>([this] {
      if (is_.beside == Beside::a_sleeping_putter) return put(kSleepers) ? 0 : 1;
      sleepers_->add(take(soon()));
      return sleepers_->count == 1 ? 0 : 1;
    });
    const auto& waits = Space::here().members().slot(sleeper_->id()).waits;
    EXPECT_TRUE(eventually([&] { return waits[0].load() != 0; }));
  }

  // The victim's part.
  void warm_up() const {
    Ring other(4096);
    put_to(other, 1, true);
    put_to(other, 2, false);
    while (other.take(kNow)) {
    }
    if (is_.act == Act::put_batch) batch(0);
    if (is_.act == Act::take_batch) {
      put_to(other, 3, false);
      other.take_some(1, [](auto) {});
    }
  }
  void act() const {
    switch (is_.act) {
      case Act::put:
        ring_.put(whole_, soon(), references());
        return;
      case Act::put_batch:
        ring_.put_some(spans_);
        return;
      case Act::take:
        taken_ = ring_.take(soon());
        return;
      case Act::take_batch:
        ring_.take_some(is_.count, [&](auto bytes) {
          std::memcpy(copies_[copied_++].data(), bytes.data(), bytes.size());
        });
        return;
    }
  }
  // Before it is stepped: what is to be put is ready.
  void prepare() {
    warm_up();
    if (is_.act == Act::put) whole_ = test::numbered(kVictims);
    if (is_.parcels) referred_ = BlockRefs::create(64, BlockKind::plain);
    if (is_.act == Act::put_batch) batch(is_.count);
  }
  int report() {
    if (taken_) victims_->add(test::number_of(taken_->bytes()));
    taken_.reset();
    for (std::size_t i = 0; i < copied_; ++i) victims_->add(test::number_of(copies_[i]));
    return 0;
  }

  // The others' part.
  bool put(std::uint64_t number) const { return put_to(ring_, number, is_.parcels); }
  std::optional<std::uint64_t> take(cohort::os::Deadline deadline) const {
    auto message = ring_.take(deadline);
    if (!message) return std::nullopt;
    return test::number_of(message->bytes()).value_or(0);
  }
  void others_go_on() {
    const std::size_t before = is_.puts() ? 0 : 3;
    for (std::size_t i = 0; i < before; ++i) take_one();
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(put(kTests + put_)) << "others cannot put";
      ++put_;
    }
    if (before == 0 && is_.beside == Beside::nobody) take_one();
  }
  // One who comes next, and robs the victim of the lock should it have it, as far as that step.
  void steal(const char* step, int signal) {
    thief_killed_ = signal == SIGKILL;
    thief_ = std::make_unique<Member>([this, step, signal] {
      test::die_at(step);
      if (signal == SIGSTOP) {
        cohort::os::step_hook = [](const char* name) {
          if (std::strcmp(name, test::fatal_step) == 0 && --test::fatal_times == 0)
            ::raise(SIGSTOP);
        };
      }
      if (is_.puts()) return put(kThieves) ? 0 : 1;
      thieves_->add(take(soon()));
      return 0;
    });
    EXPECT_TRUE(eventually([&] {
      const pid_t pid = Space::here().members().slot(thief_->id()).pid.load();
      return !thief_->running() || (pid != 0 && cohort::os::stopped(pid));
    }));
  }
  void end(bool killed) {
    if (thief_) {
      thief_->send(SIGCONT);
      const auto ended = thief_->wait();
      // It need not have come by that step.
      thief_killed_ = thief_killed_ && ended != 0;
      ASSERT_EQ(ended, thief_killed_ ? -SIGKILL : 0);
      ASSERT_TRUE(thief_->bury());
    }
    if (sleeper_) {
      ASSERT_EQ(sleeper_->wait(), 0) << "who slept was not woken";
      ASSERT_TRUE(sleeper_->bury());
    }
    while (auto number = take(kNow)) tests_.push_back(*number);
    check(killed);
  }

 private:
  struct Taken {
    std::size_t count = 0;
    std::array<std::uint64_t, 64> numbers{};
    void add(std::optional<std::uint64_t> number) { numbers[count++] = number.value_or(0); }
    Numbers list() const {
      return {numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(count)};
    }
  };

  void leave_a_dead_owner() const {
    Member dead([this] {
      test::die_at(is_.died_at);
      is_.puts() ? put(kBehind) : take(soon()).has_value();
      return 0;
    });
    EXPECT_EQ(dead.wait(), -SIGKILL) << "the step was never reached";
    EXPECT_TRUE(dead.bury());
  }
  static bool put_to(const Ring& ring, std::uint64_t number, bool parcel) {
    if (!parcel) return ring.put(test::numbered(number), Clock::now() + 20s);
    const BlockRef referred = BlockRefs::create(64, BlockKind::plain);
    const Offset place = referred.offset();
    return ring.put(test::numbered(number), Clock::now() + 20s, std::span(&place, 1));
  }
  std::span<const Offset> references() const {
    if (!referred_) return {};
    place_ = referred_.offset();
    return {&place_, 1};
  }
  void batch(std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) messages_.push_back(test::numbered(kVictims + i));
    for (const auto& one : messages_) spans_.emplace_back(one);
  }
  void take_one() {
    auto number = take(Clock::now() + 20s);
    ASSERT_TRUE(number) << "others cannot take";
    tests_.push_back(*number);
  }

  // What should have come, of those that `first` begins.
  static Numbers expected(std::uint64_t first, std::size_t count) {
    Numbers numbers(count);
    for (std::size_t i = 0; i < count; ++i) numbers[i] = first + i;
    return numbers;
  }
  static Numbers among(const Numbers& all, std::uint64_t first, std::uint64_t behind) {
    Numbers some;
    for (auto one : all)
      if (one >= first && one < behind) some.push_back(one);
    return some;
  }
  void check(bool killed) const {
    Numbers all;
    for (const Numbers& one : {victims_->list(), sleepers_->list(), thieves_->list(), tests_}) {
      for (std::uint64_t first : {std::uint64_t{0}, kVictims, kTests, kSleepers, kThieves}) {
        const Numbers same = among(one, first, first + 1000);
        ASSERT_TRUE(std::is_sorted(same.begin(), same.end())) << testing::PrintToString(one);
      }
      all.insert(all.end(), one.begin(), one.end());
    }
    std::sort(all.begin(), all.end());
    const auto seen = testing::PrintToString(all);
    const Numbers before = among(all, 0, kVictims);
    const std::size_t left = is_.there - is_.passed;
    if (thief_killed_ && !is_.puts() && before.size() == left - 1) {
      ASSERT_EQ(std::adjacent_find(before.begin(), before.end()), before.end()) << seen;
    } else if (killed && !is_.puts() && before.size() != left) {
      ASSERT_EQ(before, expected(is_.passed + is_.count + 1, left - is_.count)) << seen;
    } else {
      ASSERT_EQ(before, expected(is_.passed + 1, left)) << seen;
    }
    const Numbers victims = among(all, kVictims, kTests);
    if (is_.puts() && !(killed && victims.empty())) {
      ASSERT_EQ(victims, expected(kVictims, is_.count)) << seen;
    } else {
      ASSERT_EQ(victims, Numbers{}) << seen;
    }
    ASSERT_EQ(among(all, kTests, kSleepers), expected(kTests, put_)) << seen;
    ASSERT_EQ(among(all, kSleepers, kThieves),
              expected(kSleepers, is_.beside == Beside::a_sleeping_putter ? 1 : 0))
        << seen;
    const Numbers thieves = among(all, kThieves, kBehind);
    if (!thief_killed_ || !thieves.empty()) {
      ASSERT_EQ(thieves, expected(kThieves, thief_ && is_.puts() ? 1 : 0)) << seen;
    }
  }

  const Operation& is_;
  Ring ring_;
  Shared<Taken> victims_;
  Shared<Taken> sleepers_;
  Shared<Taken> thieves_;
  Numbers tests_;
  std::uint64_t put_ = 0;
  std::unique_ptr<Member> sleeper_;
  std::unique_ptr<Member> thief_;
  bool thief_killed_ = false;

  // The victim's own.
  std::vector<std::byte> whole_;
  mutable std::vector<std::vector<std::byte>> messages_;
  mutable std::vector<std::span<const std::byte>> spans_;
  BlockRef referred_;
  mutable Offset place_ = 0;
  mutable std::optional<Message> taken_;
  mutable std::array<std::array<std::byte, 40>, 8> copies_{};
  mutable std::size_t copied_ = 0;
};

class RingSteps : public test::ArenaUse, public testing::WithParamInterface<Operation> {
 protected:
  RingSteps() : ArenaUse(3000) {}
  void SetUp() override {
    ArenaUse::SetUp();
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "the sanitizer has a thread of its own, which runs into the breakpoints";
#endif
  }

  static Stepped victim_of(Scene& scene) {
    return Stepped([&] { scene.prepare(); }, [&] { scene.act(); }, [&] { return scene.report(); });
  }
  static std::vector<Stepped::Instruction> instructions() {
    Scene scene(GetParam());
    scene.warm_up();  // so that what is done once in a process is done
    Stepped victim = victim_of(scene);
    auto all = victim.step_through();
    victim.leave_stopped();
    victim.go_on();
    EXPECT_EQ(victim.member().wait(), 0);
    EXPECT_TRUE(victim.member().bury());
    scene.others_go_on();
    scene.end(false);
    return all;
  }
  // Calls at(instruction) for as many as there is time for.
  template <class At>
  void for_instructions(At&& at) {
    const auto all = instructions();
    ASSERT_GT(all.size(), 50U);
    Spread spread(all.size(), std::random_device()());
    const auto until = Clock::now() + test::with_effort(kSanitized ? 300ms : 100ms);
    while (!spread.over() && (Clock::now() < until || spread.given() < 5)) {
      const std::size_t number = spread.next();
      SCOPED_TRACE("at instruction " + std::to_string(number) + " of " +
                   std::to_string(all.size()));
      const std::size_t held = test::blocks_held();
      at(all[number]);
      Space::here().bury_the_dead(true);
      EXPECT_TRUE(eventually([&] { return test::blocks_held() == held; }, Clock::now() + 10s))
          << test::blocks_held() - held << " blocks are held";
      if (HasFailure()) return;
    }
    std::printf("%zu of %zu instructions\n", spread.given(), all.size());
  }
};

TEST_P(RingSteps, WhoIsKilledAnywhereInItHasDoneAllOfItOrNothing) {
  for_instructions([&](const Stepped::Instruction& instruction) {
    Scene scene(GetParam());
    {
      Stepped victim = victim_of(scene);
      victim.run_to(instruction);
      victim.member().kill();
      // Half of them are found by those who wait for them.
      if (instruction.address % 2 == 0) {
        ASSERT_TRUE(victim.member().bury());
      }
      scene.others_go_on();
    }
    scene.end(true);
  });
}

TEST_P(RingSteps, WhoIsStoppedAnywhereInItHoldsUpNobodyAndFinishesItLater) {
  for_instructions([&](const Stepped::Instruction& instruction) {
    Scene scene(GetParam());
    {
      Stepped victim = victim_of(scene);
      victim.run_to(instruction);
      victim.leave_stopped();
      scene.others_go_on();
      victim.go_on();
      ASSERT_EQ(victim.member().wait(), 0) << "who was stopped does not finish";
      ASSERT_TRUE(victim.member().bury());
    }
    scene.end(false);
  });
}

// Memory that was given back is soon another's.
class Reuse {
 public:
  explicit Reuse(int filling) {
    auto& heap = Space::here().heap();
    for (std::size_t bytes = 64; bytes <= (std::size_t{64} << 10); bytes *= 2) {
      const std::size_t whole = bytes + 128;
      blocks_.push_back(
          heap.allocate(whole, Space::here().self(), cohort::arena::Purpose::message));
      std::memset(Space::here().at(blocks_.back()), filling, whole);
    }
  }
  ~Reuse() {
    for (Offset one : blocks_)
      Space::here().heap().release(one, cohort::arena::Owner::member(Space::here().self()));
  }
  Reuse(const Reuse&) = delete;
  Reuse& operator=(const Reuse&) = delete;

 private:
  std::vector<Offset> blocks_;
};

class RobbedRing : public RingSteps {};

TEST_P(RobbedRing, SurvivesThatTheThiefIsKilledOrStoppedInItsTurn) {
  const std::vector<const char*> steps =
      GetParam().puts()
          ? std::vector{"seizable_lock.seizing", "ring.turn_changed",   "ring.segment_abandoned",
                        "ring.segment_made",     "ring.segment_linked", "ring.written",
                        "ring.committed"}
          : std::vector{"seizable_lock.seizing", "ring.take_turn_changed",
                        "ring.segment_passed",   "ring.segment_released",
                        "ring.copied",           "ring.taken"};
  std::size_t round = std::random_device()();
  for_instructions([&](const Stepped::Instruction& instruction) {
    ++round;
    const char* step = steps[round % steps.size()];
    const int signal = round / steps.size() % 2 == 0 ? SIGKILL : SIGSTOP;
    const bool victim_first = round / steps.size() / 2 % 2 == 0;
    SCOPED_TRACE(std::string("the thief got signal ") + std::to_string(signal) + " at " + step +
                 (victim_first ? ", the victim goes on first" : ", others go on first"));
    Scene scene(GetParam());
    {
      Stepped victim = victim_of(scene);
      victim.run_to(instruction);
      victim.leave_stopped();
      scene.steal(step, signal);
      Reuse reuse(round % 3 == 0 ? 0x5A : 0);
      if (!victim_first) scene.others_go_on();
      victim.go_on();
      ASSERT_EQ(victim.member().wait(), 0) << "who was stopped does not finish";
      ASSERT_TRUE(victim.member().bury());
      if (victim_first) scene.others_go_on();
    }
    scene.end(false);
  });
}

constexpr RingOptions kGrowing{.grows = true};
constexpr RingOptions kFive{.most_messages = 5};
// A segment of 4096 bytes holds 85 of the messages, the next one 170.
const Operation kOperations[] = {
    {.name = "put", .act = Act::put},
    {.name = "put_batch", .act = Act::put_batch, .count = 8},
    {.name = "put_parcel", .act = Act::put, .parcels = true},
    {.name = "put_that_grows", .act = Act::put, .options = kGrowing, .there = 85},
    {.name = "put_that_grows_again",
     .act = Act::put,
     .options = kGrowing,
     .there = 255,
     .passed = 100},
    {.name = "put_batch_that_grows",
     .act = Act::put_batch,
     .options = kGrowing,
     .count = 8,
     .there = 85,
     .passed = 40},
    {.name = "put_that_wakes", .act = Act::put, .beside = Beside::a_sleeping_taker},
    {.name = "take", .act = Act::take, .there = 10},
    {.name = "take_batch", .act = Act::take_batch, .count = 8, .there = 20},
    {.name = "take_parcel", .act = Act::take, .there = 5, .parcels = true},
    {.name = "take_that_passes_a_segment",
     .act = Act::take,
     .options = kGrowing,
     .there = 265,
     .passed = 255},
    {.name = "take_batch_that_passes_a_segment",
     .act = Act::take_batch,
     .options = kGrowing,
     .count = 5,
     .there = 265,
     .passed = 255},
    {.name = "put_that_mends_a_parcel",
     .act = Act::put,
     .parcels = true,
     .died_at = "ring.handed_over"},
    {.name = "put_that_mends_a_segment_made",
     .act = Act::put,
     .options = kGrowing,
     .there = 85,
     .died_at = "ring.segment_made"},
    {.name = "put_that_mends_a_segment_linked",
     .act = Act::put,
     .options = kGrowing,
     .there = 85,
     .died_at = "ring.segment_linked"},
    {.name = "take_that_mends",
     .act = Act::take,
     .options = kGrowing,
     .there = 265,
     .passed = 255,
     .died_at = "ring.segment_passed"},
    {.name = "take_that_mends_a_parcel",
     .act = Act::take,
     .there = 5,
     .parcels = true,
     .died_at = "block_refs.adopted"},
    {.name = "take_that_wakes",
     .act = Act::take,
     .options = kFive,
     .there = 5,
     .beside = Beside::a_sleeping_putter},
};
std::string name_of(const testing::TestParamInfo<Operation>& each) { return each.param.name; }
// Sanitizers make the mending, which spins first, too many instructions to step through.
std::vector<Operation> operations(bool with_sleepers) {
  std::vector<Operation> some;
  for (const Operation& one : kOperations) {
    if ((with_sleepers || one.beside == Beside::nobody) && !(kSanitized && one.died_at))
      some.push_back(one);
  }
  return some;
}

INSTANTIATE_TEST_SUITE_P(Every, RobbedRing, testing::ValuesIn(operations(false)), name_of);
INSTANTIATE_TEST_SUITE_P(Every, RingSteps, testing::ValuesIn(operations(true)), name_of);

}  // namespace
