// Messages on a byte stream, with their lengths in front.
#include "wire/frame.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "member.hpp"
#include "os/fd.hpp"
#include "os/stream.hpp"

namespace {

using namespace test;
using namespace cohort;
using os::Fd;

class FrameTest : public Watched {};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 7 + i / 251) & 0xff);
  return text;
}
void put_raw(int fd, std::string_view text) {
  ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}
void set_nonblocking(int fd) { ASSERT_EQ(::fcntl(fd, F_SETFL, O_NONBLOCK), 0); }

// Both ends of a stream; the first receives.
std::vector<std::pair<Fd, Fd>> streams() {
  std::vector<std::pair<Fd, Fd>> all;
  all.push_back(os::stream_pair(1 << 16));
  all.push_back(os::make_pipe(1 << 16));
  return all;
}

TEST_F(FrameTest, AMessageIsItsLengthInFourBytesBigEndianAndThenItself) {
  for (auto& [in, out] : streams()) {
    wire::write_frame(out.get(), bytes_of("hello"));
    char raw[9];
    ASSERT_EQ(::read(in.get(), raw, sizeof raw), 9);
    EXPECT_EQ(std::string(raw, 9), std::string("\0\0\0\5hello", 9));
  }
}

TEST_F(FrameTest, MessagesOfAllSizesKeepTheirOrderAndContent) {
  for (bool nonblocking : {false, true}) {
    for (auto& [in, out] : streams()) {
      if (nonblocking) {
        set_nonblocking(in.get());
        set_nonblocking(out.get());
      }
      const std::vector<std::size_t> sizes{0, 1, 5, 4096, 16384, 16385, 1 << 20, (3 << 20) + 1, 0};
      std::thread sender([&sizes, &end = out] {
        for (auto size : sizes) wire::write_frame(end.get(), bytes_of(pattern(size)));
      });
      for (auto size : sizes)
        EXPECT_EQ(text_of(wire::read_frame(in.get(), soon())), pattern(size)) << size;
      sender.join();
    }
  }
}

TEST_F(FrameTest, ASmallMessageMayHaveTheLongForm) {
  for (auto& [in, out] : streams()) {
    put_raw(out.get(), std::string("\xff\xff\xff\xff\0\0\0\0\0\0\0\3abc", 15));
    EXPECT_EQ(text_of(wire::read_frame(in.get(), soon())), "abc");
  }
}

TEST_F(FrameTest, TheEndOfTheStreamBetweenMessagesIsEndOfFileEachTime) {
  for (auto& [in, out] : streams()) {
    wire::write_frame(out.get(), bytes_of("last"));
    out.reset();
    EXPECT_EQ(text_of(wire::read_frame(in.get())), "last");
    EXPECT_THROW(wire::read_frame(in.get()), EndOfFile);
    EXPECT_THROW(wire::read_frame(in.get()), EndOfFile);
  }
}

TEST_F(FrameTest, TheEndOfTheStreamInsideAMessageIsAProtocolError) {
  const std::vector<std::string> parts{std::string("\0", 1), std::string("\0\0\0", 3),
                                       std::string("\0\0\0\5", 4), std::string("\0\0\0\5ab", 6),
                                       std::string("\xff\xff\xff\xff\0\0", 6)};
  for (const auto& part : parts) {
    for (auto& [in, out] : streams()) {
      put_raw(out.get(), part);
      out.reset();
      EXPECT_THROW(wire::read_frame(in.get()), wire::TruncatedFrame) << part.size();
    }
  }
}

TEST_F(FrameTest, ALengthBelowMinusOneIsAProtocolError) {
  auto [in, out] = os::stream_pair(1 << 16);
  put_raw(out.get(), std::string("\xff\xff\xff\xfe", 4));
  EXPECT_THROW(wire::read_frame(in.get()), wire::ProtocolError);
}

TEST_F(FrameTest, AMessageOfTheLimitIsAcceptedAndALongerOneRefusedUnread) {
  auto [in, out] = os::stream_pair(1 << 16);
  wire::write_frame(out.get(), bytes_of("12345678"));
  EXPECT_EQ(text_of(wire::read_frame(in.get(), soon(), 8)), "12345678");
  wire::write_frame(out.get(), bytes_of("123456789"));
  EXPECT_THROW(wire::read_frame(in.get(), soon(), 8), std::length_error);
  char next = 0;
  ASSERT_EQ(::read(in.get(), &next, 1), 1);
  EXPECT_EQ(next, '1');
}

