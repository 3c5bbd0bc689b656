// For tests of locks and their like between processes: children that report what they saw by their
// exit codes, and who sleeps in a wait, as the arena's records tell.
#pragma once

#include <algorithm>
#include <atomic>
#include <cohort/sync.hpp>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "chaos.hpp"
#include "processes.hpp"

namespace test {

// In children: a failure is a traceback on stderr and the exit code 1.
inline void require(bool right, const std::string& what) {
  if (!right) throw std::runtime_error("not so: " + what);
}

inline std::size_t sleepers_in(const cohort::arena::MemberSlot& member) {
  return static_cast<std::size_t>(std::count_if(member.waits.begin(), member.waits.end(),
                                                [](const auto& wait) { return wait.load() != 0; }));
}

// How many threads of the process sleep in a wait now.
inline std::size_t sleepers_of(pid_t pid) {
  auto& members = Space::here().members();
  for (std::uint32_t i = 0; i < members.used(); ++i) {
    auto id = members.at(i);
    if (id && !members.is_dead(id) && members.slot(id).pid.load() == pid)
      return sleepers_in(members.slot(id));
  }
  return 0;
}
inline bool fall_asleep(const Process& process, std::size_t threads = 1) {
  return eventually([&] { return sleepers_of(process.pid()) == threads; });
}
inline bool fall_asleep_here(std::size_t threads) {
  return eventually([&] { return sleepers_of(::getpid()) == threads; });
}

// Processes that shall all end well.
class Children {
 public:
  explicit Children(StartMethod method = StartMethod::fork) : method_(method) {}

  template <class F, class... Args>
  Process& add(F&& f, Args&&... args) {
    cohort::ProcessOptions options;
    options.start_method = method_;
    list_.emplace_back(options, std::forward<F>(f), std::forward<Args>(args)...);
    list_.back().start();
    return list_.back();
  }
  template <class F>
  Process& fork(F&& f) {
    list_.push_back(Process::forked(std::forward<F>(f)));
    list_.back().start();
    return list_.back();
  }
  Process& operator[](std::size_t i) { return list_[i]; }
  std::size_t size() const { return list_.size(); }
  bool all_asleep() const {
    return std::all_of(list_.begin(), list_.end(), [](auto& one) { return fall_asleep(one); });
  }
  // Waits for their ends; kills those that do not come to one.
  void join() {
    for (auto& one : list_) {
      if (!one.join_for(kPatience)) {
        ADD_FAILURE() << one << " hangs";
        one.kill();
        one.join();
      }
      EXPECT_EQ(one.exitcode(), 0) << one;
    }
    list_.clear();
  }
  // Kills one; its place in the list goes.
  void kill(std::size_t i) {
    list_[i].kill();
    list_[i].join();
    EXPECT_EQ(list_[i].exitcode(), -SIGKILL) << list_[i];
    list_.erase(list_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  ~Children() {
    for (auto& one : list_) one.kill();
  }
  Children(Children&&) = default;
  Children& operator=(Children&&) = delete;

 private:
  StartMethod method_;
  std::vector<Process> list_;
};

// Threads of this process, joined at the end.
class Threads {
 public:
  Threads() = default;
  template <class Body>
  Threads(int count, Body body) {
    for (int i = 0; i < count; ++i) add([body, i] { body(i); });
  }
  template <class Body>
  void add(Body body) {
    list_.emplace_back(std::move(body));
  }
  void join() {
    for (auto& one : list_) one.join();
    list_.clear();
  }
  ~Threads() { join(); }
  Threads(Threads&&) = default;
  Threads& operator=(Threads&&) = delete;

 private:
  std::vector<std::thread> list_;
};

// No test leaves a block of the arena behind.
template <class Base>
class LeavesNoBlocks : public Base {
 protected:
  using Base::Base;
  void SetUp() override {
    Base::SetUp();
    // What a thread that ever waited keeps.
    cohort::Condition condition;
    std::unique_lock guard(condition);
    condition.wait_for(guard, std::chrono::nanoseconds(1));
    held_before_ = blocks();
  }
  void TearDown() override {
    Space::here().bury_the_dead();
    EXPECT_TRUE(eventually([&] { return blocks() <= held_before_; }, Clock::now() + 10s))
        << blocks() << " blocks are held, and " << held_before_ << " were before";
    Base::TearDown();
  }

 private:
  static std::size_t blocks() { return Space::here().heap().blocks_held(); }
  std::size_t held_before_ = 0;
};

using SyncTest = LeavesNoBlocks<Watched>;
using EachMethodSync = LeavesNoBlocks<EachMethod>;

}  // namespace test
