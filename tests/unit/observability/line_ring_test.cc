// SPDX-License-Identifier: GPL-3.0-or-later
// Whole lines or none, in order, however the ends meet.
#include "line_ring.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace sluice::observability {
namespace {

std::string take_all(LineRing& ring) {
  const auto pieces = ring.peek();
  std::string out = std::string(pieces[0]) + std::string(pieces[1]);
  ring.pop(out.size());
  return out;
}

TEST(LineRingTest, GivesLinesInOrder) {
  LineRing ring(64);
  EXPECT_TRUE(ring.empty());
  EXPECT_TRUE(ring.push("one\n"));
  EXPECT_TRUE(ring.push("two\n"));
  EXPECT_EQ(take_all(ring), "one\ntwo\n");
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.pushed(), 2u);
}

TEST(LineRingTest, DropsALineThatDoesNotFitAsAWhole) {
  LineRing ring(8);
  EXPECT_TRUE(ring.push("12345\n"));
  EXPECT_FALSE(ring.push("12\n"));
  EXPECT_TRUE(ring.push("1\n"));
  EXPECT_FALSE(ring.push("\n"));
  EXPECT_EQ(ring.dropped(), 2u);
  EXPECT_EQ(take_all(ring), "12345\n1\n");
  EXPECT_TRUE(ring.push("1234567\n"));
  EXPECT_FALSE(ring.push("123456789\n"));
}

TEST(LineRingTest, WrapsAroundAtEveryOffset) {
  LineRing ring(11);
  for (int i = 0; i < 200; ++i) {
    const std::string line = std::string(static_cast<std::size_t>(i % 9), 'x') + "\n";
    ASSERT_TRUE(ring.push(line));
    ASSERT_EQ(take_all(ring), line);
  }
}

TEST(LineRingTest, SaysWhenItIsHalfFull) {
  LineRing ring(10);
  ring.push("1234\n");
  EXPECT_FALSE(ring.half_full());
  ring.push("\n");
  EXPECT_TRUE(ring.half_full());
  take_all(ring);
  EXPECT_FALSE(ring.half_full());
}

// What arrives is a sequence of whole lines with rising numbers, and nothing is lost but what
// push() refused. Run under the thread sanitizer, too.
TEST(LineRingTest, KeepsLinesWholeBetweenThreads) {
  LineRing ring(256);
  constexpr int lines = 50000;
  std::thread producer([&] {
    for (int i = 0; i < lines; ++i) {
      const std::string line = std::to_string(i) + "\n";
      while (!ring.push(line)) std::this_thread::yield();
    }
  });
  int expected = 0;
  std::string partial;
  while (expected < lines) {
    const std::string got = take_all(ring);
    if (got.empty()) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(got.back(), '\n');
    std::size_t begin = 0;
    while (begin < got.size()) {
      const std::size_t end = got.find('\n', begin);
      ASSERT_EQ(got.substr(begin, end - begin), std::to_string(expected));
      ++expected;
      begin = end + 1;
    }
  }
  producer.join();
  EXPECT_EQ(ring.pushed(), static_cast<std::uint64_t>(lines));
}

}  // namespace
}  // namespace sluice::observability
