// The errors of cohort. All derive from cohort::Error; failures of system calls are
// std::system_error.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cohort {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A wait or a task did not end within its limit.
class TimeoutError : public Error {
 public:
  TimeoutError() : Error("timed out") {}
  using Error::Error;
};

// What is known of a worker process that ended while it was running a task.
struct WorkerDeath {
  int pid = 0;
  int exitcode = 0;         // negative: the signal that ended it
  std::string task{};       // readable name of the task that it was running; empty: none
  std::string traceback{};  // stack of the crash, where one could be taken; else empty
};

class WorkerDied : public Error {
 public:
  WorkerDied() : WorkerDied(WorkerDeath{}) {}
  explicit WorkerDied(WorkerDeath death);

  int pid() const noexcept { return death_.pid; }
  int exitcode() const noexcept { return death_.exitcode; }
  // The signal that ended the worker; 0 if it exited by itself.
  int signal() const noexcept { return death_.exitcode < 0 ? -death_.exitcode : 0; }
  const std::string& task() const noexcept { return death_.task; }
  const std::string& traceback() const noexcept { return death_.traceback; }
  const WorkerDeath& death() const noexcept { return death_; }

 private:
  WorkerDeath death_;
};

// The pool can run nothing more: its workers cannot be started.
class BrokenPool : public Error {
 public:
  BrokenPool() : Error("the pool is broken") {}
  using Error::Error;
};

class CancelledError : public Error {
 public:
  CancelledError() : Error("the task was cancelled") {}
  using Error::Error;
};

// The operation does not fit the state that its object is in.
class InvalidStateError : public Error {
 public:
  InvalidStateError() : Error("invalid state") {}
  using Error::Error;
};

// The other end of a connection is gone and nothing is left to read.
class EndOfFile : public Error {
 public:
  EndOfFile() : Error("end of file: the other end is gone") {}
  using Error::Error;
};

// Holds the message, so that nothing is lost; one that was rethrown from another process does not.
class BufferTooShort : public Error {
 public:
  BufferTooShort() : Error("the buffer is too short for the message") {}
  explicit BufferTooShort(std::vector<std::byte> message) : BufferTooShort() {
    message_ = std::make_shared<const std::vector<std::byte>>(std::move(message));
  }
  using Error::Error;

  std::span<const std::byte> message() const noexcept {
    return message_ ? std::span(*message_) : std::span<const std::byte>();
  }

 private:
  std::shared_ptr<const std::vector<std::byte>> message_;  // copying an exception must not fail
};

class AuthenticationError : public Error {
 public:
  AuthenticationError() : Error("authentication failed") {}
  using Error::Error;
};

class QueueEmpty : public Error {
 public:
  QueueEmpty() : Error("the queue is empty") {}
  using Error::Error;
};

class QueueFull : public Error {
 public:
  QueueFull() : Error("the queue is full") {}
  using Error::Error;
};

class QueueShutDown : public Error {
 public:
  QueueShutDown() : Error("the queue is shut down") {}
  using Error::Error;
};

class BrokenBarrier : public Error {
 public:
  BrokenBarrier() : Error("the barrier is broken") {}
  using Error::Error;
};

// The process that held the lock died; lock.recover() takes it and marks the data consistent.
class LockOwnerDied : public Error {
 public:
  LockOwnerDied()
      : Error("the process that held this lock died: call recover(), then repair the data") {}
  using Error::Error;
};

// The wait would never end: this thread holds the lock, or one that its holder waits for.
class DeadlockError : public Error {
 public:
  DeadlockError() : Error("this wait would never end") {}
  using Error::Error;
};

class NotInitialized : public Error {
 public:
  NotInitialized()
      : Error(
            "cohort is not initialized: make `cohort::init(argc, argv);` the first line of main") {}
  using Error::Error;
};

// Bytes that are not what they should be, or an object that cannot be turned into bytes.
class SerializationError : public Error {
 public:
  SerializationError() : Error("serialization failed") {}
  using Error::Error;
};

// A message holds an object of another type than the one asked for.
class TypeMismatch : public Error {
 public:
  TypeMismatch() : TypeMismatch("?", "?") {}
  TypeMismatch(std::string_view expected, std::string_view found);

  const std::string& expected() const noexcept { return expected_; }
  const std::string& found() const noexcept { return found_; }

 private:
  std::string expected_;
  std::string found_;
};

// A process could not be started or used as asked.
class ProcessError : public Error {
 public:
  ProcessError() : Error("process error") {}
  using Error::Error;
};

class KeyError : public Error {
 public:
  KeyError() : Error("no such key") {}
  using Error::Error;
};

class IndexError : public Error {
 public:
  IndexError() : Error("index out of range") {}
  using Error::Error;
};

// Ctrl-C, where SIGINT was asked to raise.
class KeyboardInterrupt : public Error {
 public:
  KeyboardInterrupt() : Error("interrupted") {}
  using Error::Error;
};

// Where an exception that was thrown in another process came from. Every exception rethrown here
// can also be caught as `const RemoteInfo&`. It derives from nothing, so that `const
// std::exception&` stays unambiguous.
class RemoteInfo {
 public:
  RemoteInfo() = default;
  RemoteInfo(std::string type_name, std::string message, int pid, std::string traceback);
  RemoteInfo(const RemoteInfo&) = default;
  RemoteInfo& operator=(const RemoteInfo&) = default;
  virtual ~RemoteInfo();

  const std::string& type_name() const noexcept { return type_name_; }
  const std::string& message() const noexcept { return message_; }
  int pid() const noexcept { return pid_; }
  // The stack where it was thrown, one line per frame, innermost first, and the exceptions nested
  // in it; empty if none could be taken.
  const std::string& traceback() const noexcept { return traceback_; }

 private:
  std::string type_name_;
  std::string message_;
  int pid_ = 0;
  std::string traceback_;
};

// An exception of another process whose own type is not known here: see register_exception.
class RemoteError : public Error, public RemoteInfo {
 public:
  // what() is "TYPE: MESSAGE".
  explicit RemoteError(RemoteInfo info);
};

// Lets exceptions of type E, which must be Serializable or constructible from a std::string, cross
// processes as their own type. Call it at the same place in every process that throws or catches E:
// before the first start, or at namespace scope. Any thread; repeating it is harmless.
// Defined in cohort/serialize.hpp, which process.hpp, pool.hpp and their like include.
template <class E>
void register_exception();

}  // namespace cohort
