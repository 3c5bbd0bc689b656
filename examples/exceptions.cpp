// What a function throws in another process is thrown here, as its own type.
#include <cohort/cohort.hpp>
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>

// An exception with data of its own. It crosses as what it is once cohort was told of it.
struct NoSuchUser : std::exception {
  NoSuchUser() = default;
  explicit NoSuchUser(int user_id) : id(user_id) {}
  const char* what() const noexcept override { return "no such user"; }
  template <class Archive>
  void serialize(Archive& archive) {
    archive(id);
  }
  int id = 0;
};

std::string find_user(int id) {
  if (id < 0) throw std::invalid_argument("an id is not negative");
  if (id > 100) throw NoSuchUser(id);
  if (id == 13) std::raise(SIGSEGV);  // a crash
  return "user " + std::to_string(id);
}

void find(int id) {
  auto user = cohort::async(find_user, id);  // a process for this one call
  try {
    std::cout << user.get() << std::endl;
  } catch (const NoSuchUser& error) {
    std::cout << error.what() << ": " << error.id << std::endl;
  } catch (const std::invalid_argument& error) {
    std::cout << "not a question: " << error.what() << std::endl;
  } catch (const cohort::WorkerDied& death) {
    std::cout << "its process died of signal " << death.signal() << std::endl;
  }
}

int main(int argc, char** argv) {
  cohort::register_exception<NoSuchUser>();  // before init, so that every process knows it
  cohort::init(argc, argv);

  find(7);
  find(-7);
  find(777);
  find(13);

  // Whatever it is, it can also be asked where it comes from.
  try {
    cohort::async(find_user, -1).get();
  } catch (const cohort::RemoteInfo& origin) {
    std::cout << origin.type_name() << " in process " << origin.pid() << ": " << origin.message()
              << std::endl;
  }
}
