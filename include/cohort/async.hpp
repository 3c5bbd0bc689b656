// One call in a process of its own.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "cohort/detail/remote_result.hpp"
#include "cohort/detail/target.hpp"
#include "cohort/detail/type_name.hpp"
#include "cohort/futures.hpp"

namespace cohort {

// Starts a process that calls `f(args...)`; the future has what it returns or throws. The same may
// be sent as with Process, and the result must be serializable.
template <class F, class... Args>
auto async(F&& f, Args&&... args) {
  auto call = detail::make_call(std::forward<F>(f), std::forward<Args>(args)...);
  using Call = decltype(call);
  using Result = std::decay_t<decltype(call())>;
  if constexpr (!std::is_void_v<Result>) {
    static_assert(Serializable<Result>,
                  "the result of this call cannot cross back to this process: its type is not "
                  "serializable. Return values, not pointers or references, of types that are "
                  "plain aggregates or have a serialize member");
  }
  auto port = detail::ResultPort::make();
  using Ported = detail::PortedCall<Call>;
  auto target = std::make_unique<detail::SentTarget<Ported>>(Ported(port, std::move(call)));
  auto started = detail::RemoteCall::start(std::move(port), std::move(target),
                                           std::string(detail::type_name<std::decay_t<F>>()));
  return futures::Future<Result>(
      std::make_shared<detail::RemoteResult<Result>>(std::move(started)));
}

}  // namespace cohort
