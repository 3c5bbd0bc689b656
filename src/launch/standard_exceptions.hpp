#pragma once

namespace cohort::detail {

// Adds every exception type of the standard library and of cohort. Cheap after the first call.
void add_known_exceptions();

}  // namespace cohort::detail