TEST_F(FrameTest, APromisedLengthTakesNoMemoryBeforeItComes) {
  // Each promises more than there is; the stream ends after a few bytes.
  for (const auto& header : {std::string("\xff\xff\xff\xff\x10\0\0\0\0\0\0\0", 12),
                             std::string("\x7f\xff\xff\xff", 4)}) {
    auto [in, out] = os::stream_pair(1 << 16);
    put_raw(out.get(), header + "abc");
    out.reset();
    EXPECT_THROW(wire::read_frame(in.get()), wire::TruncatedFrame);
  }
  auto [in, out] = os::stream_pair(1 << 16);
  put_raw(out.get(), std::string(12, '\xff'));
  EXPECT_THROW(wire::read_frame(in.get(), soon()), wire::ProtocolError);
}

TEST_F(FrameTest, AMessageThatDoesNotComeInTimeIsATimeout) {
  for (auto& [in, out] : streams()) {
    EXPECT_THROW(wire::read_frame(in.get(), Clock::now() + 20ms), TimeoutError);
    put_raw(out.get(), std::string("\0\0\0\5ab", 6));
    EXPECT_THROW(wire::read_frame(in.get(), Clock::now() + 20ms), TimeoutError);
  }
}

TEST_F(FrameTest, AMessageThatCannotBeSentInTimeIsATimeout) {
  for (auto& [in, out] : streams())
    EXPECT_THROW(wire::write_frame(out.get(), bytes_of(pattern(8 << 20)), Clock::now() + 20ms),
                 TimeoutError);
}

TEST_F(FrameTest, SendingToAClosedEndIsBrokenPipeAndNoSignal) {
  for (auto& [in, out] : streams()) {
    in.reset();
    for (int i = 0; i < 2; ++i) {
      try {
        wire::write_frame(out.get(), bytes_of("x"));
        ADD_FAILURE() << "it was sent";
      } catch (const std::system_error& error) {
        EXPECT_EQ(error.code(), std::errc::broken_pipe);
      }
    }
    sigset_t pending;
    ASSERT_EQ(::sigpending(&pending), 0);
    EXPECT_EQ(::sigismember(&pending, SIGPIPE), 0);
  }
}

TEST_F(FrameTest, ASigpipeThatWasPendingBeforeStaysSo) {
  sigset_t sigpipe;
  sigset_t before;
  ::sigemptyset(&sigpipe);
  ::sigaddset(&sigpipe, SIGPIPE);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &sigpipe, &before), 0);
  ::raise(SIGPIPE);
  auto [in, out] = os::make_pipe(1 << 16);
  in.reset();
  EXPECT_THROW(wire::write_frame(out.get(), bytes_of("x")), std::system_error);
  const timespec at_once{};
  EXPECT_EQ(::sigtimedwait(&sigpipe, nullptr, &at_once), SIGPIPE);
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

TEST_F(FrameTest, APeerThatClosedWithBytesUnreadIsTheEnd) {
  auto [ours, theirs] = os::stream_pair(1 << 16);
  wire::write_frame(ours.get(), bytes_of("never read"));
  wire::write_frame(theirs.get(), bytes_of("last"));
  theirs.reset();
  EXPECT_EQ(text_of(wire::read_frame(ours.get(), soon())), "last");
  EXPECT_THROW(wire::read_frame(ours.get(), soon()), EndOfFile);
  EXPECT_THROW(wire::read_frame(ours.get(), soon()), EndOfFile);
}

TEST_F(FrameTest, AMessageOfMoreThanTwoGibibytesHasTheLongForm) {
  if (kSanitized) GTEST_SKIP() << "too slow under a sanitizer";
  // The zero page, over and over: it takes no memory.
  const std::size_t size = (std::size_t{2} << 30) + 5;
  void* zeroes =
      ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(zeroes, MAP_FAILED);
  auto [in, out] = os::stream_pair(1 << 20);
  std::thread sender([&, end = out.get()] {
    wire::write_frame(end, {static_cast<const std::byte*>(zeroes), size});
    wire::write_frame(end, bytes_of("next"));
  });
  char header[12];
  ASSERT_EQ(::recv(in.get(), header, sizeof header, MSG_WAITALL), 12);
  EXPECT_EQ(std::string(header, 12), std::string("\xff\xff\xff\xff\0\0\0\0\x80\0\0\5", 12));
  std::vector<std::byte> sink(1 << 20);
  wire::Patience patience(soon());
  const os::Stream stream(in.get());
  for (std::size_t left = size; left > 0;) {
    auto part = std::span(sink).first(std::min(left, sink.size()));
    wire::read_exactly(stream, part, patience);
    left -= part.size();
  }
  EXPECT_EQ(text_of(wire::read_frame(in.get(), soon())), "next");
  sender.join();
  ::munmap(zeroes, size);
}

}  // namespace
