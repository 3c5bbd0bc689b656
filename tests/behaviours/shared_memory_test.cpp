// The behaviours of named memory blocks and of the manager that frees them.
#include <signal.h>
#include <unistd.h>

#include <cohort/process.hpp>
#include <cohort/serialize.hpp>
#include <cohort/shared_memory.hpp>
#include <cohort/shared_memory_manager.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "processes.hpp"
#include "shared/shared_memory_maker.hpp"
#include "shared_names.hpp"

namespace {

using namespace test;
using cohort::ShareableList;
using cohort::SharedMemory;
using cohort::SharedMemoryManager;

// What a call fails with; 0: it did not.
template <class Call>
int error_of(Call&& call) {
  try {
    call();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

template <class T>
cohort::detail::HeapBytes serialized(const T& object) {
  cohort::detail::HeapWriter writer;
  cohort::detail::encode(writer, object);
  return writer.take();
}
template <class T>
T restored(std::span<const std::byte> bytes) {
  cohort::detail::Reader reader(bytes);
  return cohort::detail::decode<T>(reader);
}

class SharedMemoryBehaviour : public Watched {
 protected:
  SharedNames name;
};

// behaviour: SharedMemory/name-and-size
TEST_F(SharedMemoryBehaviour, ABlockHasTheNameAndTheSizeThatItWasMadeWith) {
  auto memory = SharedMemory::create(name("one"), 512);
  EXPECT_EQ(memory.name(), name("one"));
  EXPECT_GE(memory.size(), 512U);
  EXPECT_EQ(memory.bytes().size(), memory.size());
}

// behaviour: SharedMemory/text-form
TEST_F(SharedMemoryBehaviour, ItsTextFormShowsNameAndSize) {
  auto memory = SharedMemory::create(name("one"), 512);
  std::ostringstream text;
  text << memory;
  EXPECT_EQ(text.str(), "SharedMemory('" + name("one") + "', size=512)");
}

// behaviour: SharedMemory/attach-sees-writes
TEST_F(SharedMemoryBehaviour, AttachingShowsWhatWasWrittenBefore) {
  auto memory = SharedMemory::create(name("one"), 512);
  memory.bytes()[0] = std::byte{42};
  auto other = SharedMemory::open(name("one"));
  EXPECT_EQ(other.bytes()[0], std::byte{42});
  EXPECT_NE(other.bytes().data(), memory.bytes().data());
}

// behaviour: SharedMemory/attach-ignores-size
// behaviour: SharedMemory/attach-or-create
TEST_F(SharedMemoryBehaviour, OpenOrCreateReportsTheSizeThatThereIs) {
  auto memory = SharedMemory::open_or_create(name("one"), 512);
  EXPECT_EQ(memory.size(), 512U);
  EXPECT_EQ(SharedMemory::open_or_create(name("one"), 10).size(), 512U);
  EXPECT_EQ(SharedMemory::open_or_create(name("one"), 100'000).size(), 512U);
  EXPECT_EQ(SharedMemory::open(name("one")).size(), 512U);
}

// behaviour: SharedMemory/attach-needs-name
TEST_F(SharedMemoryBehaviour, AttachingWithoutANameIsAValueError) {
  EXPECT_THROW(SharedMemory::open(""), std::invalid_argument);
}

// behaviour: SharedMemory/name-taken
TEST_F(SharedMemoryBehaviour, ANameInUseIsTheExistsError) {
  auto memory = SharedMemory::create(name("one"), 512);
  memory.bytes()[0] = std::byte{1};
  EXPECT_EQ(error_of([&] { SharedMemory::create(name("one"), 512); }), EEXIST);
  EXPECT_EQ(SharedMemory::open(name("one")).bytes()[0], std::byte{1});
}

// behaviour: SharedMemory/name-unknown
TEST_F(SharedMemoryBehaviour, AnUnknownNameIsTheNotFoundError) {
  EXPECT_EQ(error_of([&] { SharedMemory::open(name("nobody")); }), ENOENT);
}

// behaviour: SharedMemory/unlink-twice
TEST_F(SharedMemoryBehaviour, ASecondUnlinkIsTheNotFoundError) {
  auto memory = SharedMemory::create(name("one"), 512);
  memory.unlink();
  EXPECT_EQ(error_of([&] { memory.unlink(); }), ENOENT);
  EXPECT_EQ(error_of([&] { SharedMemory::unlink(name("one")); }), ENOENT);
}

std::vector<std::string> next_names;

// behaviour: SharedMemory/generated-name-retry
TEST_F(SharedMemoryBehaviour, AGeneratedNameThatIsTakenIsTriedNoMore) {
  next_names = {name("second"), name("first"), name("first")};
  cohort::SharedMemoryMaker::name_source = [] {
    std::string next = next_names.back();
    next_names.pop_back();
    return next;
  };
  auto first = SharedMemory::create(1);
  auto second = SharedMemory::create(1);
  cohort::SharedMemoryMaker::name_source = cohort::SharedMemoryMaker::random_name;
  EXPECT_EQ(first.name(), name("first"));
  EXPECT_EQ(second.name(), name("second"));
}

// behaviour: SharedMemory/nul-in-name
TEST_F(SharedMemoryBehaviour, ANulInsideANameIsAValueError) {
  auto cut = SharedMemory::create(name("cut"), 10);
  std::string whole = name("cut") + std::string("\0rest", 5);
  EXPECT_THROW(SharedMemory::open(whole), std::invalid_argument);
  EXPECT_THROW(SharedMemory::unlink(whole), std::invalid_argument);
  EXPECT_THROW(SharedMemory::create(whole, 10), std::invalid_argument);
  EXPECT_TRUE(in_dev_shm(name("cut")));
}

// behaviour: SharedMemory/serialized-handle-same-block
TEST_F(SharedMemoryBehaviour, ARestoredHandleIsTheSameBlock) {
  auto memory = SharedMemory::create(name("one"), 512);
  auto again = restored<SharedMemory>(serialized(memory));
  EXPECT_EQ(again.name(), memory.name());
  EXPECT_EQ(again.size(), memory.size());
  again.bytes()[0] = std::byte{1};
  memory.bytes()[1] = std::byte{2};
  EXPECT_EQ(memory.bytes()[0], std::byte{1});
  EXPECT_EQ(again.bytes()[1], std::byte{2});
  EXPECT_EQ(serialized(memory).size(), serialized(SharedMemory::create(name("two"), 99999)).size());
}

// behaviour: SharedMemory/serialized-handle-of-dead-block
TEST_F(SharedMemoryBehaviour, RestoringAHandleOfADeadBlockIsTheNotFoundError) {
  auto memory = SharedMemory::create(name("one"), 512);
  auto bytes = serialized(memory);
  auto nested = serialized(std::vector{memory});
  memory.unlink();
  EXPECT_EQ(error_of([&] { restored<SharedMemory>(bytes); }), ENOENT);
  EXPECT_EQ(error_of([&] { restored<std::vector<SharedMemory>>(nested); }), ENOENT);
}

// behaviour: SharedMemory/odd-names
TEST_F(SharedMemoryBehaviour, NamesMayHaveColonsAndLineBreaks) {
  for (std::string odd : {name("a:b:c"), name("a\nb"), name("\n:end:\n"), ":" + name("start"),
                          "\n" + name("start"), name("uml\xc3\xa4ut ")}) {
    auto memory = SharedMemory::create(odd, 10);
    EXPECT_EQ(SharedMemory::open(odd).size(), 10U);
    memory.close();
    EXPECT_TRUE(in_dev_shm(odd));
    memory.unlink();
    EXPECT_FALSE(in_dev_shm(odd));
  }
}

// behaviour: SharedMemory/untracked-attach
TEST_F(SharedMemoryBehaviour, AnUnrelatedProgramThatAttachedDestroysNothing) {
  auto memory = SharedMemory::create(name("one"), 512);
  auto outcome = run_program("shared_memory_family", {"attach", name("one")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(memory.bytes()[0], std::byte{42});
  EXPECT_EQ(SharedMemory::open(name("one")).bytes()[0], std::byte{42});
}

TEST_F(SharedMemoryBehaviour, AnUntrackedBlockOutlivesItsProgram) {
  auto outcome = run_program("shared_memory_family", {"untracked", name("")});
  EXPECT_EQ(outcome.code, 0) << outcome;
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(name.all(), std::vector{name("stays")});
  SharedMemory::unlink(name("stays"));
}

// ---- children

class SharedMemoryInChildren : public EachMethod {
 protected:
  SharedNames name;
};
INSTANTIATE_TEST_SUITE_P(Methods, SharedMemoryInChildren, every_method(), method_name);

// behaviour: SharedMemory/child-by-name
TEST_P(SharedMemoryInChildren, AChildThatAttachesByNameWritesWhatItsCreatorSees) {
  auto memory = SharedMemory::create(name("one"), 512);
  Process child(
      with(),
      [](const std::string& its_name) {
        auto mine = SharedMemory::open(its_name);
        if (mine.size() != 512) std::exit(9);
        mine.bytes()[511] = std::byte{3};
        mine.close();
      },
      name("one"));
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_EQ(memory.bytes()[511], std::byte{3});
  EXPECT_TRUE(in_dev_shm(name("one")));
}

// behaviour: SharedMemory/child-by-handle
TEST_P(SharedMemoryInChildren, AHandleWorksInAChildThatMayCloseIt) {
  auto memory = SharedMemory::create(name("one"), 512);
  Process child(
      with(),
      [](SharedMemory& mine) {
        mine.bytes()[0] = std::byte{5};
        mine.close();
        if (!mine.closed()) std::exit(9);
      },
      memory);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(memory.closed());
  EXPECT_EQ(memory.bytes()[0], std::byte{5});
  EXPECT_TRUE(in_dev_shm(name("one")));
}

TEST_P(SharedMemoryInChildren, AChildMayCreateAndTheCreatorUnlink) {
  Process child(
      with(),
      [](const std::string& its) { SharedMemory::create(its, 9).bytes()[8] = std::byte{8}; },
      name("childs"));
  child.start();
  child.join();
  ASSERT_EQ(child.exitcode(), 0);
  auto memory = SharedMemory::open(name("childs"));
  EXPECT_EQ(memory.bytes()[8], std::byte{8});
  memory.unlink();
}

TEST_P(SharedMemoryInChildren, AChildMayUnlinkWhatItsCreatorMade) {
  auto memory = SharedMemory::create(name("one"), 9);
  Process child(
      with(), [](const SharedMemory& its) { its.unlink(); }, memory);
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), 0);
  EXPECT_FALSE(in_dev_shm(name("one")));
  memory.bytes()[8] = std::byte{1};
  EXPECT_EQ(error_of([&] { memory.unlink(); }), ENOENT);
}

// ---- the manager

// behaviour: SharedMemoryManager/shutdown-frees-all
TEST_F(SharedMemoryBehaviour, ShutdownFreesAllThatWasMadeThroughAManager) {
  SharedMemoryManager manager;
  auto memory = manager.shared_memory(32);
  auto list = manager.shareable_list({1, 2, "three"});
  auto other = manager.shareable_list(std::vector<cohort::ShareableItem>{4.5});
  std::vector<std::string> made{memory.name(), list.shm().name(), other.shm().name()};
  for (const auto& one : made) EXPECT_TRUE(in_dev_shm(one));
  manager.shutdown();
  for (const auto& one : made) {
    EXPECT_FALSE(in_dev_shm(one));
    EXPECT_EQ(error_of([&] { SharedMemory::open(one); }), ENOENT);
  }
  manager.shutdown();
  EXPECT_THROW(manager.shared_memory(10), cohort::InvalidStateError);
  EXPECT_THROW(manager.shareable_list({1}), cohort::InvalidStateError);
}

// behaviour: SharedMemoryManager/scope-frees-all
TEST_F(SharedMemoryBehaviour, LeavingAManagersScopeFreesAll) {
  std::string memory;
  std::string list;
  {
    SharedMemoryManager manager;
    memory = manager.shared_memory(128).name();
    list = manager.shareable_list({0, 1, 2}).shm().name();
    EXPECT_TRUE(in_dev_shm(memory));
    EXPECT_TRUE(in_dev_shm(list));
  }
  EXPECT_FALSE(in_dev_shm(memory));
  EXPECT_FALSE(in_dev_shm(list));
}

// behaviour: SharedMemoryManager/server-ignores-sigint
TEST_P(SharedMemoryInChildren, AManagerServesOnAfterItsServerGotSigint) {
  SharedMemoryManager manager;
  auto before = manager.shared_memory(10);
  pid_t server = cohort::fork_server_pid().value();
  ::kill(server, SIGINT);
  auto after = manager.shared_memory(10);
  Process child(
      with(), [](SharedMemory& memory) { memory.bytes()[0] = std::byte{1}; }, after);
  child.start();
  child.join();
  EXPECT_EQ(after.bytes()[0], std::byte{1});
  EXPECT_EQ(cohort::fork_server_pid(), server);
  EXPECT_TRUE(in_dev_shm(before.name()));
  manager.shutdown();
  EXPECT_FALSE(in_dev_shm(before.name()));
}

// behaviour: SharedMemoryManager/parent-sigint-unchanged
TEST_P(SharedMemoryInChildren, SigintHasItsNormalEffectBesideAManager) {
  SharedMemoryManager manager;
  auto memory = manager.shared_memory(10);
  struct sigaction action {};
  ::sigaction(SIGINT, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
  Process child(with(), [] {
    SharedMemoryManager its_own;
    auto its_memory = its_own.shared_memory(10);
    ::raise(SIGINT);
    std::exit(9);
  });
  child.start();
  child.join();
  EXPECT_EQ(child.exitcode(), -SIGINT);
  // What its manager made goes with the program; it could not tell the name.
}

// behaviour: SharedMemoryManager/one-tracker
TEST_F(SharedMemoryBehaviour, AManagerUsesTheProgramsTrackerAndShutsDownClean) {
  pid_t server = cohort::fork_server_pid().value();
  auto blocks = Space::here().heap().blocks_held();
  {
    SharedMemoryManager manager;
    manager.shareable_list({0, 1, 2});
    manager.shared_memory(10);
    EXPECT_EQ(cohort::fork_server_pid(), server);
    EXPECT_EQ(Space::here().heap().blocks_held(), blocks + 2);
  }
  EXPECT_EQ(Space::here().heap().blocks_held(), blocks);
}

}  // namespace
