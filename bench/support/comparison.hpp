// Measures variants of the same work against each other. Machines are noisy: every variant is
// measured once per round, one after the other, so that what the machine does meanwhile hits all
// alike, and what is told are medians over the rounds.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

struct Options {
  int rounds = 7;
};
// From "--rounds N". Ends the program with a message on anything else.
Options parse_options(int argc, char** argv);

class Comparison {
 public:
  // `rounds` are run after one that does not count.
  Comparison(std::string title, int rounds) : title_(std::move(title)), rounds_(rounds) {}

  // `measure` answers the seconds that one operation took.
  void add(std::string name, std::function<double()> measure);
  // Something to do in each round, at this place between the variants.
  void step(std::function<void()> action);
  // A line instead of a variant that cannot be measured here.
  void skip(const std::string& name, const std::string& reason);

  // Leaves out rounds after which `unfit()` holds, unless that were all of them.
  void leave_out_if(std::function<bool()> unfit, std::string reason);

  // Runs all rounds and prints the variants' medians.
  void run();
  // Prints the median over the rounds of `ours` / `peer`, and beside it the ratio of their lowest
  // times, as a line that starts with "RATIO"; nothing when one of them was not measured.
  void ratio(const std::string& ours, const std::string& peer,
             std::optional<double> aim = std::nullopt) const;
  // In seconds; after run().
  double median(const std::string& name) const;

 private:
  struct Variant {
    std::string name;  // empty: a step
    std::function<double()> measure;
    std::vector<double> seconds;  // of each round
  };
  const Variant* find(const std::string& name) const;
  void leave_out(const std::vector<int>& rounds);

  std::string title_;
  int rounds_;
  std::vector<Variant> variants_;
  std::vector<std::string> skipped_;
  std::function<bool()> unfit_;
  std::string unfit_reason_;
};

double median_of(std::vector<double> values);
std::string format_time(double seconds);  // "1.23 us"

// Seconds per call of `operation`, called `times` times.
template <class Operation>
double time_each(std::size_t times, Operation&& operation) {
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < times; ++i) operation();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begin;
  return passed.count() / static_cast<double>(times);
}

}  // namespace bench
