// Names in /dev/shm that somebody else than their user made.
//
// usage: names_of_others preloaded NAME         made in the fork server; the program ends
//        names_of_others orphaned NAME METHOD   made by the program, which is killed once its child
//                                               has said "ready"
#include <unistd.h>

#include <cohort/process.hpp>
#include <cohort/shared_memory.hpp>
#include <cstdio>
#include <optional>
#include <string>

#include "arena/space.hpp"
#include "channel.hpp"
#include "chaos.hpp"
#include "member.hpp"

namespace {

using cohort::SharedMemory;

std::optional<SharedMemory> kept;

void say(const char* text) {
  std::puts(text);
  std::fflush(stdout);
}

bool there(const std::string& name) { return ::access(("/dev/shm/" + name).c_str(), F_OK) == 0; }

void keep(const std::string& name) { kept = SharedMemory::create(name, 100); }

void outlive_root(const std::string& name) {
  using cohort::arena::Phase;
  auto& space = cohort::arena::Space::here();
  const cohort::arena::MemberId root{space.header().root.load()};
  say("ready");
  const bool returned = test::eventually([&] {
    const auto phase = space.members().phase(root);
    return phase == Phase::ended || phase == Phase::free;
  });
  if (!returned) say("the root's blocks were not returned");
  say(there(name) && SharedMemory::open(name).size() == 100 ? "there" : "gone");
}

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  const std::string what = argv[1];
  const std::string name = argv[2];
  if (what == "preloaded") {
    cohort::preload(keep, name);
    say(there(name) ? "there" : "gone");
    return 0;
  }
  keep(name);
  test::Process child({.daemon = false, .start_method = test::method_of(argv[3])}, outlive_root,
                      name);
  child.start();
  for (;;) ::pause();
}
