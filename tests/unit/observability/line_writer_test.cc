// SPDX-License-Identifier: GPL-3.0-or-later
// The writer's thread: everything queued is written at the end, and nobody who does not read can
// make a producer or the end wait.
#include "line_writer.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pipe.h"

namespace sluice::observability {
namespace {

TEST(LineWriterTest, WritesAllThatIsQueuedBeforeItEnds) {
  Pipe pipe;
  {
    LineWriter writer({.descriptor = pipe.write_end()});
    for (int i = 0; i < 100; ++i) writer.push(0, "line " + std::to_string(i) + "\n");
    EXPECT_EQ(writer.pushed(), 100u);
  }
  const auto lines = pipe.read_lines();
  ASSERT_EQ(lines.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(lines[static_cast<std::size_t>(i)], "line " + std::to_string(i));
  }
}

TEST(LineWriterTest, NeverMixesLinesOfSeveralProducers) {
  Pipe pipe;
  // The reading thread closes the pipe's writing end, so the writer has one of its own.
  const int descriptor = ::fcntl(pipe.write_end(), F_DUPFD_CLOEXEC, 0);
  std::vector<std::string> lines;
  std::thread reader([&] { lines = pipe.read_lines(); });
  constexpr int each = 2000;
  {
    LineWriter writer({.descriptor = descriptor, .close_descriptor = true, .rings = 3});
    std::vector<std::thread> producers;
    for (std::size_t ring = 0; ring < 3; ++ring) {
      producers.emplace_back([&writer, ring] {
        const std::string body(20 + ring * 30, static_cast<char>('a' + ring));
        for (int i = 0; i < each; ++i) writer.push(ring, body + "\n");
      });
    }
    for (std::thread& producer : producers) producer.join();
    EXPECT_EQ(writer.pushed() + writer.dropped(), 3u * each);
  }
  reader.join();
  std::size_t seen = 0;
  for (const std::string& line : lines) {
    ASSERT_FALSE(line.empty());
    const auto ring = static_cast<std::size_t>(line[0] - 'a');
    ASSERT_EQ(line, std::string(20 + ring * 30, line[0]));
    ++seen;
  }
  EXPECT_EQ(seen, 3u * each);
}

TEST(LineWriterTest, DropsAndCountsWhenNobodyReads) {
  Pipe pipe;
  const std::string line(1000, 'x');
  const auto begin = std::chrono::steady_clock::now();
  {
    LineWriter writer({.descriptor = pipe.write_end(),
                       .ring_bytes = 4096,
                       .stop_timeout = std::chrono::milliseconds(60)});
    // 64 KB fit into the pipe, 4 into the queue.
    for (int i = 0; i < 1000; ++i) writer.push(0, line + "\n");
    EXPECT_GT(writer.dropped(), 900u);
    EXPECT_EQ(writer.pushed() + writer.dropped(), 1000u);
  }
  // It ended although the pipe is full (the bound is generous: no test of speed).
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(LineWriterTest, OutlivesAReaderThatWentAway) {
  Pipe pipe;
  LineWriter writer(
      {.descriptor = pipe.write_end(), .poll_interval = std::chrono::milliseconds(1)});
  pipe.close_read();
  writer.push(0, "nobody reads this\n");
  while (writer.lost() == 0) std::this_thread::yield();
  EXPECT_EQ(writer.lost(), 1u);
}

TEST(LineWriterTest, CountsTheLinesThatAFullDiskLost) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  LineWriter writer({.descriptor = full,
                     .close_descriptor = true,
                     .rings = 2,
                     .poll_interval = std::chrono::milliseconds(1)});
  constexpr std::uint64_t each = 1000;
  for (std::uint64_t i = 0; i < each; ++i) {
    writer.push(0, "one\n");
    writer.push(1, "other\n");
  }
  while (writer.lost() < 2 * each) std::this_thread::yield();
  EXPECT_EQ(writer.lost(), 2 * each);
  EXPECT_EQ(writer.dropped(), 0u);
}

TEST(LineWriterTest, WritesToASocketWithoutWaiting) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  {
    LineWriter writer({.descriptor = ends[0], .close_descriptor = true});
    writer.push(0, "to the journal\n");
  }
  std::array<char, 64> got{};
  const ssize_t size = ::read(ends[1], got.data(), got.size());
  EXPECT_EQ(std::string_view(got.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))),
            "to the journal\n");
  ::close(ends[1]);
}

}  // namespace
}  // namespace sluice::observability
