#include "cohort/finalize.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <list>
#include <mutex>

#include "launch/finalizers.hpp"
#include "launch/finish.hpp"

namespace cohort {

struct Finalizer::Entry {
  std::function<void()> function;
  std::optional<int> priority;
  pid_t owner = ::getpid();
  std::size_t order = 0;
};

namespace {

using Taken = std::function<void()>;

// Never destroyed: finalizers may be static objects.
struct Registry {
  std::mutex mutex;
  std::list<std::weak_ptr<void>> entries;
  std::list<std::shared_ptr<void>> kept;  // of at_exit, which nobody else holds
  std::size_t made = 0;
};

Registry*& the_registry() {
  static Registry* registry = new Registry;
  return registry;
}
Registry& registry() { return *the_registry(); }

}  // namespace

Finalizer::Finalizer(std::function<void()> function, FinalizerOptions options)
    : entry_(std::make_shared<Entry>()) {
  if (options.exit_priority) launch::finish_at_exit();
  entry_->function = std::move(function);
  entry_->priority = options.exit_priority;
  std::lock_guard guard(registry().mutex);
  entry_->order = ++registry().made;
  std::erase_if(registry().entries, [](const auto& entry) { return entry.expired(); });
  if (entry_->priority) registry().entries.push_back(entry_);
}

Finalizer& Finalizer::operator=(Finalizer&& other) noexcept {
  std::swap(entry_, other.entry_);
  return *this;
}

Finalizer::~Finalizer() {
  try {
    (*this)();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cohort: a finalizer threw: %s\n", error.what());
  }
}

bool Finalizer::operator()() {
  if (!entry_) return false;
  Taken function;
  {
    std::lock_guard guard(registry().mutex);
    std::swap(function, entry_->function);
  }
  if (!function || entry_->owner != ::getpid()) return false;
  function();
  return true;
}

bool Finalizer::cancel() {
  if (!entry_) return false;
  std::lock_guard guard(registry().mutex);
  bool active = static_cast<bool>(entry_->function);
  entry_->function = nullptr;
  return active;
}

bool Finalizer::still_active() const noexcept {
  if (!entry_) return false;
  std::lock_guard guard(registry().mutex);
  return static_cast<bool>(entry_->function) && entry_->owner == ::getpid();
}

void at_exit(std::function<void()> function, int priority) {
  launch::finish_at_exit();
  Finalizer finalizer(std::move(function), {.exit_priority = priority});
  std::lock_guard guard(registry().mutex);
  struct Keep {
    Finalizer finalizer;
  };
  registry().kept.push_back(std::make_shared<Keep>(Keep{std::move(finalizer)}));
}

void Finalizers::run_all() noexcept {
  // One at a time, since a finalizer may add or run others.
  for (;;) {
    std::shared_ptr<Finalizer::Entry> next;
    Taken function;
    {
      std::lock_guard guard(registry().mutex);
      for (const auto& weak : registry().entries) {
        auto entry = std::static_pointer_cast<Finalizer::Entry>(weak.lock());
        if (!entry || !entry->function || entry->owner != ::getpid()) continue;
        bool earlier = !next || *entry->priority > *next->priority ||
                       (*entry->priority == *next->priority && entry->order > next->order);
        if (earlier) next = entry;
      }
      if (!next) return;
      std::swap(function, next->function);
    }
    try {
      function();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "cohort: a finalizer threw: %s\n", error.what());
    } catch (...) {
      std::fprintf(stderr, "cohort: a finalizer threw\n");
    }
  }
}

void Finalizers::forget_all() noexcept { the_registry() = new Registry; }

std::size_t Finalizers::count() noexcept {
  std::lock_guard guard(registry().mutex);
  return registry().entries.size();
}

}  // namespace cohort
