// Places in the program's code, as they are told to other processes.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cohort/async.hpp>
#include <cohort/detail/target.hpp>
#include <filesystem>
#include <string>

#include "processes.hpp"

namespace {

using namespace test;
using cohort::detail::CodeReference;
using cohort::detail::find_code;
using cohort::detail::refer_to_code;

int own_function() { return 1; }
int another_function() { return 2; }

const void* address_of(int (*function)()) { return reinterpret_cast<const void*>(function); }

class Library {
 public:
  explicit Library(const std::filesystem::path& path)
      : handle_(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (!handle_) throw std::runtime_error(::dlerror());
  }
  ~Library() { ::dlclose(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  template <class Function>
  Function* find(const char* name) const {
    return reinterpret_cast<Function*>(::dlsym(handle_, name));
  }

 private:
  void* handle_;
};

class CodeReferences : public EachMethod {};
INSTANTIATE_TEST_SUITE_P(Methods, CodeReferences, every_method(), method_name);

TEST_F(CodeReferences, AReferenceLeadsBackToItsPlace) {
  auto one = refer_to_code(address_of(own_function));
  auto two = refer_to_code(address_of(another_function));
  EXPECT_EQ(one.module, two.module);
  EXPECT_NE(one.offset, two.offset);
  EXPECT_EQ(find_code(one), address_of(own_function));
  EXPECT_EQ(find_code(two), address_of(another_function));
}

TEST_F(CodeReferences, SharedLibrariesAreModulesOfTheirOwn) {
  const auto* place = reinterpret_cast<const void*>(::dlsym(RTLD_DEFAULT, "getppid"));
  auto reference = refer_to_code(place);
  EXPECT_NE(reference.module, refer_to_code(address_of(own_function)).module);
  EXPECT_EQ(find_code(reference), place);
}

TEST_F(CodeReferences, TwoBuildsOfALibraryAreTwoModules) {
  Library one(library_path("answer_one"));
  Library two(library_path("answer_two"));
  auto* first = one.find<int(int)>("answer");
  auto* second = two.find<int(int)>("answer");
  auto of_first = refer_to_code(reinterpret_cast<const void*>(first));
  auto of_second = refer_to_code(reinterpret_cast<const void*>(second));
  EXPECT_NE(of_first.module, of_second.module);
  EXPECT_EQ(find_code(of_first), reinterpret_cast<const void*>(first));
  EXPECT_EQ(find_code(of_second), reinterpret_cast<const void*>(second));
}

TEST_F(CodeReferences, WhatIsNoCodeIsRefused) {
  int on_the_stack = 0;
  auto on_the_heap = std::make_unique<int>(0);
  EXPECT_THROW(refer_to_code(&on_the_stack), cohort::Error);
  EXPECT_THROW(refer_to_code(on_the_heap.get()), cohort::Error);
  EXPECT_THROW(refer_to_code(nullptr), cohort::Error);
}

TEST_F(CodeReferences, AnUnknownModuleIsAnErrorThatSaysTheWayOut) {
  try {
    find_code({0x1234567, 0});
    FAIL();
  } catch (const cohort::Error& error) {
    EXPECT_NE(std::string(error.what()).find("cohort::preload"), std::string::npos);
  }
}

TEST_F(CodeReferences, AnOffsetOutsideItsModuleIsRefused) {
  auto reference = refer_to_code(address_of(own_function));
  reference.offset = std::uint64_t{1} << 40;
  EXPECT_THROW(find_code(reference), cohort::SerializationError);
}

TEST_P(CodeReferences, AFunctionOfALibraryThatWasOpenedAfterInitIsCalled) {
  cohort::set_start_method(GetParam());
  {
    Library library(library_path("answer_one"));
    auto* answer = library.find<int(int)>("answer");
    EXPECT_EQ(cohort::async(answer, 5).get(), 105);
    Process child(with(), answer, 6);
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), 0);
  }
  cohort::set_start_method(StartMethod::forkserver);
}

TEST_P(CodeReferences, ALibraryStartsProcessesOfItsOwnCode) {
  Library library(library_path("starter"));
  auto* start = library.find<int(int, int)>("square_elsewhere");
  ASSERT_NE(start, nullptr);
  EXPECT_EQ(start(static_cast<int>(GetParam()), 12), 144);
}

}  // namespace
