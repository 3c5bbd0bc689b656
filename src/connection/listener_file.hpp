// The file of a listener at a Unix socket with a path, and the folder that was made for it. The
// arena has a note of them, so that they also go when the process is killed.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cohort/finalize.hpp"

namespace cohort::connection {

struct ListenerNote;

class ListenerFile {
 public:
  // At a path that the program chose.
  static std::unique_ptr<ListenerFile> at(const std::string& path);
  // In a new folder that only this user can look into.
  static std::unique_ptr<ListenerFile> in_new_folder();

  // As it was given.
  const std::string& path() const noexcept { return path_; }
  // The socket was bound: the file is there, and ours. From then on it goes with this object, or
  // with the process that made it; but not when another file has taken its place meanwhile.
  void bound() noexcept;

 private:
  ListenerFile(std::string path, std::string folder);

  std::string path_;
  ListenerNote* note_;
  std::optional<Finalizer> removal_;
};

}  // namespace cohort::connection
