#include "launch/child.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "arena/block_refs.hpp"
#include "arena/inheritance.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "launch/child_main.hpp"
#include "launch/exception_parcel.hpp"
#include "launch/finish.hpp"
#include "launch/fork_client.hpp"
#include "launch/request.hpp"
#include "launch/runtime.hpp"
#include "os/call.hpp"
#include "os/clone.hpp"
#include "os/futex.hpp"
#include "os/signals.hpp"

namespace cohort::launch {

using arena::MemberId;
using arena::Offset;
using arena::Owner;
using arena::Readiness;
using arena::Space;

namespace {

constexpr auto kGrace = std::chrono::seconds(2);  // from a daemon's SIGTERM to its SIGKILL

// What was prepared for a child that then could not be made.
class Preparation {
 public:
  Preparation(Space& space, const Plan& plan)
      : space_(space),
        child_(space.members().enlist(space.self(), plan.name,
                                      plan.flags | (plan.daemon ? arena::kDaemon : 0))) {}
  ~Preparation() {
    if (done_) return;
    for (Offset block : held_) arena::let_go(space_, block, child_);
    if (request_) {
      space_.heap().change_owner(request_, Owner::member(child_), Owner::member(space_.self()));
      arena::drop_parcel(space_, request_);
    }
    space_.members().discharge(child_);
  }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  MemberId child() const { return child_; }
  void hold(std::span<const Offset> blocks) {
    for (Offset block : blocks) {
      arena::hold(space_, block, child_);
      held_.push_back(block);
    }
  }
  void keep_request(Offset request) {
    request_ = request;
    auto blocks = arena::references_of(space_, request);
    held_.assign(blocks.begin(), blocks.end());
  }
  void done() { done_ = true; }

 private:
  Space& space_;
  MemberId child_;
  std::vector<Offset> held_;
  Offset request_ = 0;
  bool done_ = false;
};

// In a child of fork(): a host that ignores SIGCHLD, or reaps whatever it finds, must not have made
// it vanish before its creator holds it.
void await_pidfd(arena::MemberSlot& slot, pid_t creator) noexcept {
  for (;;) {
    std::uint32_t flags = slot.flags.load(std::memory_order_acquire);
    if ((flags & arena::kHeldByParent) != 0) return;
    if (::getppid() != creator) ::_exit(0);
    os::futex_wait(slot.flags, flags, os::Clock::now() + std::chrono::milliseconds(100));
  }
}

os::Pidfd hold_forked(pid_t pid, arena::MemberSlot& slot) {
  try {
    os::Pidfd process = os::Pidfd::open(pid);
    slot.flags.fetch_or(arena::kHeldByParent, std::memory_order_release);
    os::futex_wake_all(slot.flags);
    return process;
  } catch (const std::system_error& error) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, __WALL);
    os::fail("pidfd_open", error.code().value(), kNoDescriptors);
  }
}

Made fork_here(Space& space, Preparation& preparation, const Plan& plan) {
  Runtime& runtime = Runtime::here();
  // Whatever another thread may hold of ours at this moment would stay held in the copy.
  auto registry = detail::BlockRefs::lock_registry();
  std::unique_lock asking(runtime.asking);
  std::unique_lock state(runtime.mutex);
  preparation.hold(detail::BlockRefs::held(registry));
  os::SignalsBlocked blocked;
  arena::MemberSlot& slot = space.members().slot(preparation.child());

  Made made;
  int error = ENOSYS;
  if (os::single_threaded()) {
    auto cloned = os::clone_process({.pid_out = &slot.pid});
    made.pid = cloned.pid;
    error = cloned.error;
    made.process = os::Pidfd(std::move(cloned.pidfd));
  }
  pid_t creator = ::getpid();
  bool by_fork = error == ENOSYS || error == EPERM;
  if (by_fork) {
    // Only glibc's fork() leaves malloc and stdio usable in a copy of a threaded process, and it
    // does without clone3. Its child ends with SIGCHLD, which a handler of the host's may see.
    arena::LaunchFork ours;
    made.pid = ::fork();
    error = errno;
  }
  if (made.pid == 0) {
    registry.unlock();
    asking.unlock();
    state.unlock();
    if (by_fork) await_pidfd(slot, creator);
    run_inherited(preparation.child(), plan);
  }
  if (made.pid < 0) {
    const char* advice = "";
    if (error == EAGAIN) advice = "too many processes: join some first, or raise ulimit -u";
    if (error == EMFILE || error == ENFILE) advice = kNoDescriptors;
    if (error == ENOMEM) advice = "no memory for a copy of this process: use forkserver or spawn";
    if (error == ENOSYS || error == EPERM) advice = "a seccomp filter refuses it";
    os::fail("fork", error, advice);
  }
  if (by_fork) made.process = hold_forked(made.pid, slot);
  slot.pid.store(made.pid);
  return made;
}

