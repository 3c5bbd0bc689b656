// Waits and notifies on a condition when the thread_locals of its main thread are gone.
//
// usage: waits_at_exit static                     in a static object's destructor
//        waits_at_exit finalizer|at_exit METHOD   in a child as well
#include <algorithm>
#include <cohort/condition.hpp>
#include <cohort/finalize.hpp>
#include <cohort/process.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "channel.hpp"
#include "member.hpp"

namespace {

using cohort::Condition;
using Guard = std::unique_lock<const Condition>;

void say(const char* text) {
  std::printf("%s\n", text);
  std::fflush(stdout);
}

void notify_the_waiter(const Condition& condition) {
  if (!test::eventually([&] { return condition.waiters() == 1; })) say("nobody is seen to wait");
  const Guard guard(condition);
  condition.notify_one();
}

bool notified_in_time(const Condition& condition) {
  Guard guard(condition);
  return condition.wait_for(guard, test::kPatience);
}

// Memory that was given back before, as the notification must not write to it any more.
class Bystanders {
 public:
  Bystanders() {
    for (std::size_t bytes : {16, 32, 64, 128}) {
      for (int i = 0; i < 4; ++i) list_.emplace_back(bytes, 'A');
    }
  }
  bool whole() const {
    return std::ranges::all_of(list_, [](const auto& one) {
      return std::ranges::all_of(one, [](char letter) { return letter == 'A'; });
    });
  }

 private:
  std::vector<std::vector<char>> list_;
};

// This thread waits and another notifies; then the other way round.
void take_turns(const Condition& condition, const char* when) {
  std::thread notifier([&] { notify_the_waiter(condition); });
  const bool woken = notified_in_time(condition);
  notifier.join();

  bool other_woken = false;
  std::thread waiter([&] { other_woken = notified_in_time(condition); });
  if (!test::eventually([&] { return condition.waiters() == 1; })) say("nobody is seen to wait");
  const Bystanders bystanders;
  {
    const Guard guard(condition);
    condition.notify_one();
    if (!bystanders.whole()) say("the notification wrote to memory of others");
  }
  waiter.join();
  std::printf("%s: %s, %s\n", when, woken ? "notified" : "not notified",
              other_woken ? "notified" : "not notified");
  std::fflush(stdout);
}

struct AtTheEnd {
  std::unique_ptr<Condition> condition;
  ~AtTheEnd() {
    if (condition) take_turns(*condition, "static");
  }
} at_the_end;

std::unique_ptr<Condition> hooks_condition;
std::unique_ptr<cohort::Finalizer> finalizer;

// Both before, so that this thread has what it needs, and loses it.
void use(const Condition& condition, const std::string& how) {
  if (how == "static") {
    at_the_end.condition = std::make_unique<Condition>(condition);
  } else {
    hooks_condition = std::make_unique<Condition>(condition);
  }
  if (how == "finalizer")
    finalizer =
        std::make_unique<cohort::Finalizer>([] { take_turns(*hooks_condition, "finalizer"); },
                                            cohort::FinalizerOptions{.exit_priority = 1});
  if (how == "at_exit") cohort::at_exit([] { take_turns(*hooks_condition, "at_exit"); });
  take_turns(condition, "main");
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const std::string how = argv[1];
  const Condition condition;
  if (argc > 2) {
    test::Process child({.start_method = test::method_of(argv[2])}, use, condition, how);
    child.start();
    child.join();
    if (child.exitcode() != 0) return 1;
  }
  use(condition, how);
}
