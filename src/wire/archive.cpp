#include <cohort/detail/archive.hpp>
#include <cohort/error.hpp>
#include <utility>

namespace cohort::detail {
namespace {

constexpr std::uint32_t kNew = cereal::detail::msb_32bit;

void run_all(std::vector<std::function<void()>>& deferred) {
  for (std::size_t i = 0; i < deferred.size(); ++i) {
    const auto run = std::move(deferred[i]);  // it may defer more, which moves the vector
    run();
  }
  deferred.clear();
}

}  // namespace

void throw_too_deep() {
  throw SerializationError("the object is nested too deeply (a long chain of pointers?)");
}

std::uint32_t OutArchive::share(const std::shared_ptr<const void>& pointer, const void* tag) {
  if (!pointer) return 0;
  const auto next = static_cast<std::uint32_t>(shared_.size() + 1);
  const auto [place, inserted] = shared_.try_emplace({pointer.get(), tag}, next);
  if (!inserted) return place->second;
  keep_alive_.push_back(pointer);
  return next | kNew;
}

void OutArchive::serializeDeferments() { run_all(deferred_); }

void InArchive::expect_new(std::uint32_t id, const void* tag) {
  if ((id & ~kNew) != shared_.size() + 1) {
    throw SerializationError("a shared pointer is out of order");
  }
  shared_.push_back({nullptr, tag});
}

void InArchive::set_shared(std::uint32_t id, std::shared_ptr<void> pointer) {
  shared_[(id & ~kNew) - 1].pointer = std::move(pointer);
}

std::shared_ptr<void> InArchive::shared(std::uint32_t id, const void* tag) const {
  if (id == 0) return nullptr;
  if (id > shared_.size()) throw SerializationError("a shared pointer refers to nothing");
  const Shared& entry = shared_[id - 1];
  if (entry.tag != tag || !entry.pointer) {
    throw SerializationError("a shared pointer refers to another type");
  }
  return entry.pointer;
}

void InArchive::serializeDeferments() { run_all(deferred_); }

}  // namespace cohort::detail