StartInfo describe(const Plan& plan) {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.mutex);
  StartInfo info;
  info.name = plan.name;
  info.authkey = runtime.self.authkey;
  info.parent_name = runtime.self.name;
  info.parent_pid = ::getpid();
  info.daemon = plan.daemon;
  info.method = plan.method;
  info.chosen_method = runtime.chosen_method;
  return info;
}

Made ask_server(Space& space, Preparation& preparation, const Plan& plan, bool& reports) {
  if (!plan.target->thunk())
    throw Error(
        "this target can only be forked: a derived class's run() and Process::forked need "
        "StartMethod::fork");
  StartInfo info = describe(plan);
  info.thunk = detail::refer_to_code(plan.target->thunk());
  info.reports = reports = plan.method == StartMethod::spawn || !was_there_at_init(info.thunk);
  MemberId child = preparation.child();
  Offset request = make_request(space, info, *plan.target, child);
  preparation.keep_request(request);
  bool spawn = plan.method == StartMethod::spawn;
  bool root = space.self().raw == space.header().root.load();
  space.members().slot(child).relayed.store(spawn || !root ? 1 : 0);
  return ask_for_child(child, request, spawn);
}

}  // namespace

Child::Child(std::string name, bool daemon, StartMethod method, MemberId member)
    : name_(std::move(name)), daemon_(daemon), method_(method), member_(member) {}

std::shared_ptr<Child> Child::start(const Plan& plan) {
  Space& space = Space::here();
  Runtime& runtime = Runtime::here();
  finish_at_exit();
  reap_killed_servers();
  if (plan.method != StartMethod::fork && !runtime.initialized)
    throw NotInitialized("starting a process by " + std::string(to_string(plan.method)) +
                         " needs `cohort::init(argc, argv);` as the first line of main (or choose "
                         "StartMethod::fork)");
  // A copy of this process must not write it again, and no child's output shall come before ours.
  flush_streams();
  Preparation preparation(space, plan);
  bool reports = false;
  Made made = plan.method == StartMethod::fork ? fork_here(space, preparation, plan)
                                               : ask_server(space, preparation, plan, reports);
  preparation.done();
  std::shared_ptr<Child> child(new Child(plan.name, plan.daemon, plan.method, preparation.child()));
  child->pid_ = made.pid;
  child->process_ = std::move(made.process);
  if (plan.method == StartMethod::fork) announce(child->member_);
  {
    std::lock_guard guard(runtime.mutex);
    runtime.children.push_back(child);
  }
  if (reports) child->await_readiness();
  return child;
}

