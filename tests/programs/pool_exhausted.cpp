// A pool in an arena that is full: calls fail alone and by name, and go on when there is room
// again. Says what went wrong; exit code 0: nothing.
#include <cohort/array.hpp>
#include <cohort/pool.hpp>
#include <cohort/process.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

using cohort::Pool;

int failures = 0;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s\n", what.c_str());
  ++failures;
}

// All of the arena that is left, down to its smallest pieces.
std::vector<cohort::Array<char>> take_all() {
  std::vector<cohort::Array<char>> all;
  for (std::size_t bytes = std::size_t{16} << 20; bytes >= 32; bytes /= 2) {
    try {
      for (;;) all.emplace_back(bytes);
    } catch (const cohort::Error&) {
    }
  }
  return all;
}

// As many characters; 0: gives back what 100 and more have taken before.
std::string text_of(int length) {
  static std::vector<cohort::Array<char>> taken;
  if (length == 0) taken.clear();
  if (length >= 100) taken = take_all();
  return std::string(static_cast<std::size_t>(length), 't');
}
std::size_t length_of(const std::string& text) { return text.size(); }
int square(int x) { return x * x; }

bool names_the_arena(const std::exception& error) {
  return std::string(error.what()).find("arena") != std::string::npos;
}

void exhaust_by_arguments(Pool& pool) {
  const std::string large(std::size_t{100} << 20, 'l');
  for (int way = 0; way < 4; ++way) {
    try {
      if (way == 0) pool.apply(length_of, large);
      if (way == 1) pool.apply_async(length_of, large).get();
      if (way == 2) pool.map(length_of, {std::string("a"), large});
      if (way == 3) pool.map_async(length_of, {std::string("a"), large}).get();
      expect(false, "an argument of 100 MiB has no room");
    } catch (const cohort::Error& error) {
      expect(names_the_arena(error), error.what());
    }
    expect(pool.apply(square, 3) == 9, "the pool goes on");
  }
}

// Small arguments and results lie in room that there is already.
void submit_without_room(Pool& pool) {
  std::size_t refused = 0;
  {
    const auto all = take_all();
    for (int i = 0; i < 100; ++i) {
      try {
        expect(pool.apply_async(length_of, std::string(1000, 's')).get() == 1000, "it is right");
      } catch (const cohort::Error& error) {
        expect(names_the_arena(error), error.what());
        ++refused;
      }
      try {
        expect(pool.apply(square, i) == i * i, "it is right");
      } catch (const cohort::Error& error) {
        expect(names_the_arena(error), error.what());
      }
    }
  }
  expect(refused > 0, "the arena was full");
  expect(pool.apply(length_of, std::string(1000, 's')) == 1000, "there is room again");
}

void exhaust_by_results(Pool& pool) {
  const std::vector<std::vector<int>> batches{
      {1000}, {20, 100, 21, 22}, {20, 21, 3000, 22}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 5000, 10, 11}};
  for (const auto& lengths : batches) {
    auto results = pool.imap({.chunksize = lengths.size()}, text_of, lengths);
    std::size_t outcomes = 0;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      try {
        auto text = results.next();
        if (!text) break;
        ++outcomes;
        expect(text->size() == static_cast<std::size_t>(lengths[i]), "each result is in its place");
      } catch (const cohort::WorkerDied& error) {
        expect(false, error.what());
      } catch (const std::exception&) {
        ++outcomes;
      }
    }
    expect(outcomes == lengths.size() && !results.next(), "each item has one outcome");
    expect(pool.apply(text_of, 0).empty(), "the worker gives back what it took");
  }
  // What was finished before has its result.
  auto results = pool.imap({.chunksize = 3}, text_of, std::vector<int>{5, 6, 1000});
  expect(results.next()->size() == 5 && results.next()->size() == 6, "what was finished is kept");
  try {
    results.next();
  } catch (const std::exception& error) {
    expect(names_the_arena(error), error.what());
  }
  expect(pool.apply(text_of, 0).empty(), "the worker gives back what it took");
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv, {.arena_bytes = std::size_t{64} << 20});
  try {
    Pool pool(1);
    expect(pool.apply(square, 2) == 4, "the pool works");
    exhaust_by_arguments(pool);
    submit_without_room(pool);
    exhaust_by_results(pool);
    expect(pool.stats().at(0).restarts == 0, "no worker died of it");
  } catch (const std::exception& error) {
    expect(false, std::string("nothing else is thrown: ") + error.what());
  }
  return failures ? 1 : 0;
}
