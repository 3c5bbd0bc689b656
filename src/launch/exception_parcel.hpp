// Exceptions on their way to another member, packed into a parcel of the receiver's.
#pragma once

#include "arena/owner.hpp"
#include "arena/space.hpp"

namespace cohort::launch {

// The exception being handled. Answers 0 when not even that can be packed.
arena::Offset pack_exception(arena::Space& space, arena::MemberId receiver) noexcept;
[[noreturn]] void throw_packed_exception(arena::Space& space, arena::Offset parcel);

// "KIND NAME:", the stack of the throw, type and message of the exception being handled, on
// stderr.
void report_uncaught(const char* kind, const char* name) noexcept;

}  // namespace cohort::launch