// Throws what kept the child from running its target.
void Child::await_readiness() {
  Space& space = Space::here();
  arena::MemberSlot& slot = space.members().slot(member_);
  auto state = [&] { return static_cast<Readiness>(slot.ready.load(std::memory_order_acquire)); };
  auto ended = [&] { return process_ ? process_.ended() : space.members().is_dead(member_); };
  while (state() == Readiness::not_yet && !ended())
    space.sleep_on(slot.ready, static_cast<std::uint32_t>(Readiness::not_yet), std::nullopt);
  if (state() == Readiness::decoded) return;
  auto failure = slot.failure.load();
  bool failed = state() == Readiness::failed;
  auto code = wait(std::nullopt);
  if (failed && failure) throw_packed_exception(space, failure);
  if (code == 127 && failure && !failed)
    os::fail("execve(/proc/self/exe)", static_cast<int>(failure),
             "this program cannot be run again");
  throw Error("process " + name_ + " ended before it could run its target (exit code " +
              std::to_string(code.value_or(0)) +
              "); does main call cohort::init(argc, argv) first?");
}

Child::~Child() = default;

std::optional<os::ExitCode> Child::wait(os::Deadline deadline) {
  {
    std::lock_guard guard(mutex_);
    if (exit_code_) return exit_code_;
  }
  if (!await_end(deadline)) return std::nullopt;
  std::lock_guard guard(mutex_);
  if (!exit_code_) exit_code_ = collect();
  return exit_code_;
}

bool Child::await_end(os::Deadline deadline) {
  if (process_) return os::wait_readable(process_.get(), deadline);
  // It ended, and was reaped by the host, before its pidfd could be opened.
  Space& space = Space::here();
  arena::MemberSlot& slot = space.members().slot(member_);
  while (!space.members().is_dead(member_) && !space.members().process_gone(member_)) {
    if (deadline && os::Clock::now() >= *deadline) return false;
    space.sleep_on(slot.ended, 0, deadline);
  }
  return true;
}

// The process has ended: learns how, and lets go of everything that was kept for it.
os::ExitCode Child::collect() {
  Space& space = Space::here();
  os::ExitCode code = learn_exit_code(space);
  space.bury(member_);
  if (!space.janitor_expected()) space.reclaim(member_);
  space.members().seen_by_parent(member_);
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.mutex);
  std::erase_if(runtime.children, [&](const auto& one) { return one.get() == this; });
  return code;
}

// From the kernel, if it is ours to reap; else from whoever reaped it, be it the fork server or the
// host; else from what the process itself said last.
os::ExitCode Child::learn_exit_code(Space& space) {
  arena::MemberSlot& slot = space.members().slot(member_);
  if (process_) {
    if (auto code = process_.reap()) return *code;
  }
  for (;;) {
    bool buried = space.members().is_dead(member_);  // the server tells before it buries
    if (process_) {
      if (auto code = process_.unreaped_exit(pid_)) return *code;
      if (auto code = process_.recorded_exit()) return *code;
    }
    if (slot.ended.load(std::memory_order_acquire) != 0) return slot.exit_code.load();
    bool relayed = slot.relayed.load() != 0 && !buried && space.janitor_alive();
    if (!relayed) return -SIGKILL;  // it could not say, and nobody else knows
    space.sleep_on(slot.ended, 0, std::nullopt);
  }
}

// SIGTERM, and SIGKILL for one that does not heed it.
void Child::stop() {
  if (!send(SIGTERM)) return;
  if (wait(os::Clock::now() + kGrace)) return;
  send(SIGKILL);
  wait(std::nullopt);
}

bool Child::send(int signal) {
  std::lock_guard guard(mutex_);
  return !exit_code_ && process_ && process_.send(signal);
}

std::vector<std::shared_ptr<Child>> Child::active() {
  Runtime& runtime = Runtime::here();
  std::vector<std::shared_ptr<Child>> children;
  {
    std::lock_guard guard(runtime.mutex);
    children = runtime.children;
  }
  reap_killed_servers();
  std::erase_if(children, [](const auto& child) { return child->exit_code().has_value(); });
  return children;
}

void Child::finish_all() {
  auto children = active();
  for (const auto& child : children) {
    if (child->daemon()) child->send(SIGTERM);
  }
  for (const auto& child : children) {
    if (child->daemon()) child->stop();
    child->wait(std::nullopt);
  }
}

}  // namespace cohort::launch
