#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "member.hpp"
#include "processes.hpp"
#include "schedule/trace.hpp"

namespace {

using namespace std::chrono_literals;
using cohort::trace::Life;
using cohort::trace::Recorder;
using cohort::trace::Task;
using cohort::trace::Time;

// Just enough JSON to say whether a text is right, and to look up members of flat objects.
class Json {
 public:
  explicit Json(std::string_view text) : text_(text) {}

  bool whole_value() {
    bool fine = value();
    blanks();
    return fine && at_ == text_.size();
  }

 private:
  void blanks() {
    while (at_ < text_.size() && std::string_view(" \n\t\r").find(text_[at_]) != text_.npos) ++at_;
  }
  bool take(char c) {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool list(char end, bool pairs) {
    if (take(end)) return true;
    do {
      if (pairs && !(string() && take(':'))) return false;
      if (!value()) return false;
    } while (take(','));
    return take(end);
  }
  bool string() {
    if (!take('"')) return false;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (static_cast<unsigned char>(text_[at_]) < ' ') return false;
      if (text_[at_] != '\\') continue;
      if (++at_ == text_.size()) return false;
      if (text_[at_] == 'u') {
        auto hex = text_.substr(at_ + 1, 4);
        if (hex.size() != 4 || !std::all_of(hex.begin(), hex.end(), ::isxdigit)) return false;
      } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
        return false;
      }
    }
    return take('"');
  }
  bool number() {
    std::size_t from = at_;
    while (at_ < text_.size() && (::isdigit(text_[at_]) || text_[at_] == '.')) ++at_;
    return at_ > from && text_[from] != '.' && text_[at_ - 1] != '.';
  }
  bool value() {
    blanks();
    if (take('{')) return list('}', true);
    if (take('[')) return list(']', false);
    if (at_ < text_.size() && text_[at_] == '"') return string();
    return number();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// The events of a trace that may lack its end, each checked.
std::vector<std::string> events_in(std::string_view text) {
  std::vector<std::string> events;
  EXPECT_EQ(text.substr(0, 2), "[\n");
  text.remove_prefix(std::min<std::size_t>(2, text.size()));
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    EXPECT_NE(end, std::string_view::npos) << "a torn line: " << text.substr(0, 200);
    if (end == std::string_view::npos) break;
    std::string line(text.substr(0, end));
    text.remove_prefix(end + 1);
    if (line.find_first_not_of(' ') == std::string::npos) continue;
    if (line == "]" && text.empty()) break;
    if (line.back() == ',') line.pop_back();
    EXPECT_TRUE(Json(line).whole_value()) << line;
    events.push_back(line);
  }
  return events;
}

// The event that contains all of these.
std::string event_with(const std::vector<std::string>& events, std::vector<std::string> parts) {
  for (const auto& event : events) {
    if (std::all_of(parts.begin(), parts.end(),
                    [&](const std::string& part) { return event.find(part) != std::string::npos; }))
      return event;
  }
  return "none of " + std::to_string(events.size()) + " events";
}
std::string member_of(const std::string& event, const std::string& name) {
  auto at = event.find("\"" + name + "\":");
  if (at == std::string::npos) return "missing";
  at += name.size() + 3;
  return event.substr(at, event.find_first_of(",}", at) - at);
}

Time at(std::chrono::nanoseconds since_start) { return Time(1000s) + since_start; }

Task some_task(int pool, std::uint32_t worker = 0) {
  return {"square", pool, worker, 77, at(1us), at(3500ns), at(10us), 16, 128, "ok"};
}

class TraceUnit : public test::Watched {
 protected:
  void SetUp() override {
    Watched::SetUp();
    ::setenv("COHORT_TRACE", (folder_ / "run.json").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("COHORT_TRACE");
    Watched::TearDown();
  }

  // Runs `body` in a process that the test forks, and leaves how it ended in `status_`. Answers
  // what is in the trace of that process.
  template <class Body>
  std::string traced(Body&& body) {
    pid_ = ::fork();
    if (pid_ == 0) {
      body();
      std::exit(0);  // a normal end
    }
    ::waitpid(pid_, &status_, 0);
    return test::content_of(path());
  }
  std::filesystem::path path() const { return folder_ / ("run." + std::to_string(pid_) + ".json"); }

  test::Folder folder_;
  pid_t pid_ = 0;
  int status_ = 0;
};

TEST_F(TraceUnit, WithoutTheVariableThereIsNoRecorder) {
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    traced([&] {
      value ? ::setenv("COHORT_TRACE", value, 1) : ::unsetenv("COHORT_TRACE");
      if (Recorder::current() || Recorder::current()) ::_exit(1);
    });
    EXPECT_EQ(status_, 0);
  }
}

TEST_F(TraceUnit, ATaskTellsWhereWhenAndHowItRan) {
  auto text = traced([] {
    auto* recorder = Recorder::current();
    recorder->task(some_task(recorder->new_pool(), 2));
  });
  EXPECT_EQ(status_, 0);
  EXPECT_TRUE(Json(text).whole_value()) << text;
  auto task = event_with(events_in(text), {"\"square\""});
  EXPECT_EQ(member_of(task, "ph"), "\"X\"") << task;
  EXPECT_EQ(member_of(task, "pid"), "1");
  EXPECT_EQ(member_of(task, "tid"), "3");
  EXPECT_EQ(member_of(task, "ts"), "1000000003.500");
  EXPECT_EQ(member_of(task, "dur"), "6.500");
  EXPECT_EQ(member_of(task, "waited_us"), "2.500");
  EXPECT_EQ(member_of(task, "items"), "16");
  EXPECT_EQ(member_of(task, "bytes"), "128");
  EXPECT_EQ(member_of(task, "outcome"), "\"ok\"");
  EXPECT_NE(task.find("\"pid\":77"), std::string::npos) << task;
}

TEST_F(TraceUnit, EachPoolAndEachWorkerHasANamedRow) {
  auto events = events_in(traced([] {
    auto* recorder = Recorder::current();
    int first = recorder->new_pool();
    int second = recorder->new_pool();
    recorder->task(some_task(first, 1));
    recorder->task(some_task(second, 0));
    recorder->task(some_task(first, 1));
  }));
  EXPECT_EQ(member_of(event_with(events, {"process_name", "\"pool 2 of "}), "pid"), "2");
  for (const char* worker : {"\"worker 0\"", "\"worker 1\""}) {
    auto count = std::count_if(events.begin(), events.end(), [&](const std::string& event) {
      return event.find(worker) != std::string::npos &&
             event.find("\"pid\":1,") != std::string::npos;
    });
    EXPECT_EQ(count, 1) << worker;
  }
  auto order = event_with(events, {"thread_sort_index", "\"tid\":2,"});
  EXPECT_EQ(member_of(order, "sort_index"), "2") << order;
}

TEST_F(TraceUnit, AWorkersLivesAreOnARowBelowItsTasks) {
  auto events = events_in(traced([] {
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    recorder->life({pool, 0, 77, at(0us), at(20us), "killed by SIGKILL"});
  }));
  auto life = event_with(events, {"process 77: killed by SIGKILL"});
  EXPECT_EQ(member_of(life, "ph"), "\"X\"") << life;
  EXPECT_EQ(member_of(life, "dur"), "20.000") << life;
  auto row = member_of(life, "tid");
  EXPECT_NE(row, "1");
  auto name = event_with(events, {"thread_name", "\"tid\":" + row + ","});
  EXPECT_NE(name.find("worker 0: process"), std::string::npos) << name;
}

TEST_F(TraceUnit, NamesAreEscapedAndLongOnesCut) {
  std::string odd = "a\"b\\c\n\x01\xff\xc3\xa4\xed\xa0\x80";
  std::string quotes(5000, '"');
  std::string controls(5000, '\x1f');
  auto text = traced([&] {
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    for (const auto& name : {odd, quotes, controls}) {
      auto task = some_task(pool);
      task.name = name;
      recorder->task(task);
      task.outcome = name;
      recorder->task(task);
      recorder->life({pool, 0, 77, at(0us), at(1us), name});
    }
  });
  EXPECT_EQ(status_, 0);
  EXPECT_TRUE(Json(text).whole_value());
  auto task = event_with(events_in(text), {"a\\\"b\\\\c"});
  EXPECT_NE(task.find("c\\u000a\\u0001\\ufffd\xc3\xa4\\ufffd"), std::string::npos) << task;
  EXPECT_LT(text.size(), 40'000U);
}

TEST_F(TraceUnit, TimesOutOfOrderAreNoNegativeDurations) {
  auto events = events_in(traced([] {
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    auto never = some_task(pool);
    never.name = "never begun";
    never.started = Time{};
    recorder->task(never);
    auto early = some_task(pool);
    early.name = "early";
    early.started = at(0us);
    early.ended = at(0us);
    recorder->task(early);
  }));
  auto never = event_with(events, {"never begun"});
  EXPECT_EQ(member_of(never, "dur"), "0.000") << never;
  EXPECT_EQ(member_of(never, "waited_us"), "9.000") << never;
  auto early = event_with(events, {"early"});
  EXPECT_EQ(member_of(early, "dur"), "0.000") << early;
  EXPECT_EQ(member_of(early, "waited_us"), "0.000") << early;
}

TEST_F(TraceUnit, WhatNamesAnUnknownPoolIsDropped) {
  auto text = traced([] {
    auto* recorder = Recorder::current();
    recorder->new_pool();
    for (int pool : {-1, 0, 7}) recorder->task(some_task(pool));
  });
  EXPECT_EQ(status_, 0);
  EXPECT_TRUE(Json(text).whole_value());
  EXPECT_EQ(text.find("square"), std::string::npos);
}

TEST_F(TraceUnit, TheTraceOfAKilledProcessHasWholeLinesOfAllThatWasFlushed) {
  auto text = traced([] {
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    for (int i = 0; i < 3000; ++i) recorder->task(some_task(pool));
    recorder->flush();
    recorder->task(some_task(pool));
    ::raise(SIGKILL);
  });
  auto events = events_in(text);
  // Where a write may be cut short, a line ends.
  for (std::size_t last = 4095; last < text.size(); last += 4096) EXPECT_EQ(text[last], '\n');
  EXPECT_GE(std::count_if(events.begin(), events.end(),
                          [](const auto& event) { return event.find("square") != event.npos; }),
            3000);
}

TEST_F(TraceUnit, AKillAtAnyMomentLeavesWholeLines) {
  test::Shared<std::atomic<std::uint64_t>> count;
  for (std::uint64_t after : {1, 300, 700, 1700, 5000}) {
    *count = 0;
    pid_ = ::fork();
    if (pid_ == 0) {
      auto* recorder = Recorder::current();
      int pool = recorder->new_pool();
      for (;;) {
        recorder->task(some_task(pool, count->fetch_add(1) % 4));
        if (count->load() % 1000 == 0) recorder->flush();
      }
    }
    EXPECT_TRUE(test::eventually([&] { return count->load() >= after; }));
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, &status_, 0);
    auto text = test::content_of(path());
    if (!text.empty()) events_in(text);
  }
}

TEST_F(TraceUnit, WhatIsRecordedReachesTheFileWithoutAFlush) {
  test::Shared<std::atomic<int>> stop;
  pid_ = ::fork();
  if (pid_ == 0) {
    auto* recorder = Recorder::current();
    recorder->task(some_task(recorder->new_pool()));
    test::eventually([&] { return stop->load() != 0; });
    ::_exit(0);
  }
  EXPECT_TRUE(test::eventually(
      [&] { return test::content_of(path()).find("square") != std::string::npos; }));
  *stop = 1;
  ::waitpid(pid_, &status_, 0);
}

TEST_F(TraceUnit, ManyThreadsRecordAtOnce) {
  auto text = traced([] {
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    std::vector<std::jthread> threads;
    for (std::uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([=] {
        for (int i = 0; i < 1000; ++i) recorder->task(some_task(pool, t));
      });
    }
  });
  EXPECT_TRUE(Json(text).whole_value());
  auto events = events_in(text);
  for (const char* row : {"1", "2", "3", "4"}) {
    EXPECT_EQ(std::count_if(events.begin(), events.end(),
                            [&](const auto& event) {
                              return event.find("square") != event.npos &&
                                     member_of(event, "tid") == row;
                            }),
              1000);
  }
}

TEST_F(TraceUnit, AForkedChildHasARecorderAndAFileOfItsOwn) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer allows no new thread after the fork of a threaded process";
#endif
  test::Shared<std::atomic<pid_t>> told;
  auto text = traced([&] {
    auto* ours = Recorder::current();
    int pool = ours->new_pool();
    ours->task(some_task(pool));
    pid_t child = ::fork();
    if (child == 0) {
      auto* own = Recorder::current();
      if (own == ours) ::_exit(1);
      auto task = some_task(own->new_pool());
      task.name = "cube";
      own->task(task);
      own->flush();
      ::_exit(0);
    }
    *told = child;
    int status = -1;
    ::waitpid(child, &status, 0);
    if (status != 0 || Recorder::current() != ours) ::_exit(1);
  });
  pid_t grandchild = told->load();
  EXPECT_EQ(status_, 0);
  EXPECT_TRUE(Json(text).whole_value()) << text;
  EXPECT_EQ(text.find("cube"), std::string::npos);
  auto other = test::content_of(folder_ / ("run." + std::to_string(grandchild) + ".json"));
  EXPECT_NE(other.find("cube"), std::string::npos);
  EXPECT_EQ(other.find("square"), std::string::npos);
}

