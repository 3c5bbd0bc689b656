#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <any>
#include <cohort/error.hpp>
#include <cohort/serialize.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <system_error>
#include <thread>
#include <typeinfo>
#include <variant>
#include <vector>

#include "../../src/launch/throw_trace.hpp"

namespace {

using namespace cohort;
using detail::HeapWriter;
using detail::Reader;

std::vector<std::byte> encoded(const std::exception_ptr& error, std::string_view traceback = "") {
  HeapWriter writer;
  detail::encode_exception(writer, error, traceback);
  return {writer.bytes().begin(), writer.bytes().end()};
}

// The exception as another process would throw it.
std::exception_ptr sent(const std::exception_ptr& error, std::string_view traceback = "") {
  const auto bytes = encoded(error, traceback);
  Reader reader(bytes);
  return detail::decode_exception(reader);
}

// `raise` throws an E. It must arrive as E, as std::exception and as RemoteInfo, and be further
// sendable, the message unchanged.
template <class E, class F>
E expect_arrives(F raise) {
  std::string message;
  std::exception_ptr original;
  try {
    raise();
  } catch (const std::exception& error) {
    message = error.what();
    original = std::current_exception();
  }
  EXPECT_TRUE(original);
  const auto once = sent(original, "trace");
  for (const auto& pointer : {once, sent(once, "another trace")}) {
    try {
      std::rethrow_exception(pointer);
    } catch (const RemoteInfo& info) {
      EXPECT_EQ(info.message(), message);
      EXPECT_EQ(info.pid(), getpid());
      EXPECT_EQ(info.traceback().substr(0, 5), "trace");
      EXPECT_NE(info.type_name(), "");
      EXPECT_EQ(info.type_name().find("Carried"), std::string::npos);
    }
    try {
      std::rethrow_exception(pointer);
    } catch (const std::exception& error) {
      EXPECT_EQ(error.what(), message);
    }
  }
  try {
    std::rethrow_exception(once);
  } catch (const E& error) {
    EXPECT_EQ(error.what(), message);
    return error;
  }
}

template <class... E>
void expect_with_message() {
  (expect_arrives<E>([] { throw E("the message"); }), ...);
}
template <class... E>
void expect_without_message() {
  (expect_arrives<E>([] { throw E(); }), ...);
}

TEST(RemoteException, StandardTypesArriveAsThemselves) {
  expect_with_message<std::logic_error, std::domain_error, std::invalid_argument, std::length_error,
                      std::out_of_range, std::runtime_error, std::range_error, std::overflow_error,
                      std::underflow_error>();
  expect_without_message<std::exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast,
                         std::bad_any_cast, std::bad_typeid, std::bad_exception,
                         std::bad_function_call, std::bad_optional_access, std::bad_variant_access,
                         std::bad_weak_ptr>();
}

TEST(RemoteException, WhatTheLibraryThrowsArrivesAsItself) {
  expect_arrives<std::out_of_range>([] { std::vector<int>().at(3); });
  expect_arrives<std::bad_variant_access>([] {
    std::variant<int, double> v;
    std::get<1>(v);
  });
  expect_arrives<std::bad_function_call>([] { std::function<void()>()(); });
  expect_arrives<std::bad_any_cast>([] { std::any_cast<int>(std::any("x")); });
  expect_arrives<std::bad_weak_ptr>([] { std::shared_ptr<int>(std::weak_ptr<int>()); });
  expect_arrives<std::invalid_argument>([] { static_cast<void>(std::stoi("x")); });
  expect_arrives<std::regex_error>([] { std::regex("("); });
  expect_arrives<std::ios_base::failure>([] {
    std::ifstream in;
    in.exceptions(std::ios::failbit);
    in.open("/nonexistent/file");
  });
}

TEST(RemoteException, CodesAndPathsSurvive) {
  const auto system = expect_arrives<std::system_error>(
      [] { throw std::system_error(ENOENT, std::system_category(), "open 'x'"); });
  EXPECT_EQ(system.code(), std::error_code(ENOENT, std::system_category()));
  EXPECT_EQ(system.code(), std::errc::no_such_file_or_directory);
  const auto generic = expect_arrives<std::system_error>(
      [] { throw std::system_error(std::make_error_code(std::errc::timed_out)); });
  EXPECT_EQ(generic.code(), std::errc::timed_out);
  const auto failure =
      expect_arrives<std::ios_base::failure>([] { throw std::ios_base::failure("bad"); });
  EXPECT_EQ(failure.code(), std::io_errc::stream);
  const auto file = expect_arrives<std::filesystem::filesystem_error>(
      [] { std::filesystem::copy_file("/nonexistent/a", "/nonexistent/b"); });
  EXPECT_EQ(file.path1(), "/nonexistent/a");
  EXPECT_EQ(file.path2(), "/nonexistent/b");
  EXPECT_EQ(file.code(), std::errc::no_such_file_or_directory);
  const auto future = expect_arrives<std::future_error>(
      [] { throw std::future_error(std::future_errc::broken_promise); });
  EXPECT_EQ(future.code(), std::future_errc::broken_promise);
  const auto regex = expect_arrives<std::regex_error>([] { std::regex("["); });
  EXPECT_EQ(regex.code(), std::regex_constants::error_brack);
}

class OddCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "odd"; }
  std::string message(int) const override { return "an odd thing"; }
};

