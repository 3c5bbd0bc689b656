#include "pool/interrupt.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cohort/pool.hpp>
#include <optional>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include "member.hpp"
#include "os/pidfd.hpp"
#include "os/stream.hpp"
#include "processes.hpp"

namespace {

using cohort::InterruptNotice;
using cohort::os::Fd;

constexpr const char* kLine =
    "cohort: interrupted; the workers of this program are ended with it\n";

// What a program and its workers tell the test.
struct Board {
  std::atomic<int> ready{0};
  std::atomic<pid_t> workers[2];
};
Board* board = nullptr;

int slow_item(int place) {
  board->workers[place].store(::getpid());
  for (;;) ::pause();
}

void foreign_handler(int) { ::_exit(42); }

// A program in a process group of its own, as a shell starts one, with its stderr to read.
class Program {
 public:
  template <class Body>
  explicit Program(Body&& body) {
    auto [out, in] = cohort::os::make_pipe(65536);
    stderr_ = std::move(out);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(60);
    ::signal(SIGINT, SIG_DFL);
    ::dup2(in.get(), STDERR_FILENO);
    body();
    ::_exit(0);
  }
  ~Program() {
    if (pid_ > 0 && !status_) ::kill(-pid_, SIGKILL);
    end();
  }

  // As a Ctrl-C at the terminal.
  void interrupt() { ::kill(-pid_, SIGINT); }
  // Its wait status.
  int end() {
    int status = 0;
    if (!status_ && ::waitpid(pid_, &status, 0) == pid_) status_ = status;
    return status_.value_or(-1);
  }
  // To the end of everybody who could write there.
  std::string said() {
    std::string text;
    char piece[4096];
    while (cohort::os::wait_readable(stderr_.get(), test::soon())) {
      auto count = ::read(stderr_.get(), piece, sizeof piece);
      if (count <= 0) return text;
      text.append(piece, static_cast<std::size_t>(count));
    }
    return text + "[still open]";
  }

 private:
  Fd stderr_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

class InterruptUnit : public test::Watched {
 protected:
  void SetUp() override {
    Watched::SetUp();
    board = &*shared_;
  }
  static void tell_ready() { board->ready.fetch_add(1); }
  static bool all_ready(int count = 1) {
    return test::eventually([&] { return board->ready.load() >= count; });
  }
  [[noreturn]] static void wait_for_the_signal() {
    for (;;) ::pause();
  }

 private:
  test::Shared<Board> shared_;
};

TEST_F(InterruptUnit, AnInterruptedMapEndsWithOneLineAndNoWorkerIsLeft) {
  Program program([] {
    cohort::Pool pool(
        cohort::PoolOptions{.processes = 2, .start_method = cohort::StartMethod::fork});
    InterruptNotice notice;
    pool.map({.chunksize = 1}, slow_item, std::views::iota(0, 2));
  });
  ASSERT_TRUE(test::eventually(
      [] { return board->workers[0].load() != 0 && board->workers[1].load() != 0; }));
  program.interrupt();
  int status = program.end();
  ASSERT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(WTERMSIG(status), SIGINT);
  EXPECT_EQ(program.said(), kLine);
  for (auto& worker : board->workers) EXPECT_TRUE(test::disappears(worker.load()));
}

TEST_F(InterruptUnit, OneLineIsSaidHoweverManyNoticesThreadsAndSignalsThereAre) {
  Program program([] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        InterruptNotice notice;
        tell_ready();
        wait_for_the_signal();
      });
    }
    wait_for_the_signal();
  });
  ASSERT_TRUE(all_ready(4));
  for (int i = 0; i < 3; ++i) program.interrupt();
  int status = program.end();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT) << status;
  std::string said = program.said();
  EXPECT_EQ(said, kLine);
}

