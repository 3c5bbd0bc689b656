// A callable without arguments that a handle carries with it from process to process.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "cohort/detail/restore.hpp"
#include "cohort/detail/target.hpp"

namespace cohort::detail {

class Action {
 public:
  Action() = default;  // none
  template <class F>
  requires(!std::same_as<std::decay_t<F>, Action>) explicit Action(F&& f)
      : Action(std::in_place, make_call(std::forward<F>(f))) {}

  explicit operator bool() const noexcept { return target_ != nullptr; }
  void operator()() const { target_->invoke(); }

  template <class Archive>
  void save(Archive& archive) const {
    archive(target_ ? refer_to_code(reinterpret_cast<const void*>(decode_)) : CodeReference());
    if (target_) target_->encode(archive.writer());
  }
  template <class Archive>
  Action(Restore, Archive& archive) {
    CodeReference code;
    archive(code);
    if (code.module == 0) return;
    decode_ = reinterpret_cast<Decode>(const_cast<void*>(find_code(code)));
    target_ = decode_(archive.reader());
  }

 private:
  // What makes the callable again elsewhere; its address says which type it is.
  using Decode = std::shared_ptr<Target> (*)(Reader&);

  template <class Call>
  Action(std::in_place_t, Call call)
      : target_(std::make_shared<SentTarget<Call>>(std::move(call))), decode_(&decode_as<Call>) {}
  template <class Call>
  static std::shared_ptr<Target> decode_as(Reader& reader) {
    return std::make_shared<SentTarget<Call>>(Call::decode_from(reader));
  }

  std::shared_ptr<Target> target_;
  Decode decode_ = nullptr;
};

}  // namespace cohort::detail
