// Descriptors on their way between members, and what is left of them when members are killed.
#include "launch/descriptor_bank.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <random>
#include <string>
#include <system_error>
#include <vector>

#include "arena_use.hpp"
#include "cohort/error.hpp"
#include "os/fd.hpp"
#include "os/stream.hpp"

namespace {

using namespace test;
using cohort::detail::BlockRef;
using cohort::launch::deposit;
using cohort::launch::deposits;
using cohort::launch::withdraw;
using cohort::os::Fd;

class DescriptorBankTest : public ArenaUse {
 protected:
  void TearDown() override {
    EXPECT_TRUE(eventually([] { return deposits() == 0; })) << deposits() << " are left";
    ArenaUse::TearDown();
  }
};

// A pipe whose writing end goes through the bank: its reading end tells whether anybody has it.
struct Probe {
  Fd in;
  Fd out;
  Probe() {
    auto [first, second] = cohort::os::make_pipe(4096);
    in = std::move(first);
    out = std::move(second);
  }
  BlockRef give() {
    auto ticket = deposit(out.get());
    out.reset();
    return ticket;
  }
  bool reached_by(const Fd& end) const {
    char byte = 0;
    return ::write(end.get(), "x", 1) == 1 && ::read(in.get(), &byte, 1) == 1 && byte == 'x';
  }
  // Whether all copies of the writing end are closed.
  bool over() const {
    char byte = 0;
    return cohort::os::wait_readable(in.get(), soon()) && ::read(in.get(), &byte, 1) == 0;
  }
  bool open() const { return !cohort::os::wait_readable(in.get(), Clock::time_point{}); }
};

TEST_F(DescriptorBankTest, WhatIsDepositedComesOutAgainUnderAnotherNumber) {
  Probe probe;
  auto ticket = probe.give();
  EXPECT_EQ(deposits(), 1U);
  auto end = withdraw(ticket);
  EXPECT_EQ(::fcntl(end.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_TRUE(probe.reached_by(end));
}

TEST_F(DescriptorBankTest, ADepositStaysAsLongAsItsTicketAndIsThenClosed) {
  Probe probe;
  auto ticket = probe.give();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(probe.reached_by(withdraw(ticket)));
  EXPECT_TRUE(probe.open());
  ticket = {};
  EXPECT_TRUE(probe.over());
}

TEST_F(DescriptorBankTest, EachTicketHasItsOwnDescriptorInWhateverOrderTheyAreUsed) {
  std::vector<Probe> probes(40);
  std::vector<BlockRef> tickets;
  for (auto& probe : probes) tickets.push_back(probe.give());
  std::vector<std::size_t> order(probes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(7);
  std::shuffle(order.begin(), order.end(), random);
  for (std::size_t i : order) {
    EXPECT_TRUE(probes[i].reached_by(withdraw(tickets[i]))) << i;
    tickets[i] = {};
    EXPECT_TRUE(probes[i].over()) << i;
  }
}

TEST_F(DescriptorBankTest, NumbersAreFoundWhereverTheyAreFree) {
  std::vector<Fd> taken;
  Probe first;
  while (taken.empty() || taken.back().get() < 300) taken.push_back(first.in.duplicate());
  Probe probe;
  ASSERT_GT(probe.out.get(), 256);
  auto ticket = probe.give();
  auto end = withdraw(ticket);
  EXPECT_GT(end.get(), 256);
  EXPECT_TRUE(probe.reached_by(end));
}

TEST_F(DescriptorBankTest, WithNoNumberLeftItIsAnErrorAndNothingIsLost) {
  Probe probe;
  auto ticket = probe.give();
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd next = probe.in.duplicate();
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(next.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::vector<Fd> rest;
  try {
    for (;;) rest.push_back(probe.in.duplicate());
  } catch (const std::system_error&) {
    // Now none is free.
  }
  std::exception_ptr thrown;
  try {
    withdraw(ticket);
  } catch (...) {
    thrown = std::current_exception();
  }
  // Looked at when there are descriptors again: sanitizers need some to look.
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_TRUE(thrown);
  try {
    std::rethrow_exception(thrown);
  } catch (const std::system_error& error) {
    EXPECT_EQ(error.code(), std::errc::too_many_files_open);
  }
  EXPECT_TRUE(probe.reached_by(withdraw(ticket)));
}

TEST_F(DescriptorBankTest, AClosedDescriptorIsRefused) {
  EXPECT_THROW(deposit(-1), std::system_error);
  EXPECT_THROW(deposit(123'456), std::system_error);
}

TEST_F(DescriptorBankTest, ATicketWithoutItsDescriptorIsAnErrorThatSaysSo) {
  Probe probe;
  auto ticket = probe.give();
  Space::here().bank().drop_front();
  try {
    withdraw(ticket);
    ADD_FAILURE() << "there was a descriptor";
  } catch (const cohort::Error& error) {
    EXPECT_NE(std::string(error.what()).find("is not there"), std::string::npos) << error.what();
  }
}

TEST_F(DescriptorBankTest, WhenItIsFullTheErrorNamesTheWayOutAndTheRestGoesOn) {
  Probe probe;
  std::vector<BlockRef> tickets;
  std::string said;
  try {
    while (tickets.size() < 100'000) tickets.push_back(deposit(probe.out.get()));
  } catch (const cohort::Error& error) {
    said = error.what();
  }
  EXPECT_NE(said.find("receive some first"), std::string::npos) << said;
  EXPECT_GT(tickets.size(), 200U);
  probe.out.reset();
  EXPECT_TRUE(probe.reached_by(withdraw(tickets.front())));
  EXPECT_TRUE(probe.reached_by(withdraw(tickets[tickets.size() / 2])));
  EXPECT_TRUE(probe.reached_by(withdraw(tickets.back())));
  // From the back, so that much has to be moved.
  tickets.pop_back();
  Probe another;
  tickets.push_back(another.give());
  EXPECT_TRUE(another.reached_by(withdraw(tickets.back())));
  std::reverse(tickets.begin(), tickets.end());
  while (tickets.size() > 50) tickets.pop_back();
  EXPECT_EQ(deposits(), 50U);
  tickets.clear();
  EXPECT_TRUE(probe.over());
}

TEST_F(DescriptorBankTest, ADepositOfAMemberThatIsKilledIsClosed) {
  Probe probe;
  Member member([&] {
    auto ticket = deposit(probe.out.get());
    ::raise(SIGKILL);
  });
  probe.out.reset();
  ASSERT_EQ(member.wait(), -SIGKILL);
  ASSERT_TRUE(member.bury());
  EXPECT_TRUE(probe.over());
}

TEST_F(DescriptorBankTest, AMemberMayBeKilledAtEachStepAndNothingIsLostOrLeft) {
  for (const char* step : {"descriptor_bank.deposited", "descriptor_bank.moved",
                           "descriptor_bank.dropped", "descriptor_bank.invalid"}) {
    for (int times = 1; times <= 3; ++times) {
      SCOPED_TRACE(std::string(step) + " " + std::to_string(times));
      std::vector<Probe> probes(4);
      std::vector<BlockRef> tickets;
      for (auto& probe : probes) tickets.push_back(probe.give());
      Probe theirs;
      Member member([&] {
        for (auto& probe : probes) probe.in.reset();
        die_at(step, times);
        for (int i = 0; i < 4; ++i) {
          auto ticket = deposit(theirs.out.get());
          withdraw(ticket);
        }
      });
      theirs.out.reset();
      ASSERT_EQ(member.wait(), -SIGKILL);
      ASSERT_TRUE(member.bury());
      EXPECT_TRUE(theirs.over());
      for (std::size_t i = 0; i < probes.size(); ++i) {
        EXPECT_TRUE(probes[i].open());
        EXPECT_TRUE(probes[i].reached_by(withdraw(tickets[i])));
        tickets[i] = {};
        EXPECT_TRUE(probes[i].over());
      }
      EXPECT_EQ(deposits(), 0U);
    }
  }
}

TEST_F(DescriptorBankTest, ManyMembersUseItAtOnce) {
  Probe probe;
  auto lasting = deposit(probe.out.get());
  probe.out.reset();
  auto work = [&] {
    for (int i = 0; i < 300; ++i) {
      Probe mine;
      auto ticket = mine.give();
      if (!mine.reached_by(withdraw(ticket))) return 1;
      if (!probe.open()) return 2;
      withdraw(lasting);
      ticket = {};
      if (!mine.over()) return 3;
    }
    return 0;
  };
  std::vector<Member> members;
  for (int i = 0; i < 4; ++i) members.emplace_back(work);
  for (auto& member : members) EXPECT_EQ(member.wait(), 0);
  for (auto& member : members) EXPECT_TRUE(member.bury());
  EXPECT_EQ(deposits(), 1U);
  EXPECT_TRUE(probe.reached_by(withdraw(lasting)));
}

}  // namespace
