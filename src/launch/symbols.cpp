#include "symbols.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <cohort/detail/remote_exception.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>

namespace cohort::detail {
namespace {

using Header = ElfW(Ehdr);
using Section = ElfW(Shdr);
using Entry = ElfW(Sym);

// `size` bytes at `offset`; empty if the file does not have them.
std::string read_part(std::ifstream& file, std::uint64_t offset, std::uint64_t size) {
  file.clear();
  file.seekg(0, std::ios::end);
  const auto total = static_cast<std::uint64_t>(file.tellg());
  if (offset > total || size > total - offset) return {};
  std::string part(size, '\0');
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(part.data(), static_cast<std::streamsize>(size));
  return file ? part : std::string();
}

template <class T>
bool load(const std::string& part, std::uint64_t offset, T& object) {
  if (offset > part.size() || part.size() - offset < sizeof(T)) return false;
  std::memcpy(&object, part.data() + offset, sizeof(T));
  return true;
}

template <class Function>
void add_functions(const std::string& table, const std::string& names, std::vector<Function>& out) {
  Entry entry{};
  for (std::uint64_t at = 0; load(table, at, entry); at += sizeof(Entry)) {
    if ((entry.st_info & 0xF) != STT_FUNC || entry.st_size == 0) continue;
    if (entry.st_name >= names.size()) continue;
    out.push_back({entry.st_value, entry.st_value + entry.st_size, names.c_str() + entry.st_name});
  }
}

template <class Function>
std::vector<Function> read_functions(const std::string& path) {
  std::vector<Function> functions;
  std::ifstream file(path, std::ios::binary);
  Header header{};
  if (!load(read_part(file, 0, sizeof header), 0, header)) return functions;
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return functions;
  const std::string sections =
      read_part(file, header.e_shoff, std::uint64_t{header.e_shnum} * sizeof(Section));
  Section table{};
  Section names{};
  for (std::uint64_t at = 0; load(sections, at, table); at += sizeof(Section)) {
    if (table.sh_type != SHT_SYMTAB) continue;
    if (!load(sections, std::uint64_t{table.sh_link} * sizeof(Section), names)) continue;
    add_functions(read_part(file, table.sh_offset, table.sh_size),
                  read_part(file, names.sh_offset, names.sh_size), functions);
  }
  return functions;
}

}  // namespace

std::string Symbol::line() const {
  char hex[2 * sizeof(offset) + 1];
  std::snprintf(hex, sizeof hex, "%lx", static_cast<unsigned long>(offset));
  return (function.empty() ? "?" : function) + " (" + module + "+0x" + hex + ")";
}

const std::vector<Symbols::Function>& Symbols::functions_of(const std::string& path) {
  const auto [place, inserted] = modules_.try_emplace(path);
  if (inserted) place->second = read_functions<Function>(path);
  return place->second;
}

Symbol Symbols::find(std::uintptr_t address) {
  Symbol symbol;
  Dl_info info{};
  link_map* map = nullptr;
  if (::dladdr1(reinterpret_cast<void*>(address), &info, reinterpret_cast<void**>(&map),
                RTLD_DL_LINKMAP) == 0) {
    symbol.module = "?";
    symbol.offset = address;
    return symbol;
  }
  std::string path = info.dli_fname;
  if (map == nullptr || map->l_name == nullptr || *map->l_name == '\0') path = "/proc/self/exe";
  const std::string_view file = info.dli_fname;
  symbol.module = file.substr(file.rfind('/') + 1);  // npos + 1 is 0
  symbol.offset = address - (map != nullptr ? map->l_addr : 0);
  if (info.dli_sname != nullptr) {
    symbol.function = demangle(info.dli_sname);
    return symbol;
  }
  for (const Function& function : functions_of(path)) {
    if (function.begin <= symbol.offset && symbol.offset < function.end) {
      symbol.function = demangle(function.name.c_str());
      break;
    }
  }
  return symbol;
}

}  // namespace cohort::detail
