#include "launch/child_main.hpp"

#include <stdio_ext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <ext/stdio_sync_filebuf.h>
#include <iostream>
#include <thread>
#include <typeinfo>

#include "arena/block_refs.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/serialize.hpp"
#include "launch/exception_parcel.hpp"
#include "launch/finish.hpp"
#include "launch/handle_io.hpp"
#include "launch/request.hpp"
#include "launch/runtime.hpp"
#include "launch/throw_trace.hpp"
#include "os/futex.hpp"
#include "os/pidfd.hpp"
#include "os/signals.hpp"
#include "os/step.hpp"

namespace cohort::launch {
namespace {

using arena::MemberId;
using arena::Offset;
using arena::Readiness;
using arena::Space;

void flush_unless_locked(std::FILE* stream) noexcept {
  if (::__fpending(stream) == 0 || ::ftrylockfile(stream) != 0) return;
  ::fflush_unlocked(stream);
  ::funlockfile(stream);
}

// The buffers that the standard streams had when the fork server rehearsed, where they were
// stdio's: known without a look at their types, which would cost each child page faults.
std::array<const std::streambuf*, 3> plain_buffers{};

bool is_stdio(const std::streambuf* buffer) {
  return typeid(*buffer) == typeid(__gnu_cxx::stdio_sync_filebuf<char>);
}

void flush_unless_stdio(std::ostream& stream) noexcept {
  // A stream over stdio buffers nothing itself, and its flush would wait for the stdio lock.
  const std::streambuf* buffer = stream.rdbuf();
  if (std::find(plain_buffers.begin(), plain_buffers.end(), buffer) != plain_buffers.end()) return;
  if (!buffer || is_stdio(buffer)) return;
  try {
    stream.flush();
  } catch (...) {
    // A stream that throws on failure: the data is lost as it would be at exit.
  }
}

// What a new process has of its creator's that is not its own.
void shed_inheritance(Runtime& runtime, const Identity& self) {
  runtime.self = self;
  runtime.next_name = 1;
  runtime.children.clear();
  runtime.connection.reset();
  run_new_process_hooks();
}

void announce_readiness(Space& space, Readiness how) noexcept {
  arena::MemberSlot& slot = space.my_slot();
  slot.ready.store(static_cast<std::uint32_t>(how), std::memory_order_release);
  os::futex_wake_all(slot.ready);
}

// The request is read: its blocks are held by the decoded target now.
class RequestRead final : public detail::Decoded {
 public:
  RequestRead(Space& space, Offset request) : space_(space), request_(request) {}
  void operator()() override {
    auto references = arena::references_of(space_, request_);
    std::vector<Offset> blocks(references.begin(), references.end());
    arena::drop_parcel(space_, request_);
    os::step("child.decoded");
    detail::BlockRefs::let_go_unadopted(blocks);
    done_ = true;
    announce_readiness(space_, Readiness::decoded);
  }
  bool done() const { return done_; }

