// Program entry, start methods, and what a process can say of itself.
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>

#include "arena/inheritance.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/process.hpp"
#include "launch/child.hpp"
#include "launch/child_main.hpp"
#include "launch/finish.hpp"
#include "launch/fork_client.hpp"
#include "launch/fork_server.hpp"
#include "launch/request.hpp"
#include "launch/runtime.hpp"
#include "os/socket.hpp"

namespace cohort {

using arena::Space;
using launch::Runtime;

namespace {

// A program run again by `spawn`: what it was started for is all it does.
[[noreturn]] void take_over(const arena::Inheritance& inheritance, char** argv) {
  ::unsetenv(arena::kInheritanceVariable);
  Runtime& runtime = Runtime::here();
  runtime.front_door = os::Fd(inheritance.front_door);
  for (int fd : inheritance.descriptors()) os::set_close_on_exec(fd, true);
  for (char** argument = argv; *argument; ++argument) runtime.arguments.push_back(*argument);
  runtime.arguments.push_back(nullptr);
  launch::note_modules_at_init();
  launch::run_request(inheritance.self, inheritance.request);
}

}  // namespace

void init(int argc, char** argv, const InitOptions& options) {
  (void)argc;
  if (const char* text = std::getenv(arena::kInheritanceVariable)) {
    auto inheritance = arena::Inheritance::parse(text);
    Space::found(options.arena_bytes);
    if (inheritance) take_over(*inheritance, argv);
  }
  Space::found(options.arena_bytes);
  Runtime& runtime = Runtime::here();
  if (runtime.initialized) return;
  for (char** argument = argv; *argument; ++argument) runtime.arguments.push_back(*argument);
  runtime.arguments.push_back(nullptr);
  launch::note_modules_at_init();
  auto [outer, inner] = os::datagram_pair();
  runtime.front_door = std::move(outer);
  runtime.initialized = true;
  launch::flush_streams();
  launch::finish_at_exit();
  launch::make_fork_servers(std::move(inner));
}

void set_start_method(StartMethod method) {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.mutex);
  runtime.chosen_method = method;
}

StartMethod get_start_method() {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.mutex);
  // A child goes on as its creator did, unless one of them chose.
  bool is_child = static_cast<bool>(runtime.self.parent);
  if (!runtime.chosen_method && is_child) return runtime.self.method;
  return runtime.default_method();
}

std::string_view to_string(StartMethod method) noexcept {
  switch (method) {
    case StartMethod::fork:
      return "fork";
    case StartMethod::forkserver:
      return "forkserver";
    default:
      return "spawn";
  }
}

std::vector<StartMethod> get_all_start_methods() {
  return {StartMethod::forkserver, StartMethod::fork, StartMethod::spawn};
}

std::optional<pid_t> fork_server_pid() {
  Space& space = Space::here();
  arena::MemberId server{space.header().janitors[0].load()};
  if (!server || space.members().is_dead(server)) return std::nullopt;
  return space.members().slot(server).pid.load();
}

void set_authkey(std::string key) {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.mutex);
  runtime.self.authkey = std::move(key);
}

namespace detail {

void preload(Target& target) {
  Runtime& runtime = Runtime::here();
  if (!runtime.initialized)
    throw NotInitialized(
        "cohort::preload runs in the fork server: call `cohort::init(argc, argv);` as the first "
        "line of main");
  Space& space = Space::here();
  launch::StartInfo info;
  info.thunk = refer_to_code(target.thunk());
  arena::Offset request = launch::make_request(space, info, target, space.self());
  launch::ask_to_preload(request);
  arena::drop_parcel(space, request);
}

}  // namespace detail

}  // namespace cohort
