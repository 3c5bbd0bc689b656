#include "launch/fork_client.hpp"

#include <unistd.h>

#include <mutex>
#include <optional>
#include <system_error>

#include "arena/shared_block.hpp"
#include "arena/space.hpp"
#include "cohort/error.hpp"
#include "launch/exception_parcel.hpp"
#include "launch/handle_io.hpp"
#include "launch/runtime.hpp"
#include "os/call.hpp"
#include "os/socket.hpp"

namespace cohort::launch {
namespace {

using arena::MemberId;
using arena::Space;

std::span<const std::byte> bytes_of(const Question& question) {
  return std::as_bytes(std::span(&question, 1));
}

int connect(Runtime& runtime) {
  if (runtime.connection) return runtime.connection.get();
  auto [ours, theirs] = os::socket_pair();
  int passed = theirs.get();
  if (!os::send_record(runtime.front_door.get(), bytes_of(Question{}), std::span(&passed, 1)))
    throw Error(
        "the fork server and its standby are both gone (killed at the same moment): no more "
        "processes can be started by forkserver or spawn; start the program again");
  runtime.connection = std::move(ours);
  return runtime.connection.get();
}

struct Reply {
  Answer answer;
  os::Fd fd;
};

// Empty when the server died before it answered.
std::optional<Reply> ask_once(Runtime& runtime, const Question& question) {
  int socket = connect(runtime);
  Reply reply;
  // Where there is no descriptor left for a pidfd, this fails before a process is made that nobody
  // could hold.
  os::Fd room = question.ask == Ask::start ? runtime.connection.duplicate() : os::Fd();
  bool sent = os::send_record(socket, bytes_of(question));
  room.reset();
  auto received =
      sent ? os::receive_record(socket, std::as_writable_bytes(std::span(&reply.answer, 1)))
           : std::nullopt;
  if (!received) {
    runtime.connection.reset();
    return std::nullopt;
  }
  if (!received->fds.empty()) reply.fd = std::move(received->fds.front());
  return reply;
}

// Fails before there is a process rather than after: a connection or a pidfd needs descriptors.
void check_descriptors(const Runtime& runtime) {
  try {
    os::Fd one = runtime.front_door.duplicate();
    os::Fd another = runtime.front_door.duplicate();
  } catch (const std::system_error& error) {
    os::fail("pidfd_open", error.code().value(), kNoDescriptors);
  }
}

Question about(Ask ask, MemberId child, arena::Offset request) {
  Question question;
  question.ask = ask;
  question.child = child;
  question.request = request;
  Space& space = Space::here();
  question.sibling = space.self().raw == space.header().root.load() ? 1 : 0;
  return question;
}

enum class Reap {
  buried,  // those that are known to be dead
  ended,   // those that have ended, too
  all      // waits for those that are ending
};

// Server and standby are children of the root, which alone can reap them.
void reap_servers(Reap which) noexcept {
  Space& space = Space::here();
  for (std::uint32_t index = 0; index < space.members().used(); ++index) {
    MemberId id = space.members().at(index);
    if (!id || space.members().parent(id) != space.self()) continue;
    bool buried = space.members().is_dead(id);
    if (which == Reap::buried && !buried) continue;
    arena::MemberSlot& slot = space.members().slot(index);
    if ((slot.flags.load() & arena::kHelper) == 0) continue;
    try {
      os::Pidfd process = os::Pidfd::open(slot.pid.load());
      if (process && which == Reap::all) os::wait_readable(process.get(), std::nullopt);
      if (process) process.reap();
    } catch (const std::exception&) {
      continue;  // out of descriptors: next time, or at the end by init
    }
    space.members().seen_by_parent(id);
  }
}

[[noreturn]] void refused(int error) {
  if (error == EAGAIN)
    os::fail("clone3", error,
             "too many processes for this user or cgroup: join some first, or raise ulimit -u");
  if (error == EMFILE || error == ENFILE)
    os::fail("clone3", error, "the fork server has no descriptors left: raise ulimit -n");
  if (error == ENOSYS || error == EPERM)
    os::fail("clone3", error,
             "a seccomp filter or an old kernel refuses clone3: choose StartMethod::fork");
  os::fail("clone3", error);
}

}  // namespace

Made ask_for_child(MemberId child, arena::Offset request, bool spawn) {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.asking);
  check_descriptors(runtime);
  Question question = about(Ask::start, child, request);
  question.spawn = spawn ? 1 : 0;
  arena::MemberSlot& slot = Space::here().members().slot(child);
  for (;;) {
    auto reply = ask_once(runtime, question);
    if (reply && reply->answer.error != 0) refused(reply->answer.error);
    // The kernel notes the pid in the slot as it makes the process, so a server that died before
    // it could answer still tells whether it had made one.
    pid_t pid = reply ? reply->answer.pid : slot.pid.load();
    if (pid == 0) continue;
    if (reply && reply->fd) return {pid, os::Pidfd(std::move(reply->fd))};
    return {pid, os::Pidfd::open(pid)};
  }
}

void ask_to_preload(arena::Offset request) {
  Runtime& runtime = Runtime::here();
  std::lock_guard guard(runtime.asking);
  Space& space = Space::here();
  struct Mark {  // names us as the asker
    arena::Members& members = Space::here().members();
    MemberId id = members.enlist(Space::here().self(), "preload", 0);
    ~Mark() { members.discharge(id); }
  } mark;
  std::optional<Reply> reply;
  while (!reply) reply = ask_once(runtime, about(Ask::preload, mark.id, request));
  if (reply->answer.failure) throw_packed_exception(space, reply->answer.failure);
}

void announce(MemberId child) noexcept {
  Runtime& runtime = Runtime::here();
  if (!runtime.front_door) return;
  try {
    os::send_record(runtime.front_door.get(), bytes_of(about(Ask::watch, child, 0)));
  } catch (const std::exception&) {
    // Without a watcher the bounded sleeps of others notice its end.
  }
}

void reap_killed_servers() noexcept {
  if (Runtime::here().front_door) reap_servers(Reap::buried);
}

void shut_down_servers() noexcept {
  Runtime& runtime = Runtime::here();
  if (!runtime.front_door) return;
  bool ended = false;
  try {
    std::lock_guard guard(runtime.asking);
    if (auto reply = ask_once(runtime, about(Ask::shut_down, {}, 0)))
      ended = reply->answer.error == 0;
  } catch (const std::exception&) {
    // Both gone: reap them below.
  }
  reap_servers(ended ? Reap::all : Reap::ended);
}

}  // namespace cohort::launch
