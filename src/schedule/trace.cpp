#include "schedule/trace.hpp"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <concepts>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>

#include "arena/space.hpp"
#include "cohort/finalize.hpp"
#include "managers/utf8.hpp"
#include "os/call.hpp"
#include "os/signals.hpp"
#include "os/stream.hpp"

namespace cohort::trace {
namespace {

using namespace std::chrono_literals;

constexpr const char* kVariable = "COHORT_TRACE";
constexpr std::size_t kPage = 4096;
constexpr std::size_t kFull = 256 * 1024;
constexpr auto kLongestDelay = 1s;
constexpr std::size_t kLongestName = 512;  // escaped six times that: a line fits into a page
constexpr std::size_t kLongestWord = 48;
constexpr std::uint32_t kLifeRows = 1'000'000;  // added to the number of a worker's row
constexpr int kAfterPools = std::numeric_limits<int>::min();

// One line of the file.
class Line {
 public:
  template <std::size_t Size>
  Line& operator<<(const char (&text)[Size]) {
    return put({text, Size - 1});
  }
  Line& operator<<(std::integral auto number) {
    end_ = std::to_chars(end_, text_.data() + text_.size(), number).ptr;
    return *this;
  }
  // Microseconds.
  Line& operator<<(std::chrono::nanoseconds time) {
    const long long count = std::max<long long>(time.count(), 0);
    const auto rest = static_cast<unsigned>(count % 1000);
    *this << count / 1000;
    const char digits[4] = {'.', static_cast<char>('0' + rest / 100),
                            static_cast<char>('0' + rest / 10 % 10),
                            static_cast<char>('0' + rest % 10)};
    return put({digits, sizeof digits});
  }
  Line& put(std::string_view text) {
    std::memcpy(end_, text.data(), text.size());
    end_ += text.size();
    return *this;
  }
  // As the inside of a JSON string. What is no UTF-8 becomes U+FFFD.
  Line& escaped(std::string_view text, std::size_t most) {
    const bool cut = text.size() > most;
    text = text.substr(0, most);
    for (std::size_t at = 0; at < text.size();) {
      if (plain(text[at])) {
        *end_++ = text[at++];
      } else {
        escape_at(text, at);
      }
    }
    return cut ? *this << "..." : *this;
  }
  std::string_view text() const {
    return {text_.data(), static_cast<std::size_t>(end_ - text_.data())};
  }

 private:
  static bool plain(char c) { return c >= ' ' && c < 0x7f && c != '"' && c != '\\'; }
  void escape_at(std::string_view text, std::size_t& at) {
    const std::size_t from = at;
    const auto code = managers::next_code_point(text, at);
    if (!code || (*code >= 0xd800 && *code < 0xe000)) {
      at = from + 1;
      put("\\ufffd");
    } else if (*code >= 0x80) {
      put(text.substr(from, at - from));
    } else if (*code == '"' || *code == '\\') {
      *end_++ = '\\';
      *end_++ = static_cast<char>(*code);
    } else {
      constexpr std::string_view kHex = "0123456789abcdef";
      *this << "\\u00";
      *end_++ = kHex[*code / 16];
      *end_++ = kHex[*code % 16];
    }
  }

