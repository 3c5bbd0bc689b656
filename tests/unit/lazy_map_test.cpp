// The range of results that maps give: order, laziness, failures, limits, what it keeps.
#include <gtest/gtest.h>

#include <chrono>
#include <cohort/detail/executor_map.hpp>
#include <cohort/detail/lazy_map.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "member.hpp"

namespace {

using namespace test;
using cohort::detail::Chunk;
using cohort::detail::ChunkState;
using cohort::detail::LazyMap;

static_assert(std::ranges::input_range<LazyMap<int>>);
static_assert(std::ranges::input_range<LazyMap<void>>);
static_assert(std::ranges::input_range<LazyMap<std::unique_ptr<int>>>);
static_assert(std::is_nothrow_move_constructible_v<LazyMap<int>>);
static_assert(!std::is_copy_constructible_v<LazyMap<int>>);

// Hands out chunks that the test completes by itself.
template <class R>
struct ByHand {
  std::vector<std::shared_ptr<ChunkState<R>>> drawn;
  std::size_t most = 1000;

  auto source() {
    return [this]() -> std::shared_ptr<ChunkState<R>> {
      if (drawn.size() == most) return nullptr;
      return drawn.emplace_back(std::make_shared<ChunkState<R>>());
    };
  }
  template <class... Values>
  void complete(std::size_t i, Values&&... values) {
    Chunk<R> chunk;
    (chunk.push_back(
         {std::optional<cohort::detail::StoredResult<R>>(std::forward<Values>(values)), nullptr}),
     ...);
    drawn.at(i)->put_value(std::move(chunk));
    drawn[i]->finish();
  }
  void fail_item(std::size_t i, const std::string& text) {
    Chunk<R> chunk;
    chunk.push_back({std::nullopt, std::make_exception_ptr(std::runtime_error(text))});
    drawn.at(i)->put_value(std::move(chunk));
    drawn[i]->finish();
  }
};

class LazyMapTest : public Watched {};

TEST_F(LazyMapTest, ResultsComeInOrderWhateverEndsFirst) {
  ByHand<int> by_hand{.drawn = {}, .most = 3};
  LazyMap<int> results(by_hand.source(), {});
  EXPECT_EQ(by_hand.drawn.size(), 3U);
  by_hand.complete(2, 5);
  by_hand.complete(1, 3, 4);
  by_hand.complete(0, 1, 2);
  std::vector<int> all;
  for (int x : results) all.push_back(x);
  EXPECT_EQ(all, (std::vector{1, 2, 3, 4, 5}));
  EXPECT_FALSE(results.next());
}

TEST_F(LazyMapTest, UnorderedResultsComeAsTheyEnd) {
  ByHand<int> by_hand{.drawn = {}, .most = 3};
  LazyMap<int> results(by_hand.source(), {.window = 3, .ordered = false});
  by_hand.complete(2, 5);
  EXPECT_EQ(results.next(), 5);
  by_hand.complete(1, 3, 4);
  EXPECT_EQ(results.next(), 3);
  by_hand.complete(0, 1);
  EXPECT_EQ(results.next(), 4);
  EXPECT_EQ(results.next(), 1);
  EXPECT_FALSE(results.next());
}

TEST_F(LazyMapTest, NoMoreThanTheWindowIsOut) {
  for (bool ordered : {true, false}) {
    ByHand<int> by_hand;
    LazyMap<int> results(by_hand.source(), {.window = 2, .ordered = ordered});
    EXPECT_EQ(by_hand.drawn.size(), 2U);
    for (std::size_t i = 0; i < 10; ++i) {
      by_hand.complete(i, static_cast<int>(i));
      EXPECT_EQ(results.next(), static_cast<int>(i));
      EXPECT_EQ(by_hand.drawn.size(), i + 3);
    }
  }
}

TEST_F(LazyMapTest, AFailedItemThrowsInItsTurnAndTheNextCanBeHad) {
  ByHand<int> by_hand{.drawn = {}, .most = 3};
  LazyMap<int> results(by_hand.source(), {});
  by_hand.complete(0, 1);
  by_hand.fail_item(1, "second");
  by_hand.complete(2, 3);
  std::vector<int> got;
  auto loop = [&] {
    for (int x : results) got.push_back(x);
  };
  EXPECT_THROW(loop(), std::runtime_error);
  EXPECT_EQ(got, (std::vector{1}));
  EXPECT_NO_THROW(loop());  // another loop goes on after it
  EXPECT_EQ(got, (std::vector{1, 3}));
}

TEST_F(LazyMapTest, TheIteratorGoesOnAfterAFailedItem) {
  ByHand<int> by_hand{.drawn = {}, .most = 2};
  LazyMap<int> results(by_hand.source(), {});
  by_hand.fail_item(0, "first");
  by_hand.complete(1, 2);
  auto it = results.begin();
  ASSERT_NE(it, results.end());
  EXPECT_THROW(*it, std::runtime_error);
  ++it;
  ASSERT_NE(it, results.end());
  EXPECT_EQ(*it, 2);
  ++it;
  EXPECT_EQ(it, results.end());
}

TEST_F(LazyMapTest, AChunkThatFailedAsAWholeIsOneFailedItem) {
  ByHand<int> by_hand{.drawn = {}, .most = 3};
  LazyMap<int> results(by_hand.source(), {});
  by_hand.drawn[0]->put_error(std::make_exception_ptr(std::logic_error("whole")));
  by_hand.drawn[0]->finish();
  by_hand.drawn[1]->cancel();
  by_hand.complete(2, 3);
  EXPECT_THROW(results.next(), std::logic_error);
  EXPECT_THROW(results.next(), cohort::CancelledError);
  EXPECT_EQ(results.next(), 3);
}

TEST_F(LazyMapTest, WhatTheInputThrowsComesInItsPlace) {
  for (bool ordered : {true, false}) {
    ByHand<int> by_hand{.drawn = {}, .most = 1};
    auto draw = [&, source = by_hand.source()]() {
      if (auto state = source()) return state;
      throw std::out_of_range("no more input");
    };
    LazyMap<int> results(draw, {.window = 4, .ordered = ordered});
    by_hand.complete(0, 1);
    EXPECT_EQ(results.next(), 1);
    EXPECT_THROW(results.next(), std::out_of_range);
    EXPECT_FALSE(results.next());
  }
}

TEST_F(LazyMapTest, AnItemThatIsLateCanBeAskedForAgain) {
  for (bool ordered : {true, false}) {
    ByHand<int> by_hand{.drawn = {}, .most = 1};
    LazyMap<int> results(by_hand.source(), {.window = 1, .ordered = ordered});
    EXPECT_THROW(results.next(0s), cohort::TimeoutError);
    EXPECT_THROW(results.next(1ms), cohort::TimeoutError);
    by_hand.complete(0, 1);
    EXPECT_EQ(results.next(0s), 1);
    EXPECT_FALSE(results.next(0s));
  }
}

TEST_F(LazyMapTest, TheDeadlineEndsTheRangeAndCancelsTheRest) {
  ByHand<int> by_hand{.drawn = {}, .most = 3};
  LazyMap<int> results(by_hand.source(), {.deadline = cohort::detail::Clock::now()});
  by_hand.complete(0, 1);
  EXPECT_EQ(results.next(), 1);
  EXPECT_THROW(results.next(), cohort::TimeoutError);
  EXPECT_TRUE(by_hand.drawn[1]->cancelled());
  EXPECT_TRUE(by_hand.drawn[2]->cancelled());
  EXPECT_FALSE(results.next());
}

TEST_F(LazyMapTest, ClosingCancelsAndLetsGo) {
  for (bool ordered : {true, false}) {
    ByHand<int> by_hand;
    LazyMap<int> results(by_hand.source(), {.window = 3, .ordered = ordered});
    by_hand.complete(0, 1, 2);
    EXPECT_EQ(results.next(), 1);
    results.close();
    EXPECT_FALSE(results.next());
    for (std::size_t i = 1; i < by_hand.drawn.size(); ++i) {
      EXPECT_TRUE(by_hand.drawn[i]->cancelled());
      EXPECT_EQ(by_hand.drawn[i].use_count(), 1);
    }
  }
}

TEST_F(LazyMapTest, ItsDestructionCancelsToo) {
  ByHand<int> by_hand;
  { LazyMap<int> results(by_hand.source(), {.window = 2}); }
  EXPECT_TRUE(by_hand.drawn.at(0)->cancelled());
  EXPECT_EQ(by_hand.drawn[1].use_count(), 1);
}

TEST_F(LazyMapTest, ResultsMayOnlyMoveAndNeedNoDefault) {
  struct Odd {
    explicit Odd(int n) : number(std::make_unique<const int>(n)) {}
    std::unique_ptr<const int> number;
  };
  ByHand<Odd> by_hand{.drawn = {}, .most = 1};
  LazyMap<Odd> results(by_hand.source(), {});
  by_hand.complete(0, Odd(1), Odd(2));
  int sum = 0;
  for (Odd odd : results) sum += *odd.number;
  EXPECT_EQ(sum, 3);
}

TEST_F(LazyMapTest, CallsWithoutResultsAreCounted) {
  ByHand<void> by_hand{.drawn = {}, .most = 1};
  LazyMap<void> results(by_hand.source(), {});
  by_hand.complete(0, true, true);
  int count = 0;
  for (bool done : results) count += done ? 1 : 0;
  EXPECT_EQ(count, 2);
}

TEST_F(LazyMapTest, AMovedRangeGoesOnAndItsOldPlaceIsAtItsEnd) {
  ByHand<int> by_hand{.drawn = {}, .most = 1};
  LazyMap<int> results(by_hand.source(), {});
  by_hand.complete(0, 1, 2);
  EXPECT_EQ(results.next(), 1);
  LazyMap<int> moved = std::move(results);
  EXPECT_EQ(moved.next(), 2);
  EXPECT_FALSE(results.next());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(results.begin(), results.end());
}

// ---- drawing items from inputs

// Runs every chunk at once.
struct AtOnce {
  std::vector<std::size_t> chunks;

