// A Python program of peers/ that measures when asked, so that its rounds fall between ours.
#pragma once

#include <sys/types.h>

#include <string>

namespace bench {

class PythonPeer {
 public:
  // Starts `python3 peers/SCRIPT`. Where that fails, missing() says why.
  explicit PythonPeer(const std::string& script);
  ~PythonPeer();
  PythonPeer(const PythonPeer&) = delete;
  PythonPeer& operator=(const PythonPeer&) = delete;

  const std::string& missing() const { return missing_; }  // empty: it is there
  // Sends a line, such as "map 1000", and answers the number that comes back.
  double ask(const std::string& line);

 private:
  double read_number();

  pid_t pid_ = -1;
  int to_ = -1;
  int from_ = -1;
  std::string missing_;
};

}  // namespace bench
