#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cohort/process.hpp>
#include <cohort/serialize.hpp>
#include <cohort/shared_memory.hpp>
#include <cohort/shared_memory_manager.hpp>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "arena/space.hpp"
#include "os/named_memory.hpp"
#include "os/step.hpp"
#include "processes.hpp"
#include "shared/shared_memory_maker.hpp"
#include "shared_names.hpp"

namespace {

using cohort::SharedMemory;
using cohort::SharedMemoryMaker;
using cohort::SharedMemoryManager;
using test::eventually;
using test::in_dev_shm;

std::size_t blocks_held() { return test::Space::here().heap().blocks_held(); }

// What a call fails with; 0: it did not.
template <class Call>
int error_of(Call&& call, std::string* text = nullptr) {
  try {
    call();
  } catch (const std::system_error& error) {
    if (text) *text = error.what();
    return error.code().value();
  }
  return 0;
}

class SharedMemoryTest : public test::Watched {
 protected:
  test::SharedNames name;
};

TEST_F(SharedMemoryTest, IsZeroedAndExactlyAsLargeAsAsked) {
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{4095}, std::size_t{4097}, std::size_t{1} << 20}) {
    auto memory = SharedMemory::create(name("sized"), bytes);
    EXPECT_EQ(memory.size(), bytes);
    EXPECT_EQ(memory.bytes().size(), bytes);
    EXPECT_TRUE(std::ranges::all_of(memory.bytes(), [](std::byte b) { return b == std::byte{0}; }));
    EXPECT_EQ(std::filesystem::file_size("/dev/shm/" + name("sized")), bytes);
    EXPECT_EQ(SharedMemory::open(name("sized")).size(), bytes);
    memory.unlink();
  }
}