TEST(RemoteException, AnUnknownCategoryKeepsItsName) {
  static const OddCategory odd;
  const auto error = expect_arrives<std::system_error>([] { throw std::system_error(3, odd); });
  EXPECT_STREQ(error.code().category().name(), "odd");
  EXPECT_EQ(error.code().value(), 3);
}

TEST(RemoteException, OurTypesArriveAsThemselves) {
  expect_with_message<Error, TimeoutError, BrokenPool, CancelledError, InvalidStateError, EndOfFile,
                      BufferTooShort, AuthenticationError, QueueEmpty, QueueFull, QueueShutDown,
                      BrokenBarrier, LockOwnerDied, NotInitialized, SerializationError,
                      ProcessError, KeyError, IndexError, KeyboardInterrupt>();
  const auto died = expect_arrives<WorkerDied>(
      [] { throw WorkerDied({.pid = 12, .exitcode = -9, .task = "f(int)", .traceback = "at f"}); });
  EXPECT_EQ(died.pid(), 12);
  EXPECT_EQ(died.exitcode(), -9);
  EXPECT_EQ(died.signal(), 9);
  EXPECT_EQ(died.task(), "f(int)");
  EXPECT_EQ(died.traceback(), "at f");
  const auto mismatch = expect_arrives<TypeMismatch>([] { throw TypeMismatch("int", "long"); });
  EXPECT_EQ(mismatch.expected(), "int");
  EXPECT_EQ(mismatch.found(), "long");
}

TEST(Errors, SayWhatHappened) {
  EXPECT_STREQ(WorkerDied({.pid = 1234, .exitcode = -SIGKILL, .task = "square(int)"}).what(),
               "worker 1234 was killed by SIGKILL while running task 'square(int)'");
  EXPECT_STREQ(WorkerDied({.pid = 5, .exitcode = 3}).what(), "worker 5 exited with code 3");
  EXPECT_STREQ(TypeMismatch("int", "long").what(), "type mismatch: expected int, found long");
  EXPECT_STREQ(RemoteError(RemoteInfo("T", "m", 1, "")).what(), "T: m");
}

// ---- types of the user

