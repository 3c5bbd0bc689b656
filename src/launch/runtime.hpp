// What this process knows of itself beside the arena: who it is, how it starts others, and its
// connection to the fork server. One object; a child that the host forked gets a new one.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "arena/owner.hpp"
#include "cohort/process.hpp"
#include "os/fd.hpp"

namespace cohort::launch {

class Child;

struct Identity {
  std::string name = "MainProcess";
  bool daemon = false;
  StartMethod method = StartMethod::fork;  // how it was started
  std::string authkey;
  pid_t parent_pid = 0;
  std::string parent_name;
  arena::MemberId parent;
};

struct Runtime {
  static Runtime& here();

  // Held while this process forks, so that the copy is whole. Guards all fields below.
  std::mutex mutex;
  Identity self;
  bool initialized = false;                  // init ran here or in the process this was forked from
  std::optional<StartMethod> chosen_method;  // set_start_method
  int next_name = 1;
  std::vector<std::shared_ptr<Child>> children;
  os::Fd front_door;             // where any member may ask the fork server for a connection
  os::Fd connection;             // ours to the server; empty until asked for
  std::mutex asking;             // one request at a time
  std::vector<char*> arguments;  // of main, for programs run again

  StartMethod default_method() const {
    return chosen_method.value_or(initialized ? StartMethod::forkserver : StartMethod::fork);
  }
};

}  // namespace cohort::launch
