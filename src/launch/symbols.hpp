// Names of code addresses in this process. Slow, allocates: for reports of failures.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cohort::detail {

struct Symbol {
  std::string function;  // readable; empty if unknown
  std::string module;    // file name without its folder
  std::uintptr_t offset = 0;

  // "function (module+0xoffset)"
  std::string line() const;
};

class Symbols {
 public:
  Symbol find(std::uintptr_t address);

 private:
  struct Function {
    std::uintptr_t begin;
    std::uintptr_t end;
    std::string name;
  };
  // The functions of a module's symbol table, addresses as linked. Executables rarely export
  // theirs, so that dladdr does not see them.
  const std::vector<Function>& functions_of(const std::string& path);

  std::map<std::string, std::vector<Function>> modules_;
};

}  // namespace cohort::detail
