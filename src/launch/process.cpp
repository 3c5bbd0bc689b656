#include "cohort/process.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <ostream>

#include "arena/space.hpp"
#include "launch/child.hpp"
#include "launch/runtime.hpp"
#include "os/cpus.hpp"

namespace cohort {

using arena::MemberId;
using arena::Space;
using launch::Child;
using launch::Runtime;

struct Process::State {
  std::string name;
  std::string authkey;
  bool daemon = false;
  StartMethod method = StartMethod::fork;
  std::unique_ptr<detail::Target> target;  // null: the derived class's run()
  std::shared_ptr<Child> child;
  pid_t creator = 0;
  bool closed = false;
};

struct ProcessInfoMaker {
  static ProcessInfo of(const Child& child) {
    ProcessInfo info;
    info.pid_ = child.pid();
    info.parent_pid_ = ::getpid();
    info.name_ = child.name();
    info.daemon_ = child.daemon();
    info.start_method_ = child.method();
    info.member_ = child.member().raw;
    return info;
  }
  static ProcessInfo myself() {
    Runtime& runtime = Runtime::here();
    ProcessInfo info;
    info.start_method_ = get_start_method();
    std::lock_guard guard(runtime.mutex);
    info.pid_ = ::getpid();
    info.parent_pid_ = runtime.self.parent ? runtime.self.parent_pid : ::getppid();
    info.name_ = runtime.self.name;
    info.daemon_ = runtime.self.daemon;
    info.authkey_ = runtime.self.authkey;
    info.member_ = Space::here().self().raw;
    if (runtime.self.parent) info.start_method_ = runtime.self.method;
    return info;
  }
  static std::optional<ProcessInfo> parent() {
    Runtime& runtime = Runtime::here();
    std::lock_guard guard(runtime.mutex);
    if (!runtime.self.parent) return std::nullopt;
    ProcessInfo info;
    info.pid_ = runtime.self.parent_pid;
    info.name_ = runtime.self.parent_name;
    info.member_ = runtime.self.parent.raw;
    return info;
  }
};

bool ProcessInfo::is_alive() const {
  Space& space = Space::here();
  MemberId id{member_};
  return !space.members().is_dead(id) && !space.members().process_gone(id);
}

std::optional<int> ProcessInfo::exitcode() const {
  Runtime& runtime = Runtime::here();
  std::shared_ptr<Child> mine;
  {
    std::lock_guard guard(runtime.mutex);
    auto found = std::find_if(runtime.children.begin(), runtime.children.end(),
                              [&](const auto& child) { return child->member().raw == member_; });
    if (found != runtime.children.end()) mine = *found;
  }
  return mine ? mine->exit_code() : std::nullopt;
}

std::vector<ProcessInfo> active_children() {
  std::vector<ProcessInfo> children;
  for (const auto& child : Child::active()) children.push_back(ProcessInfoMaker::of(*child));
  return children;
}

ProcessInfo current_process() { return ProcessInfoMaker::myself(); }
std::optional<ProcessInfo> parent_process() { return ProcessInfoMaker::parent(); }

std::size_t cpu_count() {
  std::size_t cpus = os::cpus_by_affinity();
  std::size_t quota = os::cpus_by_quota();
  return quota ? std::min(cpus, quota) : cpus;
}

Process::Process(ProcessOptions options)
    : Process(std::move(options), std::unique_ptr<detail::Target>()) {}

Process::Process(ProcessOptions options, std::unique_ptr<detail::Target> target)
    : state_(std::make_unique<State>()) {
  Runtime& runtime = Runtime::here();
  bool only_forks = !target || !target->thunk();
  StartMethod method =
      options.start_method.value_or(only_forks ? StartMethod::fork : get_start_method());
  if (only_forks && method != StartMethod::fork)
    throw Error(
        "Process::forked and classes derived from Process are always forked: leave start_method "
        "out, or pass a function and its arguments to Process");
  std::lock_guard guard(runtime.mutex);
  state_->name = options.name.empty() ? "Process-" + std::to_string(runtime.next_name++)
                                      : std::move(options.name);
  state_->daemon = options.daemon.value_or(runtime.self.daemon);
  state_->method = method;
  state_->authkey = runtime.self.authkey;
  state_->target = std::move(target);
  state_->creator = ::getpid();
}

Process::Process(Process&&) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    end();
    state_ = std::move(other.state_);
  }
  return *this;
}