  std::array<char, kPage> text_;
  char* end_ = text_.data();
};

std::uint32_t row_of(std::uint32_t worker) { return worker + 1; }
std::chrono::nanoseconds since_boot(Time time) { return time.time_since_epoch(); }

std::string beside(const std::string& path) {
  std::size_t name = path.rfind('/') + 1;  // 0 where there is no slash
  std::size_t dot = path.rfind('.');
  bool extension = dot != std::string::npos && dot > name;
  if (!extension) dot = path.size();
  return path.substr(0, dot) + "." + std::to_string(::getpid()) + path.substr(dot);
}

bool owns_family() {
  auto& space = arena::Space::here();
  return arena::Space::epoch() == 0 && space.self().raw == space.header().root.load();
}

// Locks by process rather than by descriptor: children that inherit the file must not keep it.
enum class Claim { ours, in_use };
Claim claim(int fd) {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  bool refused = os::retry([&] { return ::fcntl(fd, F_SETLK, &whole); }) == -1;
  // Anything else is a file without locks, such as a pipe.
  return refused && (errno == EACCES || errno == EAGAIN) ? Claim::in_use : Claim::ours;
}

os::Fd open_file(const std::string& path) {
  return os::Fd::clear_of_stdio(os::must("open", [&] {
    return ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
  }));
}

// `path`, or the one beside it when another process writes there.
os::Fd open_trace(const std::string& path) {
  os::Fd file = open_file(path);
  if (claim(file.get()) == Claim::in_use) file = open_file(beside(path));
  (void)::ftruncate(file.get(), 0);  // a pipe has no length
  return file;
}

constinit std::atomic<bool> untraced{false};  // known not to be asked for a trace
constinit std::atomic<Recorder*> the_recorder{nullptr};
// The one of the process that forked us: nothing uses it, a leak checker sees it.
[[gnu::used]] constinit std::atomic<Recorder*> left_behind{nullptr};

}  // namespace

Recorder* Recorder::current() {
  if (untraced.load(std::memory_order_relaxed)) [[likely]]
    return nullptr;
  Recorder* made = the_recorder.load(std::memory_order_acquire);
  return made != nullptr && made->in_its_process() ? made : make_current(made);
}

Recorder* Recorder::make_current(Recorder* stale) {
  const char* path = std::getenv(kVariable);
  if (path == nullptr || *path == '\0') {
    untraced.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  auto* made = new Recorder(path);
  if (the_recorder.compare_exchange_strong(stale, made, std::memory_order_acq_rel)) {
    left_behind.store(stale);
    return made;
  }
  delete made;
  return stale;  // of another thread, which was faster
}

Recorder::Recorder(const std::string& path)
    : path_(owns_family() ? path : beside(path)),
      epoch_(arena::Space::epoch()),
      member_(arena::Space::here().self().raw) {}

bool Recorder::in_its_process() const noexcept {
  auto* space = arena::Space::current();
  return epoch_ == arena::Space::epoch() && space != nullptr && space->self().raw == member_;
}

int Recorder::new_pool() {
  std::lock_guard guard(mutex_);
  if (!opened_) open();
  named_workers_.push_back(0);
  int pool = static_cast<int>(named_workers_.size());
  name_process(pool);
  return pool;
}

void Recorder::task(const Task& task) noexcept {
  // One that was never begun is a moment at its end.
  const Time begun = task.started == Time{} ? task.ended : task.started;
  const Time started = std::min(std::max(begun, task.submitted), task.ended);
  Line line;
  line << R"({"ph":"X","cat":"task","name":")";
  line.escaped(task.name, kLongestName)
      << R"(","pid":)" << task.pool << R"(,"tid":)" << row_of(task.worker) << R"(,"ts":)"
      << since_boot(started) << R"(,"dur":)" << task.ended - started << R"(,"args":{"outcome":")";
  line.escaped(task.outcome, kLongestWord)
      << R"(","waited_us":)" << started - task.submitted << R"(,"items":)" << task.items
      << R"(,"bytes":)" << task.bytes << R"(,"pid":)" << task.pid << "}";
  if (task.outcome != "ok") line << R"(,"cname":"terrible")";  // red, in chrome://tracing
  line << "},\n";
  std::lock_guard guard(mutex_);
  if (name_worker(task.pool, task.worker)) append(line.text());
}

void Recorder::life(const Life& life) noexcept {
  Line line;
  line << R"({"ph":"X","cat":"worker","name":"process )" << life.pid << ": ";
  line.escaped(life.how, kLongestWord)
      << R"(","pid":)" << life.pool << R"(,"tid":)" << kLifeRows + row_of(life.worker)
      << R"(,"ts":)" << since_boot(life.started) << R"(,"dur":)" << life.ended - life.started
      << R"(,"args":{"pid":)" << life.pid << R"(,"how":")";
  line.escaped(life.how, kLongestWord) << "\"}},\n";
  std::lock_guard guard(mutex_);
  if (name_worker(life.pool, life.worker)) append(line.text());
}

void Recorder::flush() noexcept {
  std::lock_guard guard(mutex_);
  write_out();
}

