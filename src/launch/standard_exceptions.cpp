#include "standard_exceptions.hpp"

#include <any>
#include <atomic>
#include <cohort/detail/remote_exception.hpp>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <regex>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <variant>

namespace cohort::detail {
namespace {

// A category of a library that this process cannot name: it has the name and no more.
class ForeignCategory final : public std::error_category {
 public:
  explicit ForeignCategory(std::string name) : name_(std::move(name)) {}
  const char* name() const noexcept override { return name_.c_str(); }
  std::string message(int value) const override { return name_ + ":" + std::to_string(value); }

 private:
  std::string name_;
};

const std::error_category& category_named(const std::string& name) {
  for (const std::error_category* known : {&std::generic_category(), &std::system_category(),
                                           &std::iostream_category(), &std::future_category()}) {
    if (name == known->name()) return *known;
  }
  // Never freed: error codes refer to their category without owning it.
  static auto& foreign = *new std::map<std::string, std::unique_ptr<ForeignCategory>>;
  static auto& mutex = *new std::mutex;
  const std::lock_guard guard(mutex);
  auto& category = foreign[name];
  if (!category) category = std::make_unique<ForeignCategory>(name);
  return *category;
}

void put_code(Writer& writer, const std::error_code& code) {
  encode(writer, std::string_view(code.category().name()));
  encode(writer, code.value());
}

std::error_code get_code(Reader& reader) {
  const auto category = decode<std::string>(reader);
  const int value = decode<int>(reader);
  return {value, category_named(category)};
}

template <class... E>
void add_with_message() {
  (add_exception_as<E>([](Writer&, const E&) {},
                       [](Reader&, const RemoteInfo& info) { return E(info.message()); }),
   ...);
}

template <class... E>
void add_without_message() {
  (add_exception_as<E>([](Writer&, const E&) {}, [](Reader&, const RemoteInfo&) { return E(); }),
   ...);
}

template <class E>
void add_with_code() {
  add_exception_as<E>([](Writer& w, const E& error) { put_code(w, error.code()); },
                      [](Reader& r, const RemoteInfo&) { return E("", get_code(r)); });
}

void add_standard() {
  add_with_message<std::logic_error, std::domain_error, std::invalid_argument, std::length_error,
                   std::out_of_range, std::runtime_error, std::range_error, std::overflow_error,
                   std::underflow_error>();
  add_without_message<std::exception, std::bad_alloc, std::bad_array_new_length, std::bad_cast,
                      std::bad_any_cast, std::bad_typeid, std::bad_exception,
                      std::bad_function_call, std::bad_optional_access, std::bad_variant_access,
                      std::bad_weak_ptr>();
  add_exception_as<std::system_error>(
      [](Writer& w, const std::system_error& error) { put_code(w, error.code()); },
      [](Reader& r, const RemoteInfo&) { return std::system_error(get_code(r)); });
  add_with_code<std::ios_base::failure>();
  using std::filesystem::filesystem_error;
  add_exception_as<filesystem_error>(
      [](Writer& w, const filesystem_error& error) {
        put_code(w, error.code());
        encode(w, error.path1());
        encode(w, error.path2());
      },
      [](Reader& r, const RemoteInfo&) {
        const auto code = get_code(r);
        const auto first = decode<std::filesystem::path>(r);
        const auto second = decode<std::filesystem::path>(r);
        return filesystem_error("", first, second, code);
      });
  add_exception_as<std::future_error>(
      [](Writer& w, const std::future_error& error) { encode(w, error.code().value()); },
      [](Reader& r, const RemoteInfo&) {
        return std::future_error(static_cast<std::future_errc>(decode<int>(r)));
      });
  add_exception_as<std::regex_error>(
      [](Writer& w, const std::regex_error& error) { encode(w, static_cast<int>(error.code())); },
      [](Reader& r, const RemoteInfo&) {
        return std::regex_error(static_cast<std::regex_constants::error_type>(decode<int>(r)));
      });
}

void add_ours() {
  add_with_message<Error, TimeoutError, BrokenPool, CancelledError, InvalidStateError, EndOfFile,
                   BufferTooShort, AuthenticationError, QueueEmpty, QueueFull, QueueShutDown,
                   BrokenBarrier, LockOwnerDied, DeadlockError, NotInitialized, SerializationError,
                   ProcessError, KeyError, IndexError, KeyboardInterrupt>();
  add_exception_as<WorkerDied>(
      [](Writer& w, const WorkerDied& error) { encode(w, error.death()); },
      [](Reader& r, const RemoteInfo&) { return WorkerDied(decode<WorkerDeath>(r)); });
  add_exception_as<TypeMismatch>(
      [](Writer& w, const TypeMismatch& error) {
        encode(w, error.expected());
        encode(w, error.found());
      },
      [](Reader& r, const RemoteInfo&) {
        const auto expected = decode<std::string>(r);
        return TypeMismatch(expected, decode<std::string>(r));
      });
  add_exception_as<RemoteError>([](Writer&, const RemoteError&) {},
                                [](Reader&, const RemoteInfo& info) { return RemoteError(info); });
}

}  // namespace

void add_known_exceptions() {
  // No static guard: a fork during the first call would leave it locked for ever in the child.
  static std::atomic<bool> done = false;
  if (done.load(std::memory_order_acquire)) return;
  add_standard();
  add_ours();
  done.store(true, std::memory_order_release);
}

}  // namespace cohort::detail
