#include "launch/fork_server.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "arena/block_refs.hpp"
#include "arena/inheritance.hpp"
#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/serialize.hpp"
#include "launch/child_main.hpp"
#include "launch/exception_parcel.hpp"
#include "launch/handle_io.hpp"
#include "launch/request.hpp"
#include "launch/runtime.hpp"
#include "os/call.hpp"
#include "os/clone.hpp"
#include "os/pidfd.hpp"
#include "os/signals.hpp"
#include "os/socket.hpp"
#include "os/step.hpp"

namespace cohort::launch {
namespace {

using arena::MemberId;
using arena::Space;

constexpr int kRetryMilliseconds = 100;

constexpr std::size_t kDoor = 0;     // what an event is about: the front door,
constexpr std::size_t kMembers = 1;  // kMembers + slot: a member's end,
constexpr std::size_t kClients = kMembers + arena::kMaxMembers;  // kClients + fd: a question

std::span<const std::byte> bytes_of(const auto& record) {
  return std::as_bytes(std::span(&record, 1));
}

// A copy of this process has its handles, too.
void hold_for_copy(Space& space, MemberId copy) {
  const auto registry = detail::BlockRefs::lock_registry();
  for (arena::Offset block : detail::BlockRefs::held(registry)) arena::hold(space, block, copy);
}
void let_go_for_copy(Space& space, MemberId copy) {
  const auto registry = detail::BlockRefs::lock_registry();
  for (arena::Offset block : detail::BlockRefs::held(registry)) arena::unmark(space, block, copy);
}

// The first descriptor number above every open one.
int end_of_descriptors() {
  int last = 2;
  DIR* folder = ::opendir("/proc/self/fd");
  if (!folder) return 64;
  while (const dirent* entry = ::readdir(folder)) last = std::max(last, std::atoi(entry->d_name));
  ::closedir(folder);
  return last + 1;
}

class ForkServer {
 public:
  ForkServer(Space& space, os::Fd front_door, MemberId self)
      : space_(space), self_(self), own_from_(end_of_descriptors()) {
    inner_ = keep(std::move(front_door));
    raise_descriptor_limit();
  }

  [[noreturn]] void run();

 private:
  struct Watched {
    MemberId id;
    os::Pidfd process;
  };

  // Thrown in a process that was made to stand by, so that it leaves its maker's work behind.
  struct Standby {
    os::Pidfd server;
    MemberId served_by;
  };

  [[noreturn]] void serve();
  void stand_by(const Standby& me);
  // Without room for one there is none until the next event: starting processes works all the same.
  void make_standby();
  // One pidfd for every member: as many descriptors as the system lets us have, ours alone.
  void raise_descriptor_limit();
  // Our own descriptors lie above those that children shall inherit.
  os::Fd keep(os::Fd fd) const;
  bool hear(std::size_t source, int fd);
  void handle(std::size_t source);
  // Before every close: a copy of the descriptor elsewhere would keep its events coming.
  void unhear(int fd) { ::epoll_ctl(events_.get(), EPOLL_CTL_DEL, fd, nullptr); }
  void drop_client(int fd);
  void end_standby();
  void answer_door();
  void answer_client(int fd);
  Answer answer(const Question& question, os::Pidfd& made);
  Answer make_child(const Question& question, os::Pidfd& made);
  [[noreturn]] void become_child(const Question& question);
  [[noreturn]] void run_again(const Question& question);
  Answer run_preload(const Question& question);
  Answer consider_leaving();
  void watch(MemberId id, os::Pidfd process);
  void watch_everybody();
  void settle_if_orphan(MemberId id);
  void watch_or_bury(MemberId id);
  void reclaim(MemberId id);
  void member_ended(std::uint32_t slot);
  bool anybody_left(bool besides_root) const;
  void return_everything();
  void leave_if_over();

