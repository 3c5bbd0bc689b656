// The one door for system calls: EINTR is retried here, and a failure keeps the call's text and
// errno.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>

namespace cohort::os {

// Throws std::system_error: "CALL: what errno means (detail)".
[[noreturn]] void fail(std::string_view call, int error, std::string_view detail = {});

// Runs `call` until it is not interrupted. Answers its result, -1 with errno set on failure.
// Never for close(): after EINTR Linux has closed the descriptor already.
template <class Call>
auto retry(Call&& call) {
  for (;;) {
    auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

// As `retry`, and throws when the call failed.
template <class Call>
auto must(std::string_view text, Call&& call) {
  auto result = retry(call);
  if (result == -1) fail(text, errno);
  return result;
}

}  // namespace cohort::os
