#include "os/call.hpp"

#include <system_error>

namespace cohort::os {

void fail(std::string_view call, int error, std::string_view detail) {
  std::string text(call);
  if (!detail.empty()) text.append(" (").append(detail).append(")");
  throw std::system_error(error, std::generic_category(), text);
}

}  // namespace cohort::os
