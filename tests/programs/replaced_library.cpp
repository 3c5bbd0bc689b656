// Loads a library after init, has its file replaced by another (or removed, when there is no
// other), and sends a function of it.
//
// usage: replaced_library LIBRARY OTHER METHOD
#include <dlfcn.h>

#include <cohort/async.hpp>
#include <cstdio>
#include <filesystem>

#include "channel.hpp"

int main(int argc, char** argv) try {
  cohort::init(argc, argv);
  std::filesystem::path library = argv[1];
  std::filesystem::path other = argv[2];
  cohort::set_start_method(test::method_of(argv[3]));
  void* handle = ::dlopen(library.c_str(), RTLD_NOW);
  if (!handle) return 1;
  auto* answer = reinterpret_cast<int (*)(int)>(::dlsym(handle, "answer"));
  std::filesystem::remove(library);
  if (!other.empty()) std::filesystem::copy(other, library);
  try {
    std::printf("%d\n", cohort::async(answer, 5).get());
    return 0;
  } catch (const cohort::Error& error) {
    std::printf("%s\n", error.what());
    return 3;
  }
} catch (const std::exception& error) {
  std::printf("main: %s\n", error.what());
  return 4;
}
