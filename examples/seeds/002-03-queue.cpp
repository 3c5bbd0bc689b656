// A writer and a reader share a queue: the time to send ten thousand, a hundred thousand and a
// million numbers. After them the writer puts 'DONE', so a message is a number or a text.
#include <chrono>
#include <cohort/cohort.hpp>
#include <cohort/queue.hpp>
#include <iostream>
#include <string>
#include <variant>

using Message = std::variant<int, std::string>;
using Clock = std::chrono::steady_clock;

void reader(const cohort::Queue<Message>& queue) {
  const Message done = "DONE";
  while (queue.get() != done) {
  }
}

void writer(int count, const cohort::Queue<Message>& queue) {
  for (int i = 0; i < count; ++i) queue.put(i);
  queue.put("DONE");
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  for (int count : {10'000, 100'000, 1'000'000}) {
    cohort::Queue<Message> queue;
    cohort::Process reader_p({.daemon = true}, reader, queue);
    reader_p.start();

    const auto start = Clock::now();
    writer(count, queue);
    reader_p.join();
    std::cout << "Sending " << count << " numbers to Queue() took "
              << std::chrono::duration<double>(Clock::now() - start).count() << " seconds"
              << std::endl;
  }
}
