// The least of a coroutine: begins at once, is awaited by nobody, and destroys itself.
#pragma once

#include <coroutine>
#include <exception>

namespace test {

struct Coroutine {
  struct promise_type {
    Coroutine get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() { std::terminate(); }
  };
};

}  // namespace test