struct Unknown : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct ByMessage : std::runtime_error {
  using std::runtime_error::runtime_error;
};
class WithFields : public std::runtime_error {
 public:
  WithFields() : std::runtime_error("") {}
  WithFields(int number, std::string where)
      : std::runtime_error("code " + std::to_string(number)),
        code(number),
        place(std::move(where)) {}
  template <class Archive>
  void serialize(Archive& ar) {
    ar(code, place);
  }
  int code = 0;
  std::string place;
};
struct Plain {  // no std::exception at all
  int x;
};
struct Final final : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Derived : ByMessage {
  using ByMessage::ByMessage;
};
class Failing : public std::runtime_error {
 public:
  Failing() : std::runtime_error("failing") {}
  template <class Archive>
  void serialize(Archive&) {
    throw std::logic_error("cannot");
  }
};

TEST(RemoteException, AnUnregisteredTypeIsARemoteErrorWithItsName) {
  const auto once = sent(std::make_exception_ptr(Unknown("msg")), "tr");
  for (const auto& pointer : {once, sent(once)}) {
    try {
      std::rethrow_exception(pointer);
    } catch (const RemoteError& error) {
      EXPECT_EQ(error.type_name(), "(anonymous namespace)::Unknown");
      EXPECT_EQ(error.message(), "msg");
      EXPECT_STREQ(error.what(), "(anonymous namespace)::Unknown: msg");
      EXPECT_EQ(error.traceback(), "tr");
    }
  }
}

TEST(RemoteException, RegisteredTypesArriveAsThemselves) {
  register_exception<ByMessage>();
  register_exception<ByMessage>();
  register_exception<WithFields>();
  register_exception<Plain>();
  register_exception<Final>();
  expect_arrives<ByMessage>([] { throw ByMessage("m"); });
  const auto fields = expect_arrives<WithFields>([] { throw WithFields(4, "here"); });
  EXPECT_EQ(fields.code, 4);
  EXPECT_EQ(fields.place, "here");
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(Plain{5})));
  } catch (const Plain& plain) {
    EXPECT_EQ(plain.x, 5);
  }
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(Final("f"))));
  } catch (const Final& error) {
    EXPECT_STREQ(error.what(), "f");
  }
}

TEST(RemoteException, OnlyTheExactTypeMatches) {
  register_exception<ByMessage>();
  EXPECT_THROW(std::rethrow_exception(sent(std::make_exception_ptr(Derived("d")))), RemoteError);
}

TEST(RemoteException, OneThatCannotBeEncodedIsARemoteError) {
  register_exception<Failing>();
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(Failing())));
  } catch (const RemoteError& error) {
    EXPECT_EQ(error.message(), "failing");
  }
}

template <class T>
std::string message_of(T thrown) {
  try {
    std::rethrow_exception(sent(std::make_exception_ptr(thrown)));
  } catch (const RemoteError& error) {
    return error.what();
  }
}

TEST(RemoteException, ThrownValuesAreShown) {
  EXPECT_EQ(message_of(42), "int: 42");
  EXPECT_NE(message_of(std::string("text")).find(": text"), std::string::npos);
  EXPECT_EQ(message_of(static_cast<const char*>("literal")), "char const*: literal");
  EXPECT_EQ(message_of(2.5), "double");
}

TEST(RemoteException, NestedOnesAreListedInTheTraceback) {
  std::exception_ptr error;
  try {
    try {
      try {
        throw std::out_of_range("innermost");
      } catch (...) {
        std::throw_with_nested(std::logic_error("middle"));
      }
    } catch (...) {
      std::throw_with_nested(std::runtime_error("outer"));
    }
  } catch (...) {
    error = std::current_exception();
  }
  try {
    std::rethrow_exception(sent(error));
  } catch (const std::runtime_error& outer) {
    EXPECT_STREQ(outer.what(), "outer");
    const auto& info = dynamic_cast<const RemoteInfo&>(outer);
    EXPECT_EQ(info.type_name(), "std::runtime_error");
    EXPECT_EQ(info.traceback(),
              "caused by std::logic_error: middle\ncaused by std::out_of_range: innermost\n");
  }
}