Process::~Process() { end(); }

// A copy of this object that a fork made does nothing: the process is not its child.
void Process::end() noexcept {
  if (!state_ || !state_->child || state_->creator != ::getpid()) return;
  try {
    if (state_->daemon) state_->child->stop();
    state_->child->wait(std::nullopt);
  } catch (const std::exception&) {
    // Nothing is left to wait for.
  }
}

void Process::run() {
  if (state_ && state_->target) state_->target->invoke();
}

Process::State& Process::open() const {
  if (!state_) throw InvalidStateError("this Process was moved from");
  if (state_->closed) throw InvalidStateError("this Process is closed");
  return *state_;
}

Process::State& Process::started() const {
  State& state = open();
  if (!state.child) throw InvalidStateError("process " + state.name + " was not started");
  if (state.creator != ::getpid())
    throw InvalidStateError("process " + state.name + " is a child of another process than this");
  return state;
}

void Process::start() {
  State& state = open();
  if (state.child) throw InvalidStateError("process " + state.name + " was started already");
  // Under fork the object itself is inherited, and a derived class may have its own run().
  class Run final : public detail::Target {
   public:
    explicit Run(Process& process) : process_(process) {}
    void invoke() override { process_.run(); }
    const void* thunk() const override { return nullptr; }
    void encode(detail::Writer&) const override {}

   private:
    Process& process_;
  } run(*this);
  bool forks = state.method == StartMethod::fork;
  state.creator = ::getpid();
  state.child = Child::start({.name = state.name,
                              .daemon = state.daemon,
                              .method = state.method,
                              .target = forks ? &run : state.target.get()});
  state.target.reset();
}

void Process::join() { started().child->wait(std::nullopt); }

bool Process::join_until(std::chrono::steady_clock::time_point deadline) {
  return started().child->wait(deadline).has_value();
}

bool Process::is_alive() const {
  State& state = open();
  return state.child && state.creator == ::getpid() && !state.child->exit_code().has_value();
}

pid_t Process::pid() const {
  State& state = open();
  return state.child ? state.child->pid() : 0;
}

const std::string& Process::name() const { return open().name; }
bool Process::daemon() const { return open().daemon; }
StartMethod Process::start_method() const { return open().method; }
const std::string& Process::authkey() const { return open().authkey; }

void Process::set_daemon(bool daemon) {
  State& state = open();
  if (state.child) throw InvalidStateError("process " + state.name + " was started already");
  state.daemon = daemon;
}

int Process::sentinel() const { return started().child->sentinel(); }

std::optional<int> Process::exitcode() const {
  State& state = open();
  return state.child ? state.child->exit_code() : std::nullopt;
}

void Process::terminate() { started().child->send(SIGTERM); }
void Process::kill() { started().child->send(SIGKILL); }
void Process::interrupt() { started().child->send(SIGINT); }

void Process::close() {
  if (!state_ || state_->closed) return;
  if (state_->child && !state_->child->exit_code())
    throw InvalidStateError("process " + state_->name +
                            " still runs: terminate or join it before close()");
  state_->child.reset();
  state_->closed = true;
}

std::ostream& operator<<(std::ostream& out, const Process& process) {
  if (!process.state_) return out << "<Process moved>";
  const auto& state = *process.state_;
  out << "<Process name='" << state.name << "'";
  if (state.closed) return out << " closed>";
  if (state.child) out << " pid=" << state.child->pid();
  out << " parent=" << state.creator;
  auto code = state.child ? state.child->exit_code() : std::nullopt;
  if (!state.child) {
    out << " initial";
  } else if (!code) {
    out << " started";
  } else {
    out << " stopped exitcode=";
    if (*code < 0) {
      const char* abbreviation = ::sigabbrev_np(-*code);
      out << "-SIG" << (abbreviation ? abbreviation : std::to_string(-*code).c_str());
    } else {
      out << *code;
    }
  }
  return out << (state.daemon ? " daemon>" : ">");
}

}  // namespace cohort