 private:
  Space& space_;
  Offset request_;
  bool done_ = false;
};

// Without a fork server nobody kills a daemon whose parent is killed. (PR_SET_PDEATHSIG would do so
// when the parent's *thread* ends.)
void die_with(pid_t parent) {
  os::Pidfd process = os::Pidfd::open(parent);
  std::thread([process = std::move(process)] {
    os::block_all_signals();
    if (process) os::wait_readable(process.get(), std::nullopt);
    ::kill(::getpid(), SIGKILL);
  }).detach();
}

template <class Body>
[[noreturn]] void run_to_the_end(const std::string& name, Body&& body) noexcept {
  leave_by_own_exit();
  int code = 0;
  try {
    body();
  } catch (...) {
    report_uncaught("Process", name.c_str());
    code = 1;
  }
  std::exit(code);
}

}  // namespace

void flush_streams() noexcept {
  flush_unless_stdio(std::cout);
  flush_unless_stdio(std::cerr);
  flush_unless_stdio(std::clog);
  flush_unless_locked(stdout);
  flush_unless_locked(stderr);
}

void rehearse_child() noexcept {
  try {
    struct Nothing final : detail::Target {
      static void run(detail::Reader&, detail::Decoded&) {}
      void invoke() override {}
      const void* thunk() const override { return reinterpret_cast<const void*>(&run); }
      void encode(detail::Writer&) const override {}
    } nothing;
    Space& space = Space::here();
    StartInfo info;
    info.name = info.parent_name = info.authkey = "a name as long as most of them are";
    info.thunk = detail::refer_to_code(nothing.thunk());
    Offset request = make_request(space, info, nothing, space.self());
    HandleReader reader(arena::payload_of(space, request));
    info = detail::decode<StartInfo>(reader);
    auto thunk = reinterpret_cast<detail::Thunk>(const_cast<void*>(detail::find_code(info.thunk)));
    RequestRead read(space, request);
    detail::with_trace([&] { thunk(reader, read); });
    read();
    shed_inheritance(Runtime::here(), Runtime::here().self);
    finish_this_process();
    run_new_process_hooks();  // it was no end: what preload makes here shall work
    std::size_t known = 0;
    for (std::ostream* stream : {&std::cout, &std::cerr, &std::clog}) {
      const std::streambuf* buffer = stream->rdbuf();
      if (buffer && is_stdio(buffer)) plain_buffers[known++] = buffer;
    }
    flush_streams();
  } catch (const std::exception&) {
    // Children are then as slow as without.
  }
}

void run_request(MemberId self, Offset request) noexcept {
  Space& space = Space::here();
  space.become(self);
  os::step("child.begun");
  // The kernel told the slot who we are.
  pid_t pid = space.my_slot().pid.load();
  if (!space.members().activate(self, pid ? pid : ::getpid())) ::_exit(0);
  os::step("child.activated");
  MemberId asker = space.members().parent(self);
  Runtime& runtime = Runtime::here();
  os::unblock_all_signals();

  RequestRead read(space, request);
  HandleReader reader(arena::payload_of(space, request));
  StartInfo info;
  auto body = [&] {
    try {
      info = detail::decode<StartInfo>(reader);
      Identity identity{info.name,       info.daemon,      info.method, info.authkey,
                        info.parent_pid, info.parent_name, asker};
      shed_inheritance(runtime, identity);
      runtime.initialized = true;
      runtime.chosen_method = info.chosen_method;
      auto thunk =
          reinterpret_cast<detail::Thunk>(const_cast<void*>(detail::find_code(info.thunk)));
      detail::with_trace([&] { thunk(reader, read); });
    } catch (...) {
      if (info.name.empty()) info.name = space.my_slot().name;
      if (read.done() || !info.reports) throw;
      space.my_slot().failure.store(pack_exception(space, asker));
      announce_readiness(space, Readiness::failed);
      ::_exit(1);
    }
  };
  run_to_the_end(info.name, body);
}

void run_inherited(MemberId self, const Plan& plan) noexcept {
  Space& space = Space::here();
  Identity identity;
  {
    Runtime& creator = Runtime::here();
    identity = {plan.name,
                plan.daemon,
                StartMethod::fork,
                creator.self.authkey,
                space.my_slot().pid.load(),
                creator.self.name,
                space.self()};
  }
  space.become(self);
  if (!space.members().activate(self, ::getpid())) ::_exit(0);
  Runtime& runtime = Runtime::here();
  detail::BlockRefs::reopen_all();
  shed_inheritance(runtime, identity);
  os::reset_dispositions();
  os::unblock_all_signals();
  if (plan.daemon && !space.janitor_alive()) die_with(identity.parent_pid);
  announce_readiness(space, Readiness::decoded);
  run_to_the_end(plan.name, [&] { detail::with_trace([&] { plan.target->invoke(); }); });
}

}  // namespace cohort::launch
