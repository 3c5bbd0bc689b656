#include "futures/crew_registry.hpp"

#include <pthread.h>

#include <exception>

#include "launch/finish.hpp"

namespace cohort::futures {
namespace {

// Never destroyed: executors may be static objects, and threads outlive main.
std::atomic<CrewRegistry*>& the_registry() noexcept {
  static std::atomic<CrewRegistry*> registry{new CrewRegistry};
  return registry;
}

// The creator's is left as it is: another thread may have held its lock.
void begin_anew() noexcept {
  auto& registry = the_registry();
  registry.store(new CrewRegistry(registry.load()), std::memory_order_release);
}

[[gnu::used]] const bool hooked = [] {
  the_registry();  // made before anything can fork
  launch::add_process_hooks({[]() noexcept { CrewRegistry::here().end_all(); }, begin_anew});
  // Children that the host forks by itself.
  ::pthread_atfork(nullptr, nullptr, begin_anew);
  return true;
}();

}  // namespace

CrewRegistry& CrewRegistry::here() noexcept {
  return *the_registry().load(std::memory_order_acquire);
}

void CrewRegistry::add(const std::shared_ptr<detail::ThreadCrew>& crew) {
  launch::finish_at_exit();
  std::lock_guard guard(mutex_);
  std::erase_if(crews_, [](const auto& one) { return one.expired(); });
  crews_.push_back(crew);
}

std::string CrewRegistry::next_prefix() {
  std::lock_guard guard(mutex_);
  return "pool-" + std::to_string(++prefixes_);
}

std::shared_ptr<detail::ThreadCrew> CrewRegistry::take_one() {
  std::lock_guard guard(mutex_);
  while (!crews_.empty()) {
    auto crew = crews_.front().lock();
    crews_.pop_front();
    if (crew) return crew;
  }
  return nullptr;
}

void CrewRegistry::end_all() noexcept {
  ending_.store(true, std::memory_order_release);
  while (auto crew = take_one()) crew->shutdown(true, false);
}

}  // namespace cohort::futures