  template <class F, class Item>
  auto submit_chunk(const F& f, std::vector<Item> items) {
    using R = typename ResultOf<F, Item>::type;
    chunks.push_back(items.size());
    Chunk<R> chunk;
    for (Item& item : items) chunk.push_back({std::apply(f, std::move(item)), nullptr});
    auto state = std::make_shared<ChunkState<R>>();
    state->put_value(std::move(chunk));
    state->finish();
    return state;
  }
  template <class F, class Item>
  struct ResultOf;
  template <class F, class... Args>
  struct ResultOf<F, std::tuple<Args...>> : std::invoke_result<const F&, Args...> {};
};

template <class Results>
auto all_of(Results&& results) {
  std::vector<std::decay_t<decltype(*results.begin())>> all;
  for (auto&& x : results) all.push_back(std::move(x));
  return all;
}

const auto twice = [](int x) { return 2 * x; };

TEST_F(LazyMapTest, ItemsGoInChunks) {
  AtOnce executor;
  std::vector items{1, 2, 3, 4, 5};
  auto results = all_of(cohort::detail::executor_map(executor, {.chunksize = 2}, twice, items));
  EXPECT_EQ(results, (std::vector{2, 4, 6, 8, 10}));
  EXPECT_EQ(executor.chunks, (std::vector<std::size_t>{2, 2, 1}));
}

TEST_F(LazyMapTest, ALazyMapReadsAnLvalueInPlaceAndKeepsAnRvalue) {
  AtOnce executor;
  std::vector items{1, 2, 3};
  auto in_place = cohort::detail::executor_map(executor, {.buffersize = 1}, twice, items);
  items[2] = 30;
  EXPECT_EQ(all_of(in_place), (std::vector{2, 4, 60}));
  auto kept = cohort::detail::executor_map(executor, {.buffersize = 1}, twice, std::vector{1, 2});
  EXPECT_EQ(all_of(kept), (std::vector{2, 4}));
}

TEST_F(LazyMapTest, ItemsOfARangeThatIsGivenAwayAreMoved) {
  AtOnce executor;
  std::vector<std::unique_ptr<int>> items;
  for (int i = 1; i <= 3; ++i) items.push_back(std::make_unique<int>(i));
  auto value = [](std::unique_ptr<int> p) { return *p; };
  EXPECT_EQ(all_of(cohort::detail::executor_map(executor, {}, value, std::move(items))),
            (std::vector{1, 2, 3}));
}

TEST_F(LazyMapTest, AnInputIsNotSteppedFurtherThanItsItemsAreWanted) {
  AtOnce executor;
  int read = 0;
  auto input = std::views::iota(0) | std::views::transform([&](int i) {
                 ++read;
                 return i;
               });
  auto results =
      cohort::detail::executor_map(executor, {.chunksize = 2, .buffersize = 3}, twice, input);
  EXPECT_EQ(read, 6);
  EXPECT_EQ(results.next(), 0);
  EXPECT_EQ(read, 8);
  EXPECT_EQ(results.next(), 2);
  EXPECT_EQ(read, 8);
}

TEST_F(LazyMapTest, AnEagerMapThrowsWhatItsInputThrows) {
  AtOnce executor;
  auto input = std::views::iota(0, 5) | std::views::transform([](int i) {
                 if (i == 3) throw std::out_of_range("bad input");
                 return i;
               });
  EXPECT_THROW(cohort::detail::executor_map(executor, {}, twice, input), std::out_of_range);
}

TEST_F(LazyMapTest, ALazyMapGivesWhatCameBeforeABadInput) {
  AtOnce executor;
  auto input = std::views::iota(0, 5) | std::views::transform([](int i) {
                 if (i == 3) throw std::out_of_range("bad input");
                 return i;
               });
  auto results =
      cohort::detail::executor_map(executor, {.chunksize = 2, .buffersize = 1}, twice, input);
  EXPECT_EQ(results.next(), 0);
  EXPECT_EQ(results.next(), 2);
  EXPECT_EQ(results.next(), 4);
  EXPECT_THROW(results.next(), std::out_of_range);
  EXPECT_FALSE(results.next());
}

}  // namespace
