// Queues in an arena that they fill. Says what went wrong; exit code 0: nothing.
#include <cohort/process.hpp>
#include <cohort/queue.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

using cohort::Queue;

int failures = 0;

void expect(bool right, const std::string& what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s\n", what.c_str());
  ++failures;
}

// Puts make(i) for i = 0, 1, ... until there is no memory left. Answers how many were put.
template <class T, class Make>
std::size_t fill(const Queue<T>& queue, Make&& make) {
  std::size_t count = 0;
  try {
    for (;; ++count) queue.put(make(count));
  } catch (const cohort::Error& error) {
    expect(std::string(error.what()).find("arena_bytes") != std::string::npos, error.what());
  }
  expect(count > 0 && queue.size() == count, "what was put is there, and no more");
  return count;
}

template <class T, class Make>
void fill_and_empty(Make&& make) {
  const Queue<T> queue;
  const std::size_t first = fill(queue, make);
  for (std::size_t i = 0; i < first; ++i)
    expect(queue.get() == make(i), "the messages are whole and in order");
  expect(queue.empty(), "nothing else came");
  // Again: nothing of the failure stays.
  const std::size_t again = fill(queue, make);
  expect(again >= first / 2, "there is as much room as before");
  for (std::size_t i = 0; i < again / 2; ++i)
    expect(queue.get() == make(i), "the messages are whole and in order");
  queue.put(make(again / 2));
  expect(queue.size() == again - again / 2 + 1, "there is room again");
}

void fill_as_child(const Queue<std::string>& queue, const Queue<std::size_t>& count) {
  count.put(fill(queue, [](std::size_t i) { return std::string(100'000, char('a' + i % 26)); }));
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv, {.arena_bytes = std::size_t{48} << 20});
  try {
    for (int round = 0; round < 3; ++round) {
      fill_and_empty<int>([](std::size_t i) { return static_cast<int>(i); });
      fill_and_empty<std::string>([](std::size_t i) { return std::string(i * 1000, 'x'); });
      fill_and_empty<std::vector<long>>(
          [](std::size_t i) { return std::vector<long>(1000, static_cast<long>(i)); });
    }
    {
      // All at once, and through a batch.
      const Queue<int> queue;
      const std::vector<int> many(20'000'000, 1);
      bool refused = false;
      try {
        queue.put_many(many);
      } catch (const cohort::Error&) {
        refused = true;
      }
      expect(refused, "so many do not fit");
      for (std::size_t left = queue.size(); left > 0; --left) expect(queue.get() == 1, "each is 1");
    }
    {
      const Queue<std::string> queue;
      const Queue<std::size_t> count;
      cohort::Process child(fill_as_child, queue, count);
      child.start();
      child.join();
      expect(child.exitcode() == 0, "the child saw the error");
      for (std::size_t left = count.get(); left > 0; --left)
        expect(queue.get().size() == 100'000, "what it put is whole");
      queue.put("and all goes on");
      expect(queue.get() == "and all goes on", "it does");
    }
  } catch (const std::exception& error) {
    expect(false, std::string("nothing else is thrown: ") + error.what());
  }
  return failures ? 1 : 0;
}