void Recorder::open() noexcept {
  opened_ = true;
  try {
    buffer_.reserve(kFull + kPage);
    file_ = open_trace(path_);
  } catch (const std::system_error& refused) {
    give_up("open", refused.code().value());
    return;
  } catch (const std::exception&) {
    give_up("open", ENOMEM);
    return;
  }
  append("[\n");
  watch();
}

void Recorder::watch() noexcept {
  try {
    at_exit([this] { close(); }, kAfterPools);
    os::SignalsBlocked blocked;
    writer_ = std::thread([this] { write_each_second(); });
  } catch (const std::exception&) {
    return;  // written when much has come together, and by flush
  }
}

void Recorder::write_each_second() {
  std::unique_lock guard(mutex_);
  while (!closing_) {
    changed_.wait(guard, [this] { return closing_ || !buffer_.empty(); });
    changed_.wait_for(guard, kLongestDelay, [this] { return closing_; });
    write_out();
  }
}

void Recorder::close() noexcept {
  {
    std::lock_guard guard(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
  std::lock_guard guard(mutex_);
  if (!file_) return;
  // An event without a comma behind it, which closes the list.
  append("{\"ph\":\"M\",\"name\":\"trace_ended\",\"pid\":1,\"args\":{}}\n]\n");
  write_out();
  file_.reset();
}

void Recorder::name_process(int pool) {
  Line line;
  line << R"({"ph":"M","name":"process_name","pid":)" << pool << R"(,"args":{"name":"pool )" << pool
       << " of ";
  line.escaped(program_invocation_short_name, kLongestWord) << " (pid " << ::getpid() << ")\"}},\n";
  append(line.text());
  Line order;
  order << R"({"ph":"M","name":"process_sort_index","pid":)" << pool << R"(,"args":{"sort_index":)"
        << pool << "}},\n";
  append(order.text());
}

bool Recorder::name_worker(int pool, std::uint32_t worker) {
  const auto index = static_cast<std::size_t>(pool) - 1;
  if (index >= named_workers_.size()) return false;
  std::uint32_t& named = named_workers_[index];
  for (; named <= worker; ++named) {
    for (bool life : {false, true}) {
      const std::uint32_t row = row_of(named) + (life ? kLifeRows : 0);
      Line line;
      line << R"({"ph":"M","name":"thread_name","pid":)" << pool << R"(,"tid":)" << row
           << R"(,"args":{"name":"worker )" << named;
      if (life) line << ": process";
      line << "\"}},\n";
      append(line.text());
      Line order;
      order << R"({"ph":"M","name":"thread_sort_index","pid":)" << pool << R"(,"tid":)" << row
            << R"(,"args":{"sort_index":)" << 2 * named + (life ? 1 : 0) << "}},\n";
      append(order.text());
    }
  }
  return true;
}

// A write that a SIGKILL cuts short ends at a page of the file, so no line lies across two: what
// was killed leaves whole lines.
void Recorder::append(std::string_view line) {
  if (!file_) return;
  if ((written_ + buffer_.size()) % kPage + line.size() > kPage) pad_page();
  if (buffer_.size() >= kFull) write_out();
  if (!file_) return;
  if (buffer_.empty()) changed_.notify_one();
  buffer_.insert(buffer_.end(), line.begin(), line.end());
}

void Recorder::pad_page() {
  const std::size_t used = (written_ + buffer_.size()) % kPage;
  if (used == 0) return;
  buffer_.insert(buffer_.end(), kPage - used - 1, ' ');
  buffer_.push_back('\n');
}

void Recorder::write_out() noexcept {
  if (!file_) return;
  auto left = std::as_bytes(std::span(buffer_));
  try {
    while (!left.empty()) {
      os::Stream stream(file_.get());
      if (auto count = stream.write(left, {}, true))
        left = left.subspan(*count);
      else
        stream.wait_writable(std::nullopt);
    }
  } catch (const std::system_error& refused) {
    (void)::ftruncate(file_.get(), static_cast<off_t>(written_));  // whole lines
    give_up("write", refused.code().value());
    return;
  }
  written_ += buffer_.size();
  buffer_.clear();
}

void Recorder::give_up(const char* call, int error) noexcept {
  file_.reset();
  buffer_.clear();
  errno = error;
  std::fprintf(stderr, "cohort: no trace in %s: %s: %m\n", path_.c_str(), call);
}

}  // namespace cohort::trace
