#include <cohort/error.hpp>
#include <csignal>
#include <cstring>
#include <utility>

namespace cohort {
namespace {

std::string signal_name(int number) {
  if (const char* abbreviation = ::sigabbrev_np(number)) return std::string("SIG") + abbreviation;
  return "signal " + std::to_string(number);
}

std::string describe(const WorkerDeath& death) {
  std::string text = "worker";
  if (death.pid != 0) text += " " + std::to_string(death.pid);
  text += death.exitcode < 0 ? " was killed by " + signal_name(-death.exitcode)
                             : " exited with code " + std::to_string(death.exitcode);
  if (!death.task.empty()) text += " while running task '" + death.task + "'";
  return text;
}

std::string mismatch(std::string_view expected, std::string_view found) {
  std::string text = "type mismatch: expected ";
  text.append(expected).append(", found ").append(found);
  return text;
}

}  // namespace

WorkerDied::WorkerDied(WorkerDeath death) : Error(describe(death)), death_(std::move(death)) {}

TypeMismatch::TypeMismatch(std::string_view expected, std::string_view found)
    : Error(mismatch(expected, found)), expected_(expected), found_(found) {}

RemoteInfo::RemoteInfo(std::string type_name, std::string message, int pid, std::string traceback)
    : type_name_(std::move(type_name)),
      message_(std::move(message)),
      pid_(pid),
      traceback_(std::move(traceback)) {}

RemoteInfo::~RemoteInfo() = default;

RemoteError::RemoteError(RemoteInfo info)
    : Error(info.message().empty() ? info.type_name() : info.type_name() + ": " + info.message()),
      RemoteInfo(std::move(info)) {}

}  // namespace cohort
