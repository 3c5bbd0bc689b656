// A started child: the one owner and reaper of its process.
#pragma once

#include <sys/types.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "arena/owner.hpp"
#include "arena/space.hpp"
#include "cohort/process.hpp"
#include "os/pidfd.hpp"

namespace cohort::launch {

// What to start, and as what. `target` is read, not kept.
struct Plan {
  std::string name;
  bool daemon = false;
  StartMethod method = StartMethod::forkserver;
  // Flags of its member slot beside kDaemon, such as arena::kCollected.
  std::uint32_t flags = 0;
  detail::Target* target = nullptr;
};

class Child {
 public:
  // Starts a process. Failures before the target runs are thrown here: NotInitialized,
  // cohort::Error, std::system_error (EAGAIN: too many processes, EMFILE: no descriptors left),
  // SerializationError.
  static std::shared_ptr<Child> start(const Plan& plan);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const noexcept { return pid_; }
  arena::MemberId member() const noexcept { return member_; }
  const std::string& name() const noexcept { return name_; }
  bool daemon() const noexcept { return daemon_; }
  StartMethod method() const noexcept { return method_; }
  int sentinel() const noexcept { return process_.get(); }

  // Waits for the end; empty when the deadline passed first. From any thread, any number of times.
  std::optional<os::ExitCode> wait(os::Deadline deadline);
  std::optional<os::ExitCode> exit_code() { return wait(os::Clock::time_point{}); }
  // Answers false when it has ended.
  bool send(int signal);

  // Ends it: SIGTERM, and after two seconds SIGKILL.
  void stop();

  // The children that this process started and that were not seen to have ended, oldest first.
  static std::vector<std::shared_ptr<Child>> active();
  // At the end of this process: terminates the daemons, joins the others.
  static void finish_all();

 private:
  Child(std::string name, bool daemon, StartMethod method, arena::MemberId member);
  bool await_end(os::Deadline deadline);
  os::ExitCode collect();
  os::ExitCode learn_exit_code(arena::Space& space);
  void await_readiness();

  std::string name_;
  bool daemon_;
  StartMethod method_;
  arena::MemberId member_;
  pid_t pid_ = 0;
  os::Pidfd process_;
  std::mutex mutex_;
  std::optional<os::ExitCode> exit_code_;
};

}  // namespace cohort::launch