TEST_F(InterruptUnit, AForkedCopySaysNothingOfItsOwn) {
  Program program([] {
    InterruptNotice notice;
    if (::fork() == 0) {
      tell_ready();
      wait_for_the_signal();
    }
    tell_ready();
    wait_for_the_signal();
  });
  ASSERT_TRUE(all_ready(2));
  program.interrupt();
  EXPECT_EQ(WTERMSIG(program.end()), SIGINT);
  EXPECT_EQ(program.said(), kLine);
}

TEST_F(InterruptUnit, AForkedCopyWithANoticeOfItsOwnSpeaksForItself) {
  Program program([] {
    auto* inherited = new InterruptNotice;
    pid_t child = ::fork();
    if (child == 0) {
      InterruptNotice own;
      delete inherited;  // counts in the parent alone
      ::raise(SIGINT);
      ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ::_exit(WIFSIGNALED(status) ? WTERMSIG(status) : 99);
  });
  int status = program.end();
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), SIGINT);
  EXPECT_EQ(program.said(), kLine);
}

TEST_F(InterruptUnit, AfterTheLastNoticeTheDispositionIsTheDefaultAgain) {
  Program program([] {
    struct sigaction now {};
    {
      InterruptNotice first;
      InterruptNotice second;
      ::sigaction(SIGINT, nullptr, &now);
      if (now.sa_handler == SIG_DFL) ::_exit(1);
    }
    ::sigaction(SIGINT, nullptr, &now);
    if (now.sa_handler != SIG_DFL) ::_exit(2);
    InterruptNotice again;
    ::sigaction(SIGINT, nullptr, &now);
    ::_exit(now.sa_handler == SIG_DFL ? 3 : 0);
  });
  EXPECT_EQ(program.end(), 0);
}

TEST_F(InterruptUnit, AHandlerOfTheProgramIsLeftAlone) {
  Program program([] {
    ::signal(SIGINT, foreign_handler);
    InterruptNotice notice;
    ::raise(SIGINT);
  });
  EXPECT_EQ(WEXITSTATUS(program.end()), 42);
  EXPECT_EQ(program.said(), "");
}

TEST_F(InterruptUnit, AnIgnoredSigintStaysIgnored) {
  Program program([] {
    ::signal(SIGINT, SIG_IGN);
    {
      InterruptNotice notice;
      ::raise(SIGINT);
    }
    ::raise(SIGINT);
  });
  EXPECT_EQ(program.end(), 0);
  EXPECT_EQ(program.said(), "");
}

TEST_F(InterruptUnit, AHandlerThatReplacedOursIsLeftInPlace) {
  Program program([] {
    {
      InterruptNotice notice;
      ::signal(SIGINT, foreign_handler);
    }
    ::raise(SIGINT);
  });
  EXPECT_EQ(WEXITSTATUS(program.end()), 42);
  EXPECT_EQ(program.said(), "");
}

TEST_F(InterruptUnit, AFullOrBrokenStderrDoesNotChangeTheEnd) {
  for (bool broken : {false, true}) {
    Program program([&] {
      auto [out, in] = cohort::os::make_pipe(4096);
      std::string filling(static_cast<std::size_t>(::fcntl(in.get(), F_GETPIPE_SZ)), 'x');
      (void)!::write(in.get(), filling.data(), filling.size());
      if (broken) out.reset();
      ::dup2(in.get(), STDERR_FILENO);
      InterruptNotice notice;
      ::raise(SIGINT);
    });
    int status = program.end();
    EXPECT_TRUE(WIFSIGNALED(status)) << status;
    EXPECT_EQ(WTERMSIG(status), SIGINT) << broken;
  }
}

TEST_F(InterruptUnit, NoticesComeAndGoInManyThreads) {
  Program program([] {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        for (int round = 0; round < 2000; ++round) InterruptNotice notice;
      });
    }
    threads.clear();
    struct sigaction now {};
    ::sigaction(SIGINT, nullptr, &now);
    ::_exit(now.sa_handler == SIG_DFL ? 0 : 1);
  });
  EXPECT_EQ(program.end(), 0);
}

}  // namespace
