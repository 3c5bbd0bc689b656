#include <cxxabi.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cohort/detail/remote_exception.hpp>
#include <cstdlib>
#include <ios>
#include <memory>
#include <vector>

#include "standard_exceptions.hpp"

namespace cohort::detail {
namespace {

std::atomic<const ExceptionNode*> nodes = nullptr;

// What is sent.
struct Message {
  std::string
      key;  // mangled name of a type with a node; empty: none, or its data could not be sent
  std::string type_name;
  std::string message;
  int pid = 0;
  std::string traceback;
  std::vector<std::byte> data;  // what the node's encode wrote
};

const ExceptionNode* find_by_name(std::string_view name) {
  for (const auto* node = nodes.load(std::memory_order_acquire); node; node = node->next) {
    if (name == node->type->name()) return node;
  }
  return nullptr;
}

const ExceptionNode* find_by_type(const std::type_info& type) {
  for (const auto* node = nodes.load(std::memory_order_acquire); node; node = node->next) {
    if (type == *node->type || type == *node->carried) return node;
  }
  // The library's own derived classes: std::throw_with_nested's, and what streams throw.
  std::string_view name = type.name();
  constexpr std::string_view nested = "St17_Nested_exceptionI";
  if (name.starts_with(nested) && name.ends_with('E')) {
    name.remove_prefix(nested.size());
    name.remove_suffix(1);
    return find_by_name(name);
  }
  if (name == "St13__ios_failure") return find_by_type(typeid(std::ios_base::failure));
  return nullptr;
}

std::string text(const char* what) { return what != nullptr ? what : ""; }

// The type and message of the exception that is being handled.
void describe_current(Message& message) {
  if (const std::type_info* type = abi::__cxa_current_exception_type()) {
    const ExceptionNode* node = find_by_type(*type);
    message.type_name = demangle(node != nullptr ? node->type->name() : type->name());
  } else {
    message.type_name = "foreign exception";
  }
  try {
    throw;
  } catch (const std::exception& error) {
    message.message = text(error.what());
  } catch (const std::string& value) {
    message.message = value;
  } catch (const char* value) {
    message.message = text(value);
  } catch (int value) {
    message.message = std::to_string(value);
  } catch (...) {
  }
}

// One line for each exception nested in the one being handled.
void append_nested(std::string& traceback, int depth = 0) {
  try {
    throw;
  } catch (const std::nested_exception& outer) {
    if (!outer.nested_ptr() || depth > 64) return;
    try {
      outer.rethrow_nested();
    } catch (...) {
      Message inner;
      describe_current(inner);
      if (!traceback.empty() && traceback.back() != '\n') traceback += '\n';
      traceback += "caused by " + inner.type_name;
      if (!inner.message.empty()) traceback += ": " + inner.message;
      traceback += '\n';
      append_nested(traceback, depth + 1);
    }
  } catch (...) {
  }
}

// Where the exception being handled came from, if it was not thrown in this process.
void take_origin(Message& message) {
  try {
    throw;
  } catch (const RemoteInfo& origin) {
    message.type_name = origin.type_name();
    message.message = origin.message();
    message.pid = origin.pid();
    message.traceback = origin.traceback();
  } catch (...) {
  }
}

void add_data(Message& message, const std::exception_ptr& error) {
  try {
    const ExceptionNode* node = find_by_type(*abi::__cxa_current_exception_type());
    if (node == nullptr) return;
    HeapWriter data;
    node->encode(data, error);
    message.data.assign(data.bytes().begin(), data.bytes().end());
    message.key = node->type->name();
  } catch (...) {  // its data cannot be sent: it arrives as RemoteError
    message.data.clear();
    message.key.clear();
  }
}

Message describe(const std::exception_ptr& error, std::string_view traceback) {
  Message message;
  message.pid = ::getpid();
  try {
    std::rethrow_exception(error);
  } catch (...) {
    try {
      message.traceback = traceback;
      describe_current(message);
      append_nested(message.traceback);
      take_origin(message);
      if (abi::__cxa_current_exception_type() != nullptr) add_data(message, error);
    } catch (...) {  // its what() threw, or no memory: send what there is
      message.key.clear();
    }
  }
  return message;
}

std::exception_ptr rebuild(const Message& message) {
  RemoteInfo info(message.type_name, message.message, message.pid, message.traceback);
  if (const ExceptionNode* node = message.key.empty() ? nullptr : find_by_name(message.key)) {
    try {
      Reader data(message.data);
      return node->decode(data, info);
    } catch (...) {
    }
  }
  return std::make_exception_ptr(RemoteError(std::move(info)));
}

}  // namespace

void add_exception(ExceptionNode& node) {
  int absent = 0;
  if (node.state.compare_exchange_strong(absent, 1)) {
    node.next = nodes.load(std::memory_order_relaxed);
    while (!nodes.compare_exchange_weak(node.next, &node, std::memory_order_release)) {
    }
    node.state.store(2, std::memory_order_release);
  }
  // Another thread is at it. Bounded: after a fork that thread may not exist here.
  for (int i = 0; i < 1000 && node.state.load(std::memory_order_acquire) != 2; ++i) ::sched_yield();
}

std::string demangle(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return name ? name.get() : mangled;
}

void encode_exception(Writer& writer, std::exception_ptr error, std::string_view traceback) {
  if (!error) error = std::make_exception_ptr(Error("no exception"));
  add_known_exceptions();
  encode(writer, describe(error, traceback));
}

std::exception_ptr decode_exception(Reader& reader) {
  try {
    add_known_exceptions();
    return rebuild(decode<Message>(reader));
  } catch (...) {
    return std::current_exception();
  }
}

void throw_remote(Reader& reader) { std::rethrow_exception(decode_exception(reader)); }

}  // namespace cohort::detail
