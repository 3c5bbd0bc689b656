// Finding text files and counting the words in them: plain C++ that knows nothing of processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace wordcount {

using Batch = std::vector<std::string>;  // paths

// What was counted in a batch of files. A plain struct, so it travels between processes as it is;
// flat, so that it travels fast: two strings, not a million.
struct Count {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t words = 0;
  std::string vocabulary;            // each word once, with a newline after it
  std::vector<std::uint64_t> times;  // how often each occurs
  std::vector<std::string> unread;   // files that vanished, or turned binary, since they were found
};

// Words and identifiers: letters, digits and underscores, not starting with a digit. Every byte
// beyond ASCII counts as a letter, so that words in UTF-8 stay whole.
Count count_words(const Batch& files);

struct Tree {
  std::vector<std::string> files;     // text files only, in order
  std::vector<std::uintmax_t> sizes;  // of each
  std::uintmax_t bytes = 0;
  std::size_t binary = 0;               // files with a NUL byte
  std::vector<std::string> unreadable;  // each with the reason
};

// The text files at or under `root`. Symbolic links below it are not followed. All files are read,
// so afterwards they are in the page cache. Throws std::filesystem::filesystem_error when a
// directory `root` cannot be read.
Tree find_text_files(const std::filesystem::path& root);

// Cuts the files into at most `most` runs of about the same number of bytes, none of them empty.
std::vector<Batch> make_batches(const Tree& tree, std::size_t most);

}  // namespace wordcount
