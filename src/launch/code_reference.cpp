// Code references: a module of code is known by its build-id, so that a place in it means the same
// in every member, wherever the module is mapped there, and another build is found out.
#include <dlfcn.h>
#include <link.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "arena/space.hpp"
#include "cohort/detail/target.hpp"
#include "cohort/error.hpp"
#include "launch/request.hpp"

namespace cohort::detail {
namespace {

struct Module {
  std::uintptr_t base = 0;
  std::uintptr_t begin = 0;  // of what is mapped
  std::uintptr_t end = 0;
  std::uint64_t identity = 0;
  std::string path;
};

std::uint64_t hash(const unsigned char* bytes, std::size_t count) {  // FNV-1a
  std::uint64_t value = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < count; ++i) value = (value ^ bytes[i]) * 0x100000001b3;
  return value ? value : 1;
}

// The hash of the GNU build-id in a segment of notes.
std::optional<std::uint64_t> build_id(const unsigned char* notes, std::size_t bytes) {
  while (bytes >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes, sizeof note);
    std::size_t name = (note.n_namesz + 3U) / 4 * 4;
    std::size_t whole = sizeof note + name + (note.n_descsz + 3U) / 4 * 4;
    if (whole > bytes) break;
    bool gnu = note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
               std::memcmp(notes + sizeof note, "GNU", 4) == 0;
    if (gnu) return hash(notes + sizeof note + name, note.n_descsz);
    notes += whole;
    bytes -= whole;
  }
  return std::nullopt;
}

Module describe(const dl_phdr_info& info) {
  Module module;
  module.base = info.dlpi_addr;
  module.begin = UINTPTR_MAX;
  const unsigned char* code = nullptr;
  std::size_t code_bytes = 0;
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const auto& part = info.dlpi_phdr[i];
    std::uintptr_t start = module.base + part.p_vaddr;
    const auto* memory = reinterpret_cast<const unsigned char*>(start);
    if (part.p_type == PT_NOTE && module.identity == 0)
      module.identity = build_id(memory, part.p_memsz).value_or(0);
    if (part.p_type != PT_LOAD) continue;
    module.begin = std::min(module.begin, start);
    module.end = std::max(module.end, start + part.p_memsz);
    if ((part.p_flags & PF_X) != 0 && !code) {
      code = memory;
      code_bytes = part.p_filesz;
    }
  }
  // Linked without a build-id: its code stands for it.
  if (module.identity == 0 && code) module.identity = hash(code, code_bytes);
  module.path = info.dlpi_name ? info.dlpi_name : "";
  return module;
}

// The modules that are loaded now. Kept until one is loaded or unloaded: reading them anew for each
// start would cost a good part of it.
struct Modules {
  unsigned long long loaded = 0;
  unsigned long long unloaded = 0;
  std::vector<Module> all;
  const Modules* before = nullptr;  // a reader may still have it
};

std::atomic<const Modules*> known_modules{nullptr};
std::atomic<const Module*> the_program{nullptr};  // the one module that is never unloaded

bool up_to_date(const Modules& modules) {
  struct Counts {
    unsigned long long loaded = 0;
    unsigned long long unloaded = 0;
  } now;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        *static_cast<Counts*>(data) = {info->dlpi_adds, info->dlpi_subs};
        return 1;
      },
      &now);
  return now.loaded == modules.loaded && now.unloaded == modules.unloaded;
}

// Without a lock, which another thread might hold while this process is forked.
const std::vector<Module>& loaded_modules() {
  const Modules* known = known_modules.load(std::memory_order_acquire);
  if (known && up_to_date(*known)) return known->all;
  auto* fresh = new Modules;
  fresh->before = known;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& modules = *static_cast<Modules*>(data);
        modules.loaded = info->dlpi_adds;
        modules.unloaded = info->dlpi_subs;
        modules.all.push_back(describe(*info));
        return 0;
      },
      fresh);
  known_modules.store(fresh, std::memory_order_release);
  // It comes first, and has no name.
  if (!fresh->all.empty() && fresh->all.front().path.empty())
    the_program.store(&fresh->all.front(), std::memory_order_release);
  return fresh->all;
}