TEST_F(TraceUnit, AMemberOfAnotherProcessesFamilyWritesBesideTheFile) {
  test::Member member([] {
    auto* recorder = Recorder::current();
    recorder->task(some_task(recorder->new_pool()));
    recorder->flush();
    return std::filesystem::exists(std::getenv("COHORT_TRACE")) ? 1 : 0;
  });
  EXPECT_EQ(member.wait(), 0);
  bool found = false;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "")) {
    auto name = entry.path().filename().string();
    found |= name.starts_with("run.") && name.ends_with(".json") && name != "run.json";
  }
  EXPECT_TRUE(found);
}

TEST_F(TraceUnit, AFileThatCannotBeWrittenIsOneLineOnStderr) {
  ::setenv("COHORT_TRACE", (folder_ / "missing/run.json").c_str(), 1);
  int streams[2];
  ASSERT_EQ(::pipe2(streams, O_CLOEXEC), 0);
  traced([&] {
    ::dup2(streams[1], STDERR_FILENO);
    auto* recorder = Recorder::current();
    for (int i = 0; i < 3; ++i) recorder->task(some_task(recorder->new_pool()));
    recorder->flush();
  });
  EXPECT_EQ(status_, 0);
  ::close(streams[1]);
  std::string said(4096, ' ');
  auto count = ::read(streams[0], said.data(), said.size());
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  EXPECT_EQ(::read(streams[0], said.data(), 0), 0);
  ::close(streams[0]);
  EXPECT_NE(said.find("cohort: no trace in "), std::string::npos) << said;
  EXPECT_NE(said.find("No such file or directory"), std::string::npos) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
}

