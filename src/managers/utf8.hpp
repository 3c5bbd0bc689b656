// UTF-8 as Python's str travels: lone surrogates are allowed, three bytes each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort::managers {

// The code point at `at`, which moves behind it; nothing, and `at` stays, where there is none.
std::optional<std::uint32_t> next_code_point(std::string_view text, std::size_t& at) noexcept;

bool is_utf8(std::string_view text) noexcept;

void append_utf8(std::string& text, std::uint32_t code_point);

}  // namespace cohort::managers
