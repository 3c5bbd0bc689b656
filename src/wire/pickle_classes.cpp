#include "wire/pickle_classes.hpp"

#include <algorithm>

#include "managers/object_array.hpp"

namespace cohort::wire {

namespace {

using managers::Object;

// In alphabetical order.
constexpr std::string_view kExceptions[] = {
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "BaseExceptionGroup",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EncodingWarning",
    "EnvironmentError",
    "Exception",
    "ExceptionGroup",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "GeneratorExit",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "KeyboardInterrupt",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "PythonFinalizationError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "SystemExit",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
    "UnicodeTranslateError",
    "UnicodeWarning",
    "UserWarning",
    "ValueError",
    "Warning",
    "ZeroDivisionError",
};
static_assert(std::is_sorted(std::begin(kExceptions), std::end(kExceptions)));

struct Known {
  std::string_view module;
  std::string_view name;
  ClassKind kind;
};

constexpr Known kClasses[] = {
    {"builtins", "complex", ClassKind::complex},
    {"builtins", "bytes", ClassKind::bytes},
    {"builtins", "bytearray", ClassKind::bytearray},
    {"builtins", "list", ClassKind::list},
    {"builtins", "set", ClassKind::set},
    {"builtins", "frozenset", ClassKind::frozenset},
    {"builtins", "slice", ClassKind::slice},
    {"builtins", "range", ClassKind::range},
    {"builtins", "iter", ClassKind::iterator},
    {"builtins", "reversed", ClassKind::iterator},
    {"queue", "Empty", ClassKind::exception},
    {"queue", "Full", ClassKind::exception},
    {"queue", "ShutDown", ClassKind::exception},
    {"threading", "BrokenBarrierError", ClassKind::exception},
    {"multiprocessing.context", "ProcessError", ClassKind::exception},
    {"multiprocessing.context", "BufferTooShort", ClassKind::exception},
    {"multiprocessing.context", "TimeoutError", ClassKind::exception},
    {"multiprocessing.context", "AuthenticationError", ClassKind::exception},
    {"multiprocessing.managers", "RemoteError", ClassKind::exception},
    {"multiprocessing.managers", "Token", ClassKind::token},
    {"array", "array", ClassKind::array},
    {"array", "_array_reconstructor", ClassKind::array_reconstructor},
    {"collections", "OrderedDict", ClassKind::ordered_dict},
    {"collections", "deque", ClassKind::deque},
    {"collections", "Counter", ClassKind::counter},
    {"_codecs", "encode", ClassKind::encode},
};

bool is_identifier(std::string_view text) noexcept {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

bool all_of(std::span<const Object> args, auto&& test) noexcept {
  return std::all_of(args.begin(), args.end(), test);
}

const char* unless(bool fine, const char* fault) noexcept { return fine ? nullptr : fault; }

bool is_float(const Object& object) { return object.is_float(); }
bool is_int(const Object& object) { return object.is_int(); }
bool is_bound(const Object& object) { return object.is_none() || object.is_int(); }

bool is_token(std::span<const Object> args) noexcept {
  return args.size() == 3 && args[0].is_str() && args[2].is_str();
}

}  // namespace

ClassName modern_name(std::string module, std::string name) {
  if (module == "__builtin__" || module == "exceptions") {
    module = "builtins";
    if (name == "xrange") name = "range";
  } else if (module == "_queue" || module == "Queue") {
    module = "queue";  // one class, whichever module says so
  } else if (module == "multiprocessing" &&
             class_kind({"multiprocessing.context", name}) != ClassKind::unknown) {
    module = "multiprocessing.context";
  }
  return {std::move(module), std::move(name)};
}

ClassKind class_kind(const ClassName& name) noexcept {
  for (const auto& known : kClasses) {
    if (known.module == name.module && known.name == name.name) return known.kind;
  }
  const bool exception = name.module == "builtins" &&
                         std::binary_search(std::begin(kExceptions), std::end(kExceptions),
                                            std::string_view(name.name));
  return exception ? ClassKind::exception : ClassKind::unknown;
}

bool is_plain_name(const ClassName& name) noexcept {
  std::string_view module = name.module;
  while (true) {
    const auto dot = module.find('.');
    if (!is_identifier(module.substr(0, dot))) return false;
    if (dot == std::string_view::npos) break;
    module.remove_prefix(dot + 1);
  }
  return is_identifier(name.name);
}

const char* fault_of(ClassKind kind, std::span<const Object> args) noexcept {
  switch (kind) {
    case ClassKind::exception:
      return nullptr;
    case ClassKind::complex:
      return unless(args.size() == 2 && all_of(args, is_float), "complex of other than two floats");
    case ClassKind::bytes:
      return unless(args.empty(), "bytes made from something");
    case ClassKind::bytearray:
      return unless(args.empty() || (args.size() == 1 && args[0].is_bytes()),
                    "bytearray of other than bytes");
    case ClassKind::list:
    case ClassKind::set:
    case ClassKind::frozenset:
      return unless(args.size() == 1 && args[0].is_list(),
                    "list, set or frozenset of other than a list");
    case ClassKind::slice:
      return unless(args.size() == 3 && all_of(args, is_bound),
                    "slice of other than three ints or None");
    case ClassKind::range:
      return unless(args.size() == 3 && all_of(args, is_int) && args[2] != 0,
                    "range of other than three ints, the step not 0");
    case ClassKind::iterator:
      return unless(args.size() == 1 && (args[0].is_list() || args[0].is_tuple()),
                    "iterator over other than a list or tuple");
    case ClassKind::token:
      return unless(is_token(args), "Token of other than str, address and str");
    case ClassKind::array:
      return unless(managers::is_array_args(args),
                    "array of other than a type code and whole items");
    case ClassKind::ordered_dict:
    case ClassKind::counter:
      return unless(args.size() == 1 && args[0].is_dict(),
                    "OrderedDict or Counter of other than a dict");
    case ClassKind::deque:
      return unless(
          (args.size() == 1 || (args.size() == 2 && is_bound(args[1]))) && args[0].is_list(),
          "deque of other than a list and a length");
    default:
      return "no class that is known";
  }
}

const char* state_fault(ClassKind kind, const Object& state) noexcept {
  switch (kind) {
    case ClassKind::exception:
      return unless(state.is_dict(), "the state of an exception is no dict");
    case ClassKind::iterator:
      return unless(state.is<std::int64_t>(), "the state of an iterator is no small int");
    default:
      return "a state where there is none";
  }
}

}  // namespace cohort::wire
