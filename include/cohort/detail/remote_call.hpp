// One call in a process of its own, and the way its result comes back.
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "cohort/detail/block_ref.hpp"
#include "cohort/detail/memory_io.hpp"
#include "cohort/detail/target.hpp"

namespace cohort::detail {

// Where the called process leaves the result: a ring that holds one message.
class ResultPort {
 public:
  ResultPort() = default;
  static ResultPort make();

  // Runs `call`, which writes the result; sends that, or what it throws.
  class Body {
   public:
    virtual void operator()(Writer& result) = 0;

   protected:
    ~Body() = default;
  };
  void run(Body& call) const;

  template <class Archive>
  void serialize(Archive& archive) {
    archive(block_);
  }

 private:
  friend class RemoteCall;
  BlockRef block_;
};

// The caller's side. Thread-safe.
class RemoteCall {
 public:
  // Starts the process. `task`: a readable name for errors.
  static std::shared_ptr<RemoteCall> start(ResultPort port, std::unique_ptr<Target> target,
                                           std::string task);
  ~RemoteCall();
  RemoteCall(const RemoteCall&) = delete;
  RemoteCall& operator=(const RemoteCall&) = delete;

  // Answers whether it ended before the deadline; a past one asks without waiting.
  bool wait_until(std::optional<std::chrono::steady_clock::time_point> deadline);
  bool cancel();
  bool cancelled() const;
  // Of an ended call: what it threw, or how its process died; null when it returned.
  std::exception_ptr error();

  // Of a call that returned: its result's bytes, for the first reader.
  template <class Read>
  void read_once(Read&& read) {
    struct Reading final : ReadBody {
      explicit Reading(Read& f) : f_(f) {}
      void operator()(Reader& reader) override { f_(reader); }
      Read& f_;
    } reading(read);
    read_result(reading);
  }
  std::unique_lock<std::mutex> lock();

 private:
  class ReadBody {
   public:
    virtual void operator()(Reader& reader) = 0;

   protected:
    ~ReadBody() = default;
  };
  struct State;
  explicit RemoteCall(std::unique_ptr<State> state);
  void read_result(ReadBody& read);

  std::unique_ptr<State> state_;
};

// A call whose result goes to a port.
template <class Call>
class PortedCall {
 public:
  PortedCall(ResultPort port, Call call) : port_(std::move(port)), call_(std::move(call)) {}
  void operator()() {
    struct Body final : ResultPort::Body {
      explicit Body(Call& call) : call_(call) {}
      void operator()(Writer& result) override {
        if constexpr (std::is_void_v<decltype(call_())>) {
          call_();
        } else {
          encode(result, std::decay_t<decltype(call_())>(call_()));
        }
      }
      Call& call_;
    } body(call_);
    port_.run(body);
  }
  void encode_to(Writer& writer) const {
    encode(writer, port_);
    call_.encode_to(writer);
  }
  static PortedCall decode_from(Reader& reader) {
    auto port = decode<ResultPort>(reader);
    return PortedCall(std::move(port), Call::decode_from(reader));
  }

 private:
  ResultPort port_;
  Call call_;
};

}  // namespace cohort::detail