  Space& space_;
  os::Fd inner_;  // of the front door
  MemberId self_;
  int own_from_;
  os::Fd events_;
  std::map<int, os::Fd> clients_;
  std::map<std::uint32_t, Watched> watched_;
  rlimit inherited_limit_{};
  MemberId standby_;
  bool root_left_ = false;
  bool unfinished_ = false;  // a dead member's blocks wait for somebody who is alive
};

void ForkServer::raise_descriptor_limit() {
  if (::getrlimit(RLIMIT_NOFILE, &inherited_limit_) != 0) return;
  rlimit raised{inherited_limit_.rlim_max, inherited_limit_.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &raised);
}

os::Fd ForkServer::keep(os::Fd fd) const {
  if (!fd || fd.get() >= own_from_) return fd;
  int raw = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, own_from_);
  return raw >= 0 ? os::Fd(raw) : std::move(fd);
}

bool ForkServer::hear(std::size_t source, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = source;
  return ::epoll_ctl(events_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void ForkServer::run() {
  std::optional<Standby> standby;
  for (;;) {
    try {
      if (standby) stand_by(*standby);
      standby.reset();
      serve();
    } catch (Standby& me) {
      standby = std::move(me);
    }
  }
}

void ForkServer::serve() {
  ::prctl(PR_SET_NAME, "cohort-server");
  events_ = keep(os::Fd(::epoll_create1(EPOLL_CLOEXEC)));
  hear(kDoor, inner_.get());
  make_standby();
  watch_everybody();
  leave_if_over();
  for (;;) {
    epoll_event ready[64];
    int count = ::epoll_wait(events_.get(), ready, 64, unfinished_ ? kRetryMilliseconds : -1);
    if (count == 0) {
      unfinished_ = false;
      watch_everybody();
    }
    // Questions first: somebody waits for their answers.
    auto is_death = [](const epoll_event& event) {
      return event.data.u64 >= kMembers && event.data.u64 < kClients;
    };
    std::stable_partition(ready, ready + std::max(count, 0), std::not_fn(is_death));
    for (int i = 0; i < count; ++i) handle(ready[i].data.u64);
  }
}

void ForkServer::handle(std::size_t source) {
  try {
    if (source == kDoor) {
      answer_door();
    } else if (source >= kClients) {
      answer_client(static_cast<int>(source - kClients));
    } else {
      member_ended(static_cast<std::uint32_t>(source - kMembers));
    }
    leave_if_over();
    if (!standby_ && !root_left_) make_standby();
  } catch (const std::exception&) {
    // Out of descriptors or memory: a client hears of it by losing its connection, and asks again.
    if (source >= kClients) drop_client(static_cast<int>(source - kClients));
    watch_everybody();
  }
}

void ForkServer::stand_by(const Standby& me) {
  ::prctl(PR_SET_NAME, "cohort-standby");
  os::wait_readable(me.server.get(), std::nullopt);
  os::step("standby.woken");
  // A server that was replacing its standby when it was killed left two: one takes over.
  std::uint32_t dead = me.served_by.raw;
  if (!space_.header().janitors[0].compare_exchange_strong(dead, self_.raw)) ::_exit(0);
  os::step("standby.took_over");
}

void ForkServer::make_standby() {
  Standby standby;
  MemberId id;
  try {
    standby = {os::Pidfd::open(::getpid()), self_};
    id = space_.members().enlist(MemberId{space_.header().root.load()}, "cohort-standby",
                                 arena::kHelper);
  } catch (const std::exception&) {
    return;
  }
  hold_for_copy(space_, id);
  os::step("server.making_standby");
  auto made = os::clone_process({.sibling = true, .pid_out = &space_.members().slot(id).pid});
  if (made.pid == 0) {
    events_.reset();
    clients_.clear();
    watched_.clear();
    standby_ = {};
    self_ = id;
    space_.become(id);
    space_.members().activate(id, ::getpid());
    throw std::move(standby);
  }
  if (made.pid < 0) {
    let_go_for_copy(space_, id);
    space_.members().discharge(id);
    return;
  }
  standby_ = id;
  space_.header().janitors[1].store(id.raw);
  os::step("server.made_standby");
  watch(id, os::Pidfd(std::move(made.pidfd)));
}

void ForkServer::end_standby() {
  space_.header().janitors[1].store(0);
  auto found = watched_.find(standby_.slot());
  if (standby_ && found != watched_.end()) found->second.process.send(SIGKILL);
}

void ForkServer::answer_door() {
  Question question;
  auto received =
      os::receive_record(inner_.get(), std::as_writable_bytes(std::span(&question, 1)), false);
  if (!received || received->bytes != sizeof question) return;
  if (question.ask == Ask::watch) watch_everybody();
  if (question.ask != Ask::connect || received->fds.empty()) return;
  os::Fd client = keep(std::move(received->fds.front()));
  int fd = client.get();
  hear(kClients + static_cast<std::size_t>(fd), fd);
  clients_[fd] = std::move(client);
}

void ForkServer::drop_client(int fd) {
  unhear(fd);
  clients_.erase(fd);
}

void ForkServer::answer_client(int fd) {
  if (!clients_.contains(fd)) return;
  Question question;
  auto received = os::receive_record(fd, std::as_writable_bytes(std::span(&question, 1)), false);
  if (!received) {
    drop_client(fd);
    return;
  }
  if (received->bytes != sizeof question) return;
  os::step("server.asked");
  os::Pidfd made;
  Answer reply = answer(question, made);
  os::step("server.made");
  // A child of the asker's own is known to it by its pid alone. Any other may be reaped here before
  // the asker has looked.
  int passed = made ? made.get() : -1;
  bool pass = passed >= 0 && (question.sibling == 0 || question.spawn != 0);
  if (!os::send_record(fd, bytes_of(reply), pass ? std::span(&passed, 1) : std::span<int>()))
    drop_client(fd);
  if (made) watch(question.child, std::move(made));
  settle_if_orphan(question.child);  // the asker may have been buried while we made its child
}

Answer ForkServer::answer(const Question& question, os::Pidfd& made) {
  switch (question.ask) {
    case Ask::start:
      return make_child(question, made);
    case Ask::preload:
      return run_preload(question);
    case Ask::shut_down:
      return consider_leaving();
    default:
      return {EINVAL, 0, 0};
  }
}

Answer ForkServer::make_child(const Question& question, os::Pidfd& made) {
  if (!space_.members().begin_making(question.child)) return {ESTALE, 0, 0};
  bool sibling = question.sibling != 0 && question.spawn == 0;
  if (question.spawn == 0) hold_for_copy(space_, question.child);
  auto child = os::clone_process(
      {.sibling = sibling, .pid_out = &space_.members().slot(question.child).pid});
  if (child.pid == 0) become_child(question);
  if (child.pid < 0) {
    if (question.spawn == 0) let_go_for_copy(space_, question.child);
    return {child.error, 0, 0};
  }
  os::step("server.cloned");
  made = os::Pidfd(std::move(child.pidfd));
  return {0, child.pid, 0};
}

void ForkServer::become_child(const Question& question) {
  // By system call, as all that is to be fast here: a page of libc's code costs a child a fault.
  ::syscall(SYS_prctl, PR_SET_NAME, program_invocation_short_name, 0, 0, 0);
  ::syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &inherited_limit_, nullptr);
  ::syscall(SYS_close_range, own_from_, ~0U, 0);
  // Their numbers are gone: the objects must not close what takes them next.
  events_.release();
  inner_.release();
  for (auto& [fd, client] : clients_) client.release();
  if (question.spawn) run_again(question);
  run_request(question.child, question.request);
}

void ForkServer::run_again(const Question& question) {
  Runtime& runtime = Runtime::here();
  arena::Inheritance inheritance;
  inheritance.memory = space_.memory_fd();
  inheritance.bank_in = space_.bank().in();
  inheritance.bank_out = space_.bank().out();
  inheritance.front_door = runtime.front_door.get();
  inheritance.self = question.child;
  inheritance.request = question.request;
  ::setenv(arena::kInheritanceVariable, inheritance.text().c_str(), 1);
  ::syscall(SYS_close_range, 3, ~0U, 4U);  // CLOSE_RANGE_CLOEXEC
  for (int fd : inheritance.descriptors()) os::set_close_on_exec(fd, false);
  os::unblock_all_signals();
  ::execve("/proc/self/exe", runtime.arguments.data(), environ);
  space_.members().slot(question.child).failure.store(static_cast<std::uint64_t>(errno));
  ::_exit(127);
}

Answer ForkServer::run_preload(const Question& question) {
  auto bytes = arena::payload_of(space_, question.request);
  Answer reply;
  try {
    HandleReader reader(bytes);
    auto info = detail::decode<StartInfo>(reader);
    struct Nothing final : detail::Decoded {
      void operator()() override {}
    } nothing;
    auto thunk = reinterpret_cast<detail::Thunk>(const_cast<void*>(detail::find_code(info.thunk)));
    thunk(reader, nothing);
  } catch (...) {
    reply.failure =
        pack_exception(space_, MemberId{space_.members().slot(question.child).parent.load()});
    reply.error = ECANCELED;
  }
  flush_streams();
  // The standby shall have it too: a new one is a copy of us.
  MemberId before = standby_;
  auto old = watched_.find(before.slot());
  make_standby();
  bool replaced = old != watched_.end() && old->second.id == before && standby_ != before;
  if (replaced) old->second.process.send(SIGKILL);
  return reply;
}

// The root is about to end. With nobody else left there is nothing to serve.
Answer ForkServer::consider_leaving() {
  root_left_ = true;
  if (anybody_left(false)) return {EBUSY, 0, 0};
  return_everything();
  end_standby();
  Answer reply;
  for (auto& [fd, client] : clients_) os::send_record(fd, bytes_of(reply));
  ::_exit(0);
}

bool ForkServer::anybody_left(bool besides_root) const {
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    MemberId id = space_.members().at(slot);
    if (!id || space_.members().is_dead(id)) continue;
    if ((space_.members().slot(slot).flags.load() & arena::kHelper) != 0) continue;
    if (!besides_root && id.raw == space_.header().root.load()) continue;
    if (space_.members().process_gone(id)) continue;
    return true;
  }
  return false;
}

// What members held may be more than the arena, which goes by itself: names in /dev/shm.
void ForkServer::return_everything() {
  try {
    space_.bury_the_dead();
    space_.bury_the_dead();  // what a member was returning that was itself dead, but not buried yet
    arena::return_blocks_of(space_, self_);
  } catch (const std::exception&) {
    // Out of descriptors: what was returned until here is all that can be.
  }
}

void ForkServer::leave_if_over() {
  MemberId root{space_.header().root.load()};
  if (!space_.members().is_dead(root) || anybody_left(true)) return;
  return_everything();
  end_standby();
  ::_exit(0);
}

void ForkServer::watch(MemberId id, os::Pidfd process) {
  // The slot's former member, if its parent was quicker than we: it may be ours to reap.
  if (watched_.contains(id.slot())) member_ended(id.slot());
  process = os::Pidfd(keep(process.take()));
  if (!hear(kMembers + id.slot(), process.get())) return;  // then others look after it
  watched_[id.slot()] = {id, std::move(process)};
  space_.members().slot(id).watched.store(1);
}

// Looks after everyone who is not watched yet: members that somebody else made, whose maker may
// have been killed before it could tell; and what a janitor or a parent left when it was killed.
void ForkServer::watch_everybody() {
  for (std::uint32_t slot = 0; slot < space_.members().used(); ++slot) {
    MemberId id = space_.members().at(slot);
    try {
      if (!id || id == self_) continue;
      settle_if_orphan(id);
      watch_or_bury(id);
    } catch (const std::exception&) {
      // Out of descriptors: the next death gives one back.
    }
  }
}

void ForkServer::settle_if_orphan(MemberId id) {
  MemberId parent = space_.members().parent(id);
  if (parent && space_.members().is_dead(parent)) space_.settle_orphan(id);
}

void ForkServer::watch_or_bury(MemberId id) {
  if (!space_.members().is_dead(id)) {
    auto found = watched_.find(id.slot());
    if (found != watched_.end() && found->second.id == id) return;
    pid_t pid = space_.members().slot(id).pid.load();
    if (pid == 0) return;
    os::Pidfd process = os::Pidfd::open(pid);
    if (process && !space_.members().process_gone(id)) {
      watch(id, std::move(process));
      return;
    }
    space_.bury(id);
  }
  if (id == standby_) standby_ = {};
  reclaim(id);
  space_.members().settle(id);
}

void ForkServer::reclaim(MemberId id) {
  space_.reclaim(id);
  unfinished_ = unfinished_ || space_.members().phase(id) == arena::Phase::dead;
}

void ForkServer::member_ended(std::uint32_t slot) {
  auto found = watched_.find(slot);
  if (found == watched_.end() || !found->second.process.ended()) return;
  auto [id, process] = std::move(found->second);
  watched_.erase(found);
  unhear(process.get());
  auto code = process.reap();
  os::step("server.reaped");
  if (code) space_.members().record_exit(id, *code);
  space_.bury(id);
  reclaim(id);
  if (id == standby_) standby_ = {};
  watch_everybody();
}

}  // namespace

