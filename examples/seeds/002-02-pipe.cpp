// A process sends a list of mixed kinds through a pipe.
#include <cohort/cohort.hpp>
#include <cohort/connection.hpp>
#include <iostream>

using cohort::managers::Object;

void writer(const cohort::Connection& conn) {
  conn.send(Object::list({5, "foo", nullptr}));
  conn.close();
}

int main(int argc, char** argv) {
  cohort::init(argc, argv);
  auto [parent_conn, child_conn] = cohort::Pipe();
  cohort::Process p(writer, child_conn);
  p.start();
  std::cout << parent_conn.recv<Object>() << std::endl;  // will print [5, 'foo', None]
  p.join();
}
