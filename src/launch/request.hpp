// What a process is started with, for the methods that do not copy the caller: a parcel in the
// arena, owned by the child from before it exists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "arena/owner.hpp"
#include "arena/space.hpp"
#include "cohort/detail/target.hpp"
#include "launch/runtime.hpp"

namespace cohort::launch {

struct StartInfo {
  detail::CodeReference thunk;
  std::string name;
  std::string authkey;
  std::string parent_name;
  std::int32_t parent_pid = 0;
  bool daemon = false;
  bool reports = false;  // the asker waits to hear whether the target could be decoded
  StartMethod method = StartMethod::forkserver;
  std::optional<StartMethod> chosen_method;
};

// Encodes the request; `child` holds every block that the arguments refer to from now on.
arena::Offset make_request(arena::Space& space, const StartInfo& info, const detail::Target& target,
                           arena::MemberId child);

// Whether the code lies in a module that was loaded when `init` ran, so that every child of the
// fork server has it.
bool was_there_at_init(detail::CodeReference reference);
void note_modules_at_init();

}  // namespace cohort::launch
