// A global handle that children of the fork server got from it, and that others let go meanwhile.
//
// usage: handles_before_init HOW; HOW:
//   dropped      made before main; the program resets its own
//   root_killed  made before main; the program is killed once it has said "ready"
//   server_gone  made in the fork server by preload, and the server is killed
#include <signal.h>
#include <unistd.h>

#include <cohort/event.hpp>
#include <cohort/process.hpp>
#include <cohort/value.hpp>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "arena/space.hpp"
#include "chaos.hpp"
#include "member.hpp"

namespace {

using cohort::Event;
using cohort::Process;
using cohort::RawValue;
using cohort::StartMethod;
using cohort::arena::MemberId;
using cohort::arena::Phase;
using cohort::arena::Space;

constexpr long kValue = 7;

std::optional<RawValue<long>> made_before_main(kValue);
std::optional<RawValue<long>> preloaded;

void say(const std::string& text) {
  std::printf("%s\n", text.c_str());
  std::fflush(stdout);
}

// Waits until everything that the member held has been returned.
bool returned(MemberId id) {
  return test::eventually([&] {
    const auto phase = Space::here().members().phase(id);
    return phase == Phase::ended || phase == Phase::free;
  });
}

// Takes many blocks of the value's size: one of them would be the value's own.
void report(const std::string& who, const RawValue<long>& value) {
  std::vector<RawValue<long>> others;
  for (int i = 0; i < 1000; ++i) others.emplace_back(666L);
  say(who + " sees " + std::to_string(value.load()));
}

RawValue<long>& of_this_process() { return preloaded ? *preloaded : *made_before_main; }

void look(const Event& ready, const Event& gone) {
  ready.set();
  gone.wait();
  report("the child", of_this_process());
}
void look_at_once() { report("the next child", of_this_process()); }

void look_without_root() {
  const MemberId root{Space::here().header().root.load()};
  say("ready");
  if (!returned(root)) say("the root's blocks were not returned");
  report("the child", of_this_process());
}

void kill_server() {
  auto& space = Space::here();
  const MemberId server{space.header().janitors[0].load()};
  if (!test::send(*cohort::fork_server_pid(), SIGKILL)) say("no server");
  if (!returned(server)) say("the server's blocks were not returned");
}

int outlive_root() {
  Process child({.daemon = false, .start_method = StartMethod::forkserver}, look_without_root);
  child.start();
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const std::string how = argv[1];
  if (how == "root_killed") return outlive_root();
  cohort::set_start_method(StartMethod::forkserver);
  if (how == "server_gone") cohort::preload([] { preloaded.emplace(kValue); });
  const Event ready, gone;
  Process child(look, ready, gone);
  child.start();
  ready.wait();
  if (how == "dropped") made_before_main.reset();
  if (how == "server_gone") kill_server();
  gone.set();
  child.join();
  Process next(look_at_once);
  next.start();
  next.join();
  return child.exitcode() == 0 && next.exitcode() == 0 ? 0 : 1;
}
