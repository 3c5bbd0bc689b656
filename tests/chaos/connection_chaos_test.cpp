// Pipes whose ends are killed at random instants, with handles and descriptors in their messages.
//
// What holds: what send() said it sent comes out, whole and in order; what was not received is
// given back when the ends are gone, the descriptors in it included; and a descriptor that waits in
// the bank for somebody alive stays there whoever is killed beside it.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cohort/connection.hpp>
#include <cohort/value.hpp>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "arena_use.hpp"
#include "chaos.hpp"
#include "launch/descriptor_bank.hpp"
#include "os/stream.hpp"

namespace {

using namespace test;
using cohort::Connection;
using cohort::Pipe;
using cohort::Value;
using cohort::launch::deposits;

constexpr int kRounds = kSanitized ? 40 : 150;
constexpr std::chrono::microseconds kLongestLife{4000};

class ConnectionChaos : public ArenaUse {
 protected:
  ConnectionChaos() : ArenaUse(kSanitized ? 500 : 240) {}
  void TearDown() override {
    EXPECT_TRUE(eventually([] {
      Space::here().bury_the_dead(true);
      return deposits() == 0;
    })) << deposits()
        << " descriptors are left";
    ArenaUse::TearDown();
  }
  std::mt19937 random_{20'26};
};

struct Note {
  int number = 0;
  Value<int> value;
  std::vector<Connection> passed{};
  std::string filler{};
};

Note note_of(int number) {
  Note note{
      number, Value<int>(number), {}, std::string(static_cast<std::size_t>(number % 90), 'f')};
  if (number % 4 == 0) {
    auto [in, out] = Pipe(false);
    out.send(number);
    note.passed.push_back(in);
  }
  return note;
}

void expect_whole(const Note& note, int number) {
  ASSERT_EQ(note.number, number);
  ASSERT_EQ(note.value.get(), number);
  ASSERT_EQ(note.filler.size(), static_cast<std::size_t>(number % 90));
  ASSERT_EQ(note.passed.size(), number % 4 == 0 ? 1U : 0U);
  if (!note.passed.empty()) {
    ASSERT_EQ(note.passed[0].recv<int>(), number);
  }
}

TEST_F(ConnectionChaos, WhatAKilledSenderSentComesOutWholeAndInOrder) {
  for (int round = 0; round < kRounds && !HasFatalFailure(); ++round) {
    const bool duplex = round % 2 == 0;
    auto [in, out] = Pipe(duplex);
    Shared<std::atomic<int>> sent;
    Member sender([&, &receiver = in, &end = out] {
      receiver.close();
      for (int number = 0;; ++number) {
        end.send(note_of(number));
        sent->store(number + 1);
      }
    });
    out.close();
    int received = 0;
    std::thread receiver([&, &end = in] {
      try {
        for (;; ++received) {
          expect_whole(end.recv<Note>(), received);
          if (HasFatalFailure()) break;
        }
      } catch (const cohort::EndOfFile&) {
      }
    });
    random_pause(random_, kLongestLife);
    sender.kill();
    receiver.join();
    EXPECT_GE(received, sent->load());
    EXPECT_LE(received, sent->load() + 1);
    ASSERT_TRUE(sender.bury());
  }
}

TEST_F(ConnectionChaos, WhatAKilledReceiverLeftIsGivenBack) {
  for (int round = 0; round < kRounds && !HasFatalFailure(); ++round) {
    const bool duplex = round % 2 == 0;
    auto [in, out] = Pipe(duplex);
    Member receiver([&, &end = in, &sender = out] {
      sender.close();
      for (int number = 0;; ++number) {
        auto note = end.recv<std::pair<Value<int>, Connection>>();
        if (note.first.get() != number) return 1;
      }
    });
    in.close();
    std::vector<Connection> ends;  // of the pipes whose other ends are in messages
    std::thread sender([&, &end = out] {
      try {
        for (int number = 0; number < 200; ++number) {
          auto [mine, theirs] = Pipe(false);
          ends.push_back(mine);
          end.send(std::pair(Value<int>(number), theirs));
        }
      } catch (const std::system_error& error) {
        EXPECT_EQ(error.code(), std::errc::broken_pipe);
      }
    });
    random_pause(random_, kLongestLife);
    receiver.kill();
    sender.join();
    EXPECT_EQ(receiver.wait(), -SIGKILL);
    ASSERT_TRUE(receiver.bury());
    out.close();
    out = {};
    in = {};
    for (const auto& end : ends) EXPECT_THROW(end.recv<int>(), cohort::EndOfFile);
  }
}

TEST_F(ConnectionChaos, TheBankKeepsWhatItHasWhoeverIsKilledAtIt) {
  auto [in, out] = cohort::os::make_pipe(4096);
  std::vector<cohort::detail::BlockRef> lasting;
  for (int i = 0; i < 5; ++i) lasting.push_back(cohort::launch::deposit(out.get()));
  auto work = [&] {
    for (std::size_t i = 0;; ++i) {
      auto mine = cohort::launch::deposit(in.get());
      if (!cohort::launch::withdraw(lasting[i % lasting.size()])) return 1;
      if (!cohort::launch::withdraw(mine)) return 2;
    }
  };
  for (int round = 0; round < kRounds / 2; ++round) {
    std::vector<Member> members;
    for (int i = 0; i < 3; ++i) members.emplace_back(work);
    random_pause(random_, kLongestLife);
    for (auto& member : members) {
      member.kill();
      EXPECT_EQ(member.wait(), -SIGKILL);
    }
    for (auto& member : members) ASSERT_TRUE(member.bury());
    for (const auto& ticket : lasting) {
      const auto copy = cohort::launch::withdraw(ticket);
      ASSERT_EQ(::write(copy.get(), "x", 1), 1);
      char byte = 0;
      ASSERT_EQ(::read(in.get(), &byte, 1), 1);
    }
  }
  EXPECT_EQ(deposits(), lasting.size());
}

}  // namespace