TEST_F(SharedMemoryTest, IsForItsOwnerOnly) {
  auto memory = SharedMemory::create(name("mode"), 10);
  struct stat status {};
  ASSERT_EQ(::stat(("/dev/shm/" + memory.name()).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(SharedMemoryTest, ClosingTakesOnlyThisViewAway) {
  auto memory = SharedMemory::create(name("closed"), 10);
  auto copy = memory;
  auto other = SharedMemory::open(name("closed"));
  memory.close();
  memory.close();
  EXPECT_TRUE(memory.closed());
  EXPECT_TRUE(copy.closed());  // the same object
  EXPECT_THROW(memory.bytes(), cohort::InvalidStateError);
  EXPECT_THROW(copy.bytes(), cohort::InvalidStateError);
  EXPECT_FALSE(other.closed());
  other.bytes()[3] = std::byte{3};
  EXPECT_EQ(SharedMemory::open(name("closed")).bytes()[3], std::byte{3});
  memory.unlink();
  EXPECT_FALSE(in_dev_shm(name("closed")));
}

TEST_F(SharedMemoryTest, DroppingAllHandlesKeepsTheBlock) {
  { SharedMemory::create(name("dropped"), 10).bytes()[1] = std::byte{5}; }
  EXPECT_EQ(SharedMemory::open(name("dropped")).bytes()[1], std::byte{5});
}

TEST_F(SharedMemoryTest, ViewsOutliveTheName) {
  auto memory = SharedMemory::create(name("unlinked"), 10);
  auto other = SharedMemory::open(name("unlinked"));
  other.unlink();
  memory.bytes()[0] = std::byte{9};
  EXPECT_EQ(other.bytes()[0], std::byte{9});
}

TEST_F(SharedMemoryTest, UnlinkSparesANewBlockOfTheSameName) {
  auto old = SharedMemory::create(name("again"), 10);
  old.unlink();
  auto fresh = SharedMemory::create(name("again"), 20);
  EXPECT_EQ(error_of([&] { old.unlink(); }), ENOENT);
  EXPECT_TRUE(in_dev_shm(name("again")));
  fresh.unlink();
}

TEST_F(SharedMemoryTest, RefusesNamesThatTheSystemWouldMisread) {
  using Call = void (*)(std::string_view);
  for (Call call : {Call([](std::string_view n) { SharedMemory::create(n, 10); }),
                    Call([](std::string_view n) { SharedMemory::open(n); }),
                    Call([](std::string_view n) { SharedMemory::unlink(n); }),
                    Call([](std::string_view n) { SharedMemory::open_or_create(n, 10); })}) {
    for (std::string bad : {std::string(), std::string("a\0b", 3), std::string("\0", 1),
                            std::string("a/b"), std::string("/a"), std::string(256, 'x')})
      EXPECT_THROW(call(bad), std::invalid_argument) << bad.size();
  }
  std::string longest = name("") + std::string(255 - name("").size(), 'x');
  auto memory = SharedMemory::create(longest, 10);
  EXPECT_EQ(SharedMemory::open(longest).name(), longest);
  memory.unlink();
  EXPECT_FALSE(in_dev_shm(longest));
}

TEST_F(SharedMemoryTest, RefusesNoBytesAndMoreThanThereCanBe) {
  EXPECT_THROW(SharedMemory::create(name("none"), 0), std::invalid_argument);
  EXPECT_THROW(SharedMemory::create(std::size_t{0}), std::invalid_argument);
  EXPECT_THROW(SharedMemory::open_or_create(name("none"), 0), std::invalid_argument);
  EXPECT_EQ(error_of([&] { SharedMemory::create(name("much"), SIZE_MAX); }), EFBIG);
  // More than there are addresses.
  EXPECT_EQ(error_of([&] { SharedMemory::create(name("much"), std::size_t{1} << 60); }), ENOMEM);
  EXPECT_TRUE(name.all().empty());
}

TEST_F(SharedMemoryTest, ErrorsTellTheCallAndTheName) {
  std::string text;
  EXPECT_EQ(error_of([&] { SharedMemory::open(name("missing")); }, &text), ENOENT);
  EXPECT_NE(text.find("shm_open"), text.npos) << text;
  EXPECT_NE(text.find(name("missing")), text.npos) << text;
  auto memory = SharedMemory::create(name("taken"), 10);
  EXPECT_EQ(error_of([&] { SharedMemory::create(name("taken"), 10); }, &text), EEXIST);
  EXPECT_NE(text.find("shm_open"), text.npos) << text;
  EXPECT_NE(text.find(name("taken")), text.npos) << text;
  EXPECT_EQ(error_of([&] { SharedMemory::unlink(name("missing")); }, &text), ENOENT);
  EXPECT_NE(text.find("shm_unlink"), text.npos) << text;
  EXPECT_NE(text.find(name("missing")), text.npos) << text;
}

TEST_F(SharedMemoryTest, ABlockThatHasNoBytesYetIsNotOpened) {
  std::ofstream("/dev/shm/" + name("empty"));
  EXPECT_THROW(SharedMemory::open(name("empty")), cohort::Error);
}

TEST_F(SharedMemoryTest, AMovedFromHandleSaysSo) {
  auto memory = SharedMemory::create(name("moved"), 10);
  auto other = std::move(memory);
  EXPECT_THROW(memory.bytes(), cohort::Error);
  EXPECT_THROW(memory.name(), cohort::Error);
  EXPECT_EQ(other.name(), name("moved"));
}

TEST_F(SharedMemoryTest, WithoutAFolderTheMessageNamesTheWayOut) {
  struct Restore {
    const char* before = cohort::os::named_memory_folder;
    ~Restore() { cohort::os::named_memory_folder = before; }
  } restore;
  for (bool nameless : {true, false}) {
    SharedMemoryMaker::nameless_first = nameless;
    std::string text;
    cohort::os::named_memory_folder = "/nonexistent/folder";
    EXPECT_EQ(error_of([] { SharedMemory::create("x", 10); }, &text), ENOENT);
    EXPECT_NE(text.find("/nonexistent/folder is missing: mount a tmpfs there"), text.npos) << text;
    EXPECT_EQ(error_of([] { SharedMemory::open("x"); }, &text), ENOENT);
    EXPECT_NE(text.find("/nonexistent/folder/x"), text.npos) << text;
  }
  SharedMemoryMaker::nameless_first = true;
  cohort::os::named_memory_folder = "/proc";
  EXPECT_NE(error_of([] { SharedMemory::create("x", 10); }), 0);
}

TEST_F(SharedMemoryTest, WithoutDescriptorsNothingIsLeft) {
  SharedMemory::create(name("warm"), 10).unlink();
  std::size_t before = blocks_held();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlimit none{0, limit.rlim_max};
  std::string text;
  for (bool nameless : {true, false}) {
    SharedMemoryMaker::nameless_first = nameless;
    ::setrlimit(RLIMIT_NOFILE, &none);
    EXPECT_EQ(error_of([&] { SharedMemory::create(name("x"), 10); }, &text), EMFILE);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    EXPECT_NE(text.find("ulimit -n"), text.npos) << text;
  }
  SharedMemoryMaker::nameless_first = true;
  EXPECT_TRUE(name.all().empty());
  EXPECT_EQ(blocks_held(), before);
}

// Where the file system has no files without a name.
TEST_F(SharedMemoryTest, DraftsServeWhereFilesMustHaveANameFromTheStart) {
  SharedMemoryMaker::nameless_first = false;
  {
    auto memory = SharedMemory::create(name("drafted"), 4000);
    EXPECT_EQ(SharedMemory::open(name("drafted")).size(), 4000U);
    EXPECT_EQ(error_of([&] { SharedMemory::create(name("drafted"), 10); }), EEXIST);
    SharedMemory::create(name("untracked"), 10, {.track = false}).unlink();
    memory.unlink();
  }
  SharedMemoryMaker::nameless_first = true;
  EXPECT_TRUE(name.all().empty());
  EXPECT_TRUE(test::names_with(".cohort-").empty());
}

// ---- names that are generated

int names_given = 0;
std::string given_prefix;

TEST_F(SharedMemoryTest, GeneratedNamesAreLikePythons) {
  auto memory = SharedMemory::create(10);
  EXPECT_EQ(memory.name().size(), 12U);
  EXPECT_TRUE(memory.name().starts_with("psm_"));
  EXPECT_EQ(memory.name().find_first_not_of("0123456789abcdef", 4), std::string::npos);
  EXPECT_NE(SharedMemory::create(10).name(), memory.name());
  for (const auto& left : test::names_with("psm_")) {
    if (left == memory.name()) memory.unlink();
  }
}

TEST_F(SharedMemoryTest, AGeneratedNameThatIsTakenIsPassedOver) {
  names_given = 0;
  given_prefix = name.prefix();
  SharedMemoryMaker::name_source = [] { return given_prefix + std::to_string(names_given++ / 2); };
  auto first = SharedMemory::create(10);
  auto second = SharedMemory::create(20);
  SharedMemoryMaker::name_source = SharedMemoryMaker::random_name;
  EXPECT_EQ(first.name(), name("0"));
  EXPECT_EQ(second.name(), name("1"));
  EXPECT_EQ(names_given, 3);
}

// ---- the records behind tracked names

TEST_F(SharedMemoryTest, CreatingAndUnlinkingDoesNotGrowTheArena) {
  SharedMemory::create(name("warm"), 10).unlink();
  std::size_t before = blocks_held();
  int rounds = test::kSanitized ? 5'000 : 100'000;
  for (int i = 0; i < rounds; ++i) SharedMemory::create(name("one"), 10).unlink();
  EXPECT_EQ(blocks_held(), before);
}

TEST_F(SharedMemoryTest, NamesUnlinkedByAnotherHandleDoNotPileUp) {
  SharedMemory::create(name("warm"), 10).unlink();
  std::size_t before = blocks_held();
  for (int i = 0; i < 2'000; ++i) {
    SharedMemory::create(name("one"), 10);
    SharedMemory::unlink(name("one"));
  }
  EXPECT_LE(blocks_held(), before + 64);
}

TEST_F(SharedMemoryTest, NamesThatAChildMadeAndThisProcessUnlinksDoNotPileUp) {
  auto space_for = [&](int i) { return name(std::to_string(i)); };
  std::size_t before = blocks_held();
  for (int round = 0; round < 5; ++round) {
    test::Member child([&] {
      for (int i = 0; i < 200; ++i) SharedMemory::create(space_for(i), 10);
    });
    ASSERT_EQ(child.wait(), 0);
    ASSERT_TRUE(child.bury());
    for (int i = 0; i < 200; ++i) SharedMemory::open(space_for(i)).unlink();
  }
  EXPECT_LE(blocks_held(), before + 250);  // of 1,000
}

TEST_F(SharedMemoryTest, UntrackedBlocksHaveNoRecord) {
  std::size_t before = blocks_held();
  auto memory = SharedMemory::create(name("untracked"), 10, {.track = false});
  EXPECT_EQ(blocks_held(), before);
  memory.unlink();
}

TEST_F(SharedMemoryTest, ACreatorThatIsKilledLeavesItsBlocksToTheProgram) {
  test::Member child([&] {
    SharedMemory::create(name("kept"), 10).bytes()[0] = std::byte{8};
    test::die_at("names.noted");
    SharedMemory::create(name("never"), 10);
  });
  EXPECT_EQ(child.wait(), -SIGKILL);
  EXPECT_TRUE(child.bury());
  EXPECT_EQ(name.all(), std::vector{name("kept")});
  EXPECT_EQ(SharedMemory::open(name("kept")).bytes()[0], std::byte{8});
}

TEST_F(SharedMemoryTest, ThreadsThatCreateTheSameNameAgreeOnOne) {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> created{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        if (error_of([&] { SharedMemory::create(name("race"), 10); }) == 0) ++created;
        auto memory = SharedMemory::open_or_create(name("race"), 20);
        EXPECT_EQ(memory.size(), 10U);
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(created, 1);
    SharedMemory::unlink(name("race"));
  }
}

TEST_F(SharedMemoryTest, NobodySeesAHalfMadeBlock) {
  std::atomic<bool> stop{false};
  std::thread maker([&] {
    while (!stop) SharedMemory::create(name("whole"), 5000).unlink();
  });
  int seen = 0;
  auto deadline = test::soon();
  while (seen < 200 && test::Clock::now() < *deadline) {
    int error = error_of([&] {
      EXPECT_EQ(SharedMemory::open(name("whole")).size(), 5000U);
      ++seen;
    });
    EXPECT_TRUE(error == 0 || error == ENOENT) << error;
  }
  stop = true;
  maker.join();
  EXPECT_EQ(seen, 200);
}

// ---- the manager

TEST_F(SharedMemoryTest, AManagerThatWasMovedStillFreesAll) {
  std::string made;
  {
    SharedMemoryManager manager;
    made = manager.shared_memory(10).name();
    SharedMemoryManager other = std::move(manager);
    EXPECT_THROW(manager.shared_memory(10), cohort::InvalidStateError);
    EXPECT_TRUE(in_dev_shm(made));
    SharedMemoryManager third;
    std::string thirds = third.shared_memory(10).name();
    third = std::move(other);
    EXPECT_TRUE(in_dev_shm(made));
  }
  EXPECT_FALSE(in_dev_shm(made));
}

TEST_F(SharedMemoryTest, AManagerBearsThatSomebodyElseUnlinked) {
  SharedMemoryManager manager;
  auto gone = manager.shared_memory(10);
  auto there = manager.shared_memory(10);
  gone.unlink();
  manager.shutdown();
  EXPECT_FALSE(in_dev_shm(there.name()));
}

TEST_F(SharedMemoryTest, ACopyOfAManagerInAForkedChildFreesNothing) {
  auto manager = std::make_unique<SharedMemoryManager>();
  auto memory = manager->shared_memory(10);
  auto child = test::Process::forked([&] { manager.reset(); });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_TRUE(in_dev_shm(memory.name()));
  manager->shutdown();
  EXPECT_FALSE(in_dev_shm(memory.name()));
}

}  // namespace
