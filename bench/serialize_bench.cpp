// To bytes and back, against memcpy of the same bytes and the allocations that cannot be avoided.
#include <benchmark/benchmark.h>

#include <array>
#include <cohort/serialize.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "support/comparison.hpp"

namespace {

struct Sample {
  int number = 0;
  double value = 0;
  std::string name;
  std::vector<double> samples;
};

Sample make_sample() {
  Sample sample{42, 3.14, "a name of twenty-four ch", {}};  // longer than what a string has inside
  for (int i = 0; i < 100; ++i) sample.samples.push_back(i * 0.5);
  return sample;
}

// Bare: lengths and raw bytes at known places, no checks.
struct BareHeader {
  int number;
  double value;
  std::size_t name_size;
  std::size_t samples_size;
};

std::size_t bare_size(const Sample& sample) {
  return sizeof(BareHeader) + sample.samples.size() * sizeof(double) + sample.name.size();
}

void bare_encode(std::byte* place, const Sample& sample) {
  const BareHeader header{sample.number, sample.value, sample.name.size(), sample.samples.size()};
  std::memcpy(place, &header, sizeof header);
  place += sizeof header;
  std::memcpy(place, sample.samples.data(), sample.samples.size() * sizeof(double));
  place += sample.samples.size() * sizeof(double);
  std::memcpy(place, sample.name.data(), sample.name.size());
}

Sample bare_decode(const std::byte* place) {
  BareHeader header;
  std::memcpy(&header, place, sizeof header);
  place += sizeof header;
  const double* samples = reinterpret_cast<const double*>(place);
  const char* name = reinterpret_cast<const char*>(samples + header.samples_size);
  return {header.number, header.value, std::string(name, header.name_size),
          std::vector<double>(samples, samples + header.samples_size)};
}

constexpr std::size_t kTimes = 200'000;

// Equal samples, and as many places for what they become: how two addresses lie to each other
// modulo 4096 decides over a factor of three in a copy of this size.
constexpr std::size_t kPlaces = 16;
using Samples = std::array<Sample, kPlaces>;

template <class Operation>
double time_operation(const Samples& samples, Operation&& operation) {
  std::size_t i = 0;
  return bench::time_each(kTimes, [&] {
    operation(samples[i % kPlaces], i / kPlaces % kPlaces);
    ++i;
    benchmark::ClobberMemory();
  });
}

void compare_encode(int rounds, const Samples& samples) {
  bench::Comparison comparison("encode", rounds);
  std::array<std::vector<std::byte>, kPlaces> memory;
  for (auto& one : memory) one.resize(bare_size(samples[0]));
  std::array<cohort::detail::HeapWriter, kPlaces> writers;
  comparison.add("bare", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t place) {
      bare_encode(memory[place].data(), sample);
      benchmark::DoNotOptimize(memory[place].data());
    });
  });
  comparison.add("cohort", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t place) {
      writers[place].clear();
      cohort::detail::encode(writers[place], sample);
      benchmark::DoNotOptimize(writers[place].bytes().data());
    });
  });
  comparison.add("bare, new memory", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t) {
      auto* fresh = static_cast<std::byte*>(std::malloc(bare_size(sample)));
      bare_encode(fresh, sample);
      benchmark::DoNotOptimize(fresh);
      std::free(fresh);
    });
  });
  comparison.add("cohort, new memory", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t) {
      cohort::detail::HeapWriter fresh;
      cohort::detail::encode(fresh, sample);
      benchmark::DoNotOptimize(fresh.bytes().data());
    });
  });
  comparison.run();
  comparison.ratio("cohort", "bare", 1.5);
  comparison.ratio("cohort, new memory", "bare, new memory", 1.5);
}

void compare_decode(int rounds, const Samples& samples) {
  bench::Comparison comparison("decode", rounds);
  std::array<std::vector<std::byte>, kPlaces> bare;
  std::array<cohort::detail::HeapWriter, kPlaces> ours;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    bare[i].resize(bare_size(samples[i]));
    bare_encode(bare[i].data(), samples[i]);
    cohort::detail::encode(ours[i], samples[i]);
  }
  std::size_t next = 0;
  comparison.add("bare", [&] {
    return bench::time_each(kTimes, [&] {
      Sample decoded = bare_decode(bare[next++ % bare.size()].data());
      benchmark::DoNotOptimize(decoded);
      benchmark::ClobberMemory();
    });
  });
  comparison.add("cohort", [&] {
    return bench::time_each(kTimes, [&] {
      cohort::detail::Reader reader(ours[next++ % ours.size()].bytes());
      auto decoded = cohort::detail::decode<Sample>(reader);
      benchmark::DoNotOptimize(decoded);
      benchmark::ClobberMemory();
    });
  });
  comparison.run();
  comparison.ratio("cohort", "bare", 1.5);
}

void compare_both(int rounds, const Samples& samples) {
  bench::Comparison comparison("encode and decode", rounds);
  comparison.add("bare", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t) {
      auto* memory = static_cast<std::byte*>(std::malloc(bare_size(sample)));
      bare_encode(memory, sample);
      benchmark::DoNotOptimize(memory);
      Sample decoded = bare_decode(memory);
      benchmark::DoNotOptimize(decoded);
      std::free(memory);
    });
  });
  comparison.add("cohort", [&] {
    return time_operation(samples, [&](const Sample& sample, std::size_t) {
      cohort::detail::HeapWriter writer;
      cohort::detail::encode(writer, sample);
      cohort::detail::Reader reader(writer.bytes());
      auto decoded = cohort::detail::decode<Sample>(reader);
      benchmark::DoNotOptimize(decoded);
    });
  });
  comparison.run();
  comparison.ratio("cohort", "bare", 1.5);
}

}  // namespace

int main(int argc, char** argv) {
  const bench::Options options = bench::parse_options(argc, argv);
  Samples samples;
  samples.fill(make_sample());
  std::printf("struct {int; double; std::string of 24; std::vector<double> of 100}: %zu bytes\n",
              bare_size(samples[0]));
  compare_encode(options.rounds, samples);
  compare_decode(options.rounds, samples);
  compare_both(options.rounds, samples);
}
