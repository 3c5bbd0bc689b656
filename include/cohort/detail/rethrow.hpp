#pragma once

namespace cohort::detail {

// Called in a handler: cereal's errors, and lengths that no container takes, become
// SerializationError; everything else goes on as it is.
[[noreturn]] void rethrow_as_serialization_error();

}  // namespace cohort::detail
