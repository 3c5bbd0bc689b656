// A list of simple values in a block of shared memory, as Python's ShareableList, byte for byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "cohort/error.hpp"
#include "cohort/shared_memory.hpp"

namespace cohort {

// Nothing (Python's None), bool, int, float, str (UTF-8), bytes. NULs at the end of text and bytes
// are lost, as in Python.
using ShareableItem =
    std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<std::byte>>;

class ShareableList;

namespace detail {

// What a list can be made from, beside what has constructors of its own.
template <class R>
concept ShareableRange = std::ranges::input_range<R> &&
                         std::is_convertible_v<std::ranges::range_reference_t<R>, ShareableItem> &&
                         !std::is_convertible_v<R, std::string_view> &&
                         !std::is_same_v<std::remove_cvref_t<R>, ShareableList> &&
                         !std::is_same_v<std::remove_cvref_t<R>, std::vector<ShareableItem>>;

}  // namespace detail

// Its length is fixed, and so is the room of each slot: 8 bytes for numbers; for text and bytes
// that of the first value, rounded up to a multiple of 8 above it. A CPython program reads and
// writes the same list by its name.
//
// Copies are one list; sending one sends its name. Nothing is locked: processes that write the same
// slot at the same time, or read one that is being written, need a lock of their own, else a reader
// may see a torn value or throw cohort::Error. So it may be with a slot whose writer was killed.
class ShareableList {
 public:
  using Item = ShareableItem;

  // A new list under a new name, or under `name` (an empty one: a new one). Nobody sees it half
  // made. Throws as SharedMemory::create, and std::invalid_argument for text of 10 MB and more.
  ShareableList() : ShareableList(std::vector<Item>()) {}
  explicit ShareableList(std::initializer_list<Item> items, std::string_view name = {},
                         SharedMemoryOptions options = {})
      : ShareableList(std::vector<Item>(items), name, options) {}
  explicit ShareableList(const std::vector<Item>& items, std::string_view name = {},
                         SharedMemoryOptions options = {});
  template <detail::ShareableRange R>
  explicit ShareableList(R&& range, std::string_view name = {}, SharedMemoryOptions options = {})
      : ShareableList(items_of(range), name, options) {}
  // A list of its own with the same content, formats and room.
  ShareableList(const ShareableList& other, std::string_view name,
                SharedMemoryOptions options = {});
  ShareableList copy(std::string_view name = {}) const { return ShareableList(*this, name); }

  // Throws as SharedMemory::open, and cohort::Error when the block holds no list.
  static ShareableList open(std::string_view name);

  std::size_t size() const;
  bool empty() const { return size() == 0; }

  // Negative indices count from the end. Throw IndexError; get<T> throws TypeMismatch.
  Item get(std::int64_t index) const;
  Item operator[](std::int64_t index) const { return get(index); }
  template <class T>
  T get(std::int64_t index) const {
    Item item = get(index);
    if (T* value = std::get_if<T>(&item)) return std::move(*value);
    throw TypeMismatch(name_of(Item(T())), name_of(item));
  }
  // Throws IndexError; std::invalid_argument, having changed nothing, when text or bytes are longer
  // than the slot. Numbers fit everywhere.
  void set(std::int64_t index, const Item& item) const;

  // How slots are laid out, in the format language of Python's struct module: "q", "d", "xxxxxxx?"
  // for bool, "xxxxxx?x" for nothing, "16s" for text and bytes. All of them in a row, or one.
  std::string format() const;
  std::string format(std::int64_t index) const;

  // The first item of this kind and value. std::invalid_argument: there is none.
  std::size_t index(const Item& item) const;
  std::size_t count(const Item& item) const;

  const SharedMemory& shm() const noexcept { return memory_; }

  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = void;
    using reference = Item;
    Iterator() = default;
    Iterator(const ShareableList& list, std::size_t index) : list_(&list), index_(index) {}
    Item operator*() const { return list_->get(static_cast<std::int64_t>(index_)); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++index_;
      return before;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    const ShareableList* list_ = nullptr;
    std::size_t index_ = 0;
  };
  // By value: for (auto item : list).
  Iterator begin() const { return {*this, 0}; }
  Iterator end() const { return {*this, size()}; }

  // ShareableList([1, 2.5, 'text', None], name='psm_00c0ffee')
  friend std::ostream& operator<<(std::ostream& out, const ShareableList& list);

  // Restoring opens the list. ENOENT: it was unlinked meanwhile.
  template <class Archive>
  void save(Archive& archive) const {
    memory_.save(archive);
  }
  template <class Archive>
  ShareableList(detail::Restore restore, Archive& archive)
      : ShareableList(SharedMemory(restore, archive)) {}

 private:
  struct Layout;
  explicit ShareableList(SharedMemory memory);
  std::size_t place(std::int64_t index) const;
  const Layout& layout() const;
  static const char* name_of(const Item& item);

  template <class R>
  static std::vector<Item> items_of(R& range) {
    std::vector<Item> items;
    for (auto&& value : range) items.emplace_back(std::forward<decltype(value)>(value));
    return items;
  }

  SharedMemory memory_;
  std::shared_ptr<const Layout> layout_;
};

}  // namespace cohort