template <class Wanted>
const Module* find_module(Wanted&& wanted) {
  const auto& modules = loaded_modules();
  auto found = std::find_if(modules.begin(), modules.end(), wanted);
  return found == modules.end() ? nullptr : &*found;
}

std::string canonical(const std::string& path) {
  std::error_code ignored;
  auto real = std::filesystem::weakly_canonical(path, ignored);
  return ignored ? path : real.string();
}

// Lets members that have not loaded the module find its file.
void publish(const Module& module) {
  if (module.path.empty()) return;  // the program itself, which everybody runs
  auto& names = arena::Space::here().header().modules;
  bool known = std::any_of(names.begin(), names.end(), [&](const auto& entry) {
    return entry.identity.load(std::memory_order_acquire) == module.identity;
  });
  if (known) return;
  std::string path = canonical(module.path);
  for (auto& entry : names) {
    if (path.size() >= sizeof entry.path) return;
    std::uint64_t nobody = 0;
    if (!entry.identity.compare_exchange_strong(nobody, module.identity)) {
      if (nobody == module.identity) return;
      continue;
    }
    std::memcpy(entry.path, path.c_str(), path.size() + 1);
    entry.written.store(1, std::memory_order_release);
    return;
  }
}

std::string published_path(std::uint64_t identity) {
  for (auto& entry : arena::Space::here().header().modules) {
    if (entry.identity.load(std::memory_order_acquire) == identity &&
        entry.written.load(std::memory_order_acquire) != 0)
      return entry.path;
  }
  return {};
}

[[noreturn]] void missing(std::uint64_t identity, const std::string& path) {
  if (path.empty())
    throw Error(
        "the function to run lies in a program or library that is not loaded in this process "
        "(build " +
        std::to_string(identity) +
        "); a library opened after cohort::init must be opened in the fork server too: "
        "cohort::preload a function that does so");
  const Module* other = find_module(
      [&](const Module& module) { return !module.path.empty() && canonical(module.path) == path; });
  if (other)
    throw Error("the library " + path +
                " was replaced by another build since the caller loaded it, so functions in it "
                "cannot be found here: start the program again");
  throw Error("the function to run lies in " + path +
              ", which could not be loaded in this process: " + [] {
                const char* why = ::dlerror();
                return std::string(why ? why : "no reason given");
              }());
}

const Module* module_of(std::uint64_t identity) {
  return find_module([&](const Module& module) { return module.identity == identity; });
}

}  // namespace

CodeReference refer_to_code(const void* address) {
  auto place = reinterpret_cast<std::uintptr_t>(address);
  const Module* module =
      find_module([&](const Module& one) { return one.begin <= place && place < one.end; });
  if (!module) throw Error("a function to send to another process lies in no loaded module");
  publish(*module);
  return {module->identity, place - module->base};
}

const void* find_code(CodeReference reference) {
  const Module* module = the_program.load(std::memory_order_acquire);
  if (!module || module->identity != reference.module) module = module_of(reference.module);
  if (!module) {
    std::string path = published_path(reference.module);
    if (!path.empty() && ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr)
      module = module_of(reference.module);
    if (!module) missing(reference.module, path);
  }
  std::uintptr_t place = module->base + reference.offset;
  if (place < module->begin || place >= module->end)
    throw SerializationError("a code reference points outside its module");
  return reinterpret_cast<const void*>(place);
}

}  // namespace cohort::detail

namespace cohort::launch {
namespace {
std::vector<std::uint64_t>& modules_at_init() {
  static auto* modules = new std::vector<std::uint64_t>;
  return *modules;
}
}  // namespace

void note_modules_at_init() {
  for (const auto& module : detail::loaded_modules()) modules_at_init().push_back(module.identity);
}

bool was_there_at_init(detail::CodeReference reference) {
  const auto& modules = modules_at_init();
  return std::find(modules.begin(), modules.end(), reference.module) != modules.end();
}

}  // namespace cohort::launch
