// A static object that uses queues in its destructor, when what the thread kept for its calls is
// gone. Says what went wrong; exit code 0: nothing.
#include <unistd.h>

#include <algorithm>
#include <cohort/process.hpp>
#include <cohort/queue.hpp>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace {

using cohort::Queue;

void expect(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "not so: %s\n", what);
  ::_exit(1);
}

// Memory of the sizes that a call may have given back: whoever still writes there is seen.
class Canaries {
 public:
  Canaries() {
    for (std::size_t bytes = 64; bytes <= 40'960; bytes += 64) list_.emplace_back(bytes, 'c');
  }
  bool whole() const {
    return std::all_of(list_.begin(), list_.end(), [](const std::string& one) {
      return one.find_first_not_of('c') == std::string::npos;
    });
  }

 private:
  std::vector<std::string> list_;
};

struct User {
  std::unique_ptr<Queue<std::string>> texts;
  std::unique_ptr<Queue<int>> numbers;

  ~User() {
    try {
      use();
    } catch (const std::exception& error) {
      expect(false, error.what());
    }
    std::puts("used at the end");
    std::fflush(stdout);
  }
  void use() const {
    const Canaries canaries;
    for (std::size_t bytes : {1, 5000, 100'000}) {
      const std::string text(bytes, 'x');
      texts->put(text);
      expect(texts->get() == text, "a text comes back");
    }
    std::vector<std::string> got;
    texts->put_many({"one", "two"});
    expect(texts->get_many(got, 2) == 2 && got.back() == "two", "texts come back together");
    numbers->put(5);
    expect(numbers->get() == 5, "a number comes back");
    expect(canaries.whole(), "nobody's memory was written to");
  }
};

User user;

}  // namespace

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  user.texts = std::make_unique<Queue<std::string>>();
  user.numbers = std::make_unique<Queue<int>>();
  user.use();  // from here on the thread keeps something
}
