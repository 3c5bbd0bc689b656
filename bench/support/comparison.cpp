#include "comparison.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace bench {

Options parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const int rounds =
        std::string_view(argv[i]) == "--rounds" && i + 1 < argc ? std::atoi(argv[++i]) : 0;
    if (rounds < 1) {
      std::fprintf(stderr, "usage: %s [--rounds N]\n", argv[0]);
      std::exit(2);
    }
    options.rounds = rounds;
  }
  return options;
}

void Comparison::add(std::string name, std::function<double()> measure) {
  variants_.push_back({std::move(name), std::move(measure), {}});
}

void Comparison::step(std::function<void()> action) {
  variants_.push_back({"",
                       [action = std::move(action)] {
                         action();
                         return 0.0;
                       },
                       {}});
}

void Comparison::skip(const std::string& name, const std::string& reason) {
  skipped_.push_back(name + ": skipped, " + reason);
}

void Comparison::leave_out_if(std::function<bool()> unfit, std::string reason) {
  unfit_ = std::move(unfit);
  unfit_reason_ = std::move(reason);
}

void Comparison::leave_out(const std::vector<int>& rounds) {
  if (rounds.empty() || static_cast<int>(rounds.size()) == rounds_) return;
  for (Variant& variant : variants_) {
    for (auto round = rounds.rbegin(); round != rounds.rend(); ++round)
      variant.seconds.erase(variant.seconds.begin() + *round);
  }
}

void Comparison::run() {
  for (Variant& variant : variants_) variant.measure();  // warms caches up, wakes peers
  std::vector<int> unfit;
  for (int round = 0; round < rounds_; ++round) {
    for (Variant& variant : variants_) variant.seconds.push_back(variant.measure());
    if (unfit_ && unfit_()) unfit.push_back(round);
  }
  leave_out(unfit);
  std::printf("\n%s (median of %d rounds, lowest .. highest)\n", title_.c_str(), rounds_);
  for (const Variant& variant : variants_) {
    if (variant.name.empty()) continue;
    const auto [lowest, highest] =
        std::minmax_element(variant.seconds.begin(), variant.seconds.end());
    std::printf("  %-44s %10s   %10s .. %s\n", variant.name.c_str(),
                format_time(median_of(variant.seconds)).c_str(), format_time(*lowest).c_str(),
                format_time(*highest).c_str());
  }
  for (const std::string& line : skipped_) std::printf("  %s\n", line.c_str());
  if (!unfit.empty())
    std::printf(
        "  %zu of %d rounds %s: %s\n", unfit.size(), rounds_,
        static_cast<int>(unfit.size()) == rounds_ ? "(kept, as there are no others)" : "left out",
        unfit_reason_.c_str());
  std::fflush(stdout);
}

void Comparison::ratio(const std::string& ours, const std::string& peer,
                       std::optional<double> aim) const {
  const Variant* a = find(ours);
  const Variant* b = find(peer);
  if (!a || !b) return;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a->seconds.size(); ++i) {
    ratios.push_back(a->seconds[i] / b->seconds[i]);
  }
  const double middle = median_of(ratios);
  const double lowest = *std::min_element(a->seconds.begin(), a->seconds.end()) /
                        *std::min_element(b->seconds.begin(), b->seconds.end());
  std::printf("RATIO %-78s %8.3g  (of the lowest: %.3g)",
              (title_ + ": " + ours + " / " + peer).c_str(), middle, lowest);
  if (aim) std::printf("   aim %.3g: %s", *aim, middle <= *aim ? "met" : "MISSED");
  std::printf("\n");
  std::fflush(stdout);
}

double Comparison::median(const std::string& name) const {
  const Variant* variant = find(name);
  if (!variant) throw std::logic_error("no variant is named " + name);
  return median_of(variant->seconds);
}

const Comparison::Variant* Comparison::find(const std::string& name) const {
  for (const Variant& variant : variants_) {
    if (variant.name == name) return &variant;
  }
  return nullptr;
}

double median_of(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 != 0 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string format_time(double seconds) {
  constexpr std::pair<double, const char*> kUnits[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}};
  char text[32];
  for (const auto& [unit, name] : kUnits) {
    if (seconds >= unit) {
      std::snprintf(text, sizeof text, "%.3g %s", seconds / unit, name);
      return text;
    }
  }
  std::snprintf(text, sizeof text, "%.3g ns", seconds / 1e-9);
  return text;
}

}  // namespace bench
