#include "connection/address.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace {

using namespace cohort::connection;
using namespace std::string_literals;

std::string host_and_port(const std::string& text) {
  const auto address = std::get<InternetAddress>(parse_address(text));
  return address.host + " " + std::to_string(address.port);
}
std::string unix_name(const std::string& text) {
  return std::get<UnixAddress>(parse_address(text)).name;
}
// Why it is not taken.
std::string refusal(const std::string& text) {
  try {
    parse_address(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "taken";
}

TEST(Address, AHostAndAPort) {
  EXPECT_EQ(host_and_port("127.0.0.1:0"), "127.0.0.1 0");
  EXPECT_EQ(host_and_port("some.host:65535"), "some.host 65535");
  EXPECT_EQ(host_and_port(":5000"), " 5000");
  EXPECT_EQ(host_and_port("[::1]:80"), "::1 80");
  EXPECT_EQ(host_and_port("[fe80::1%lo]:80"), "fe80::1%lo 80");
}

TEST(Address, AUnixSocketWithAPathOrWithout) {
  EXPECT_EQ(unix_name("unix:/tmp/a"), "/tmp/a");
  EXPECT_EQ(unix_name("unix:a:b"), "a:b");
  EXPECT_EQ(unix_name("unix:@a"), "\0a"s);
  EXPECT_EQ(unix_name("\0a"s), "\0a"s);
  EXPECT_EQ(unix_name("\0a\0b:1"s), "\0a\0b:1"s);
}

TEST(Address, AUnixSocketsNameIsOneHundredAndSevenBytesAtMost) {
  EXPECT_EQ(unix_name("unix:" + std::string(107, 'a')).size(), 107u);
  EXPECT_NE(refusal("unix:" + std::string(108, 'a')).find("107"), std::string::npos);
  EXPECT_EQ(unix_name("unix:@" + std::string(106, 'a')).size(), 107u);
  EXPECT_NE(refusal("unix:@" + std::string(107, 'a')).find("106"), std::string::npos);
  EXPECT_NE(refusal(std::string(108, '\0')).find("106"), std::string::npos);
}

TEST(Address, APipeOfWindowsIsNoAddressHere) {
  const std::string why = refusal(R"(\\.\pipe\test)");
  EXPECT_NE(why.find("Windows"), std::string::npos) << why;
  EXPECT_NE(why.find("unix:/path"), std::string::npos) << why;
}

TEST(Address, WhatIsRefusedIsToldTheFormsThereAre) {
  const std::string refused[] = {
      "",        "localhost", "/tmp/a",    "host:",       "host:65536", "host:-1",
      "host:+1", "host: 1",   "host:1 ",   "host:0x10",   "host:http",  "::1:80",
      "[::1]",   "[::1:80",   "[]:80",     "[host]:80",   "::1]:80",    "unix:",
      "unix:@",  "\0"s,       "tcp://a:1", "unix:/a\0b"s, "a\0b:1"s,    "host:99999999999",
  };
  for (const auto& text : refused) {
    const std::string why = refusal(text);
    EXPECT_NE(why.find("host:port"), std::string::npos) << text << ": " << why;
    EXPECT_EQ(why.find('\0'), std::string::npos) << text;
  }
}

TEST(Address, WhatTheSystemReportsReadsAsItWasWritten) {
  for (const std::string text : {"127.0.0.1:80", "[::1]:80", "unix:/tmp/a", "unix:@a"}) {
    const auto resolved = resolve(parse_address(text), false);
    ASSERT_EQ(resolved.size(), 1u) << text;
    EXPECT_EQ(text_of(resolved[0]), text);
  }
}

TEST(Address, NoHostIsEveryInterfaceToAListenerAndThisMachineToAClient) {
  EXPECT_EQ(text_of(resolve(parse_address(":80"), true).at(0)), "0.0.0.0:80");
  EXPECT_EQ(text_of(resolve(parse_address(":80"), false).at(0)), "127.0.0.1:80");
}

TEST(Address, OfTheAddressesOfAHostTheOldFormIsTriedFirst) {
  const auto resolved = resolve(parse_address("localhost:80"), false);
  EXPECT_EQ(text_of(resolved.at(0)), "127.0.0.1:80");
}

TEST(Address, AHostThatIsNotKnownIsNamed) {
  try {
    resolve(parse_address("no-such-host.invalid:80"), false);
    FAIL() << "it was found";
  } catch (const std::system_error& error) {
    EXPECT_NE(std::string(error.what()).find("no-such-host.invalid"), std::string::npos);
  }
}

}  // namespace
