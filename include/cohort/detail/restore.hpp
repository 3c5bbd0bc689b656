#pragma once

namespace cohort::detail {

// Passed to the constructor `T(Restore, InArchive&)` of types, cohort's handles above all, that are
// made from a message directly instead of being default-constructed and then loaded into.
struct Restore {};

}  // namespace cohort::detail