void make_fork_servers(os::Fd front_door) {
  Space& space = Space::here();
  MemberId id = space.members().enlist(space.self(), "cohort-server", arena::kHelper);
  arena::MemberSlot& slot = space.members().slot(id);
  hold_for_copy(space, id);
  os::SignalsBlocked blocked;
  pid_t pid = 0;
  int error = 0;
  if (os::single_threaded()) {
    auto made = os::clone_process({.pid_out = &slot.pid, .want_pidfd = false});
    pid = made.pid;
    error = made.error;
  } else {
    arena::LaunchFork ours;
    pid = ::fork();
    error = errno;
  }
  if (pid < 0) {
    let_go_for_copy(space, id);
    space.members().discharge(id);
    os::fail("clone3", error,
             "cohort::init cannot make its fork server: a seccomp filter or an old kernel may "
             "refuse clone3, or there are too many processes; leave cohort::init out to use "
             "StartMethod::fork alone");
  }
  if (pid == 0) {
    space.become(id);
    space.members().activate(id, ::getpid());
    space.header().janitors[0].store(id.raw);
    os::reset_dispositions();  // once for all children
    try {
      rehearse_child();
      ForkServer server(space, std::move(front_door), id);
      server.run();
    } catch (...) {
      std::terminate();
    }
  }
  slot.pid.store(pid);
  std::uint32_t nobody = 0;  // else the server has said so itself, or has a successor already
  space.header().janitors[0].compare_exchange_strong(nobody, id.raw);
}

}  // namespace cohort::launch
