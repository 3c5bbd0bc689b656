#include "counting.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>
#include <unordered_map>

namespace wordcount {
namespace {

constexpr std::array<bool, 256> kWordByte = [] {
  std::array<bool, 256> table{};
  for (unsigned c = 0; c < 256; ++c) {
    table[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c >= 0x80;
  }
  return table;
}();

bool in_word(char c) { return kWordByte[static_cast<unsigned char>(c)]; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Looked up by std::string_view, without making a std::string of it.
struct HashText {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>()(text);
  }
};
using Occurrences = std::unordered_map<std::string, std::uint64_t, HashText, std::equal_to<>>;

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

// Empty when it cannot be read; errno says why.
std::optional<std::string> read_file(const std::string& path) {
  std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "rbe"));
  if (!file) return std::nullopt;
  std::setvbuf(file.get(), nullptr, _IONBF, 0);
  std::string content;
  std::array<char, 64 * 1024> part;
  while (const std::size_t got = std::fread(part.data(), 1, part.size(), file.get())) {
    content.append(part.data(), got);
  }
  if (std::ferror(file.get())) return std::nullopt;
  return content;
}

bool is_text(std::string_view content) { return content.find('\0') == std::string_view::npos; }

void count_text(std::string_view text, std::uint64_t& words, Occurrences& occurrences) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    const char* const begin = at;
    at = std::find_if_not(begin, end, in_word);
    if (at != begin && !is_digit(*begin)) {
      const std::string_view word(begin, at);
      ++words;
      if (auto found = occurrences.find(word); found != occurrences.end()) {
        ++found->second;
      } else {
        occurrences.emplace(word, 1);
      }
    }
    at = std::find_if(at, end, in_word);
  }
}

void look_at(const std::string& path, Tree& tree) {
  const std::optional<std::string> content = read_file(path);
  if (!content) {
    const int error = errno;
    if (error != ENOENT) tree.unreadable.push_back(path + ": " + std::strerror(error));
  } else if (!is_text(*content)) {
    ++tree.binary;
  } else {
    tree.files.push_back(path);
  }
}

}  // namespace

Count count_words(const Batch& files) {
  Count count;
  Occurrences occurrences;
  for (const std::string& path : files) {
    const std::optional<std::string> content = read_file(path);
    if (!content || !is_text(*content)) {
      count.unread.push_back(path);
      continue;
    }
    ++count.files;
    count.bytes += content->size();
    count_text(*content, count.words, occurrences);
  }
  count.times.reserve(occurrences.size());
  for (const auto& [word, times] : occurrences) {
    count.vocabulary.append(word) += '\n';
    count.times.push_back(times);
  }
  return count;
}

Tree find_text_files(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  Tree tree;
  if (fs::is_regular_file(root)) {
    look_at(root.string(), tree);
  } else if (!fs::is_directory(root)) {
    throw fs::filesystem_error("neither a directory nor a file", root,
                               std::make_error_code(std::errc::invalid_argument));
  } else {
    // A directory below that cannot be read is passed over like a file that cannot.
    for (fs::recursive_directory_iterator at(root), end; at != end;) {
      std::error_code error;
      if (at->symlink_status(error).type() == fs::file_type::regular) {
        look_at(at->path().string(), tree);
      }
      const fs::path directory = at->path();
      at.increment(error);
      if (error) tree.unreadable.push_back(directory.string() + ": " + error.message());
    }
  }
  std::sort(tree.files.begin(), tree.files.end());
  for (const std::string& path : tree.files) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(path, error);
    tree.sizes.push_back(error ? 0 : size);
    tree.bytes += tree.sizes.back();
  }
  return tree;
}

std::vector<Batch> make_batches(const Tree& tree, std::size_t most) {
  std::vector<Batch> batches;
  const std::uintmax_t share = tree.bytes / most + 1;
  std::uintmax_t so_far = 0;
  std::uintmax_t due = 0;  // the next batch starts where so much was dealt out
  for (std::size_t i = 0; i < tree.files.size(); ++i) {
    if (batches.empty() || so_far >= due) {
      batches.emplace_back();
      due = so_far + share;
    }
    batches.back().push_back(tree.files[i]);
    so_far += tree.sizes[i];
  }
  return batches;
}

}  // namespace wordcount