TEST(RemoteException, CrossesAFork) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto bytes = encoded(std::make_exception_ptr(std::domain_error("from the child")));
    const bool written = write(fds[1], bytes.data(), bytes.size()) == ssize_t(bytes.size());
    _exit(written ? 0 : 1);
  }
  std::vector<std::byte> bytes(4096);
  const ssize_t n = read(fds[0], bytes.data(), bytes.size());
  int status = 0;
  waitpid(child, &status, 0);
  close(fds[0]);
  close(fds[1]);
  ASSERT_GT(n, 0);
  Reader reader(std::span<const std::byte>(bytes.data(), static_cast<std::size_t>(n)));
  try {
    detail::throw_remote(reader);
  } catch (const std::domain_error& error) {
    EXPECT_STREQ(error.what(), "from the child");
    EXPECT_EQ(dynamic_cast<const RemoteInfo&>(error).pid(), child);
  }
}

TEST(RemoteException, BrokenBytesGiveAnError) {
  const auto bytes = encoded(
      std::make_exception_ptr(std::system_error(std::make_error_code(std::errc::timed_out), "x")));
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    Reader reader(std::span<const std::byte>(bytes.data(), n));
    EXPECT_THROW(detail::throw_remote(reader), SerializationError);
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto broken = bytes;
    broken[i] ^= std::byte{0xFF};
    Reader reader(broken);
    EXPECT_TRUE(detail::decode_exception(reader));
  }
}

template <int>
struct Many : std::runtime_error {
  using std::runtime_error::runtime_error;
};

TEST(RemoteException, RegisteringFromManyThreadsIsSafe) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      register_exception<Many<1>>();
      register_exception<Many<2>>();
      register_exception<Many<3>>();
      EXPECT_THROW(std::rethrow_exception(sent(std::make_exception_ptr(Many<2>("m")))), Many<2>);
    });
  }
}

// ---- traces

[[gnu::noinline]] void innermost_function() { throw std::runtime_error("x"); }
[[gnu::noinline]] void middle_function() {
  innermost_function();
  asm volatile("");  // no tail call
}

std::string trace_of(auto function) {
  try {
    detail::with_trace(function);
  } catch (...) {
    return detail::throw_trace();
  }
  return "nothing thrown";
}

TEST(ThrowTrace, NamesTheFramesOfTheThrow) {
  const std::string trace = trace_of([] { middle_function(); });
  const auto innermost = trace.find("innermost_function()");
  const auto middle = trace.find("middle_function()");
  EXPECT_NE(innermost, std::string::npos) << trace;
  EXPECT_NE(middle, std::string::npos) << trace;
  EXPECT_LT(innermost, middle);
  EXPECT_LT(innermost, trace.find('\n')) << trace;  // in the first line
  EXPECT_NE(trace.find("+0x"), std::string::npos);
  EXPECT_EQ(trace.find("run_traced"), std::string::npos) << trace;
}

TEST(ThrowTrace, DestructorsOnTheWayDoNotSpoilIt) {
  const std::string trace = trace_of([] {
    const std::string name(100, 'x');
    const std::vector<std::string> names(3, name);
    middle_function();
  });
  EXPECT_LT(trace.find("innermost_function"), trace.find('\n')) << trace;
  EXPECT_EQ(trace.find("_Unwind"), std::string::npos) << trace;
}

TEST(ThrowTrace, TheExceptionPassesUnchanged) {
  EXPECT_THROW(detail::with_trace([] { throw std::domain_error("d"); }), std::domain_error);
  EXPECT_THROW(detail::with_trace([] { throw 42; }), int);
}

TEST(ThrowTrace, ExceptionsCaughtInsideAreNotTaken) {
  const std::string trace = trace_of([] {
    try {
      innermost_function();
    } catch (const std::runtime_error&) {
    }
    throw 1;
  });
  EXPECT_EQ(trace.find("innermost_function"), std::string::npos) << trace;
}

TEST(ThrowTrace, EachThreadHasItsOwn) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 20; ++n) {
        EXPECT_NE(trace_of([] { middle_function(); }).find("middle_function"), std::string::npos);
      }
    });
  }
}

}  // namespace