TEST_F(TraceUnit, AFullDiskLeavesWholeLinesAndOneLineOnStderr) {
  int streams[2];
  ASSERT_EQ(::pipe2(streams, O_CLOEXEC), 0);
  auto text = traced([&] {
    ::dup2(streams[1], STDERR_FILENO);
    auto* recorder = Recorder::current();
    int pool = recorder->new_pool();
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{300'000, 300'000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 3000; ++i) recorder->task(some_task(pool));
    recorder->flush();
  });
  ::close(streams[1]);
  std::string said(4096, ' ');
  auto count = ::read(streams[0], said.data(), said.size());
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  ::close(streams[0]);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_GT(events_in(text).size(), 100U);
}

// Run again by the tests below, as a program with a family of its own.
TEST(TraceProgram, DISABLED_RecordsOneTask) {
  auto* recorder = Recorder::current();
  ASSERT_NE(recorder, nullptr);
  recorder->task(some_task(recorder->new_pool()));
}
test::Outcome run_traced_program() {
  return test::run_file("/proc/self/exe", {"--gtest_filter=TraceProgram.DISABLED_RecordsOneTask",
                                           "--gtest_also_run_disabled_tests"});
}

TEST_F(TraceUnit, AProgramWritesTheNamedFileAnewAndClosesIt) {
  for (int run = 0; run < 2; ++run) {
    EXPECT_EQ(run_traced_program().code, 0);
    auto text = test::content_of(folder_ / "run.json");
    EXPECT_TRUE(Json(text).whole_value()) << text;
    auto events = events_in(text);
    EXPECT_EQ(std::count_if(events.begin(), events.end(),
                            [](const auto& event) { return event.find("square") != event.npos; }),
              1);
  }
}

TEST_F(TraceUnit, AFileInUseByAnotherProgramIsLeftToIt) {
  cohort::os::Fd file(::open((folder_ / "run.json").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), "mine", 4), 4);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(file.get(), F_SETLK, &whole), 0);
  EXPECT_EQ(run_traced_program().code, 0);
  char content[8] = {};
  EXPECT_EQ(::pread(file.get(), content, sizeof content, 0), 4);
  EXPECT_EQ(std::string(content), "mine");
  auto files = std::filesystem::directory_iterator(folder_ / "");
  EXPECT_EQ(std::distance(begin(files), end(files)), 2);
}

}  // namespace
