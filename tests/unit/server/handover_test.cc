// SPDX-License-Identifier: GPL-3.0-or-later
// What one process tells the next of tokens: whole, or not at all.
#include "handover.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <random>
#include <string>

namespace sluice::server {
namespace {

Handover some() {
  Handover handover{{11, 12}, {}};
  handover.clusters.push_back({"", {{{1, 2}, 3, true}, {{4, 5}, 6, true}}});
  handover.clusters.push_back({"one", {}, {{"10.0.0.1:6443", Instant(Duration(-7))}, {"", {}}}});
  handover.clusters.push_back({std::string("t\0wo", 4), {{{~0ULL, ~1ULL}, ~2ULL, true}}});
  return handover;
}

void expect_same(const Handover& a, const Handover& b) {
  EXPECT_EQ(a.key, b.key);
  ASSERT_EQ(a.clusters.size(), b.clusters.size());
  for (std::size_t i = 0; i < a.clusters.size(); ++i) {
    EXPECT_EQ(a.clusters[i].cluster, b.clusters[i].cluster);
    ASSERT_EQ(a.clusters[i].tokens.size(), b.clusters[i].tokens.size());
    for (std::size_t j = 0; j < a.clusters[i].tokens.size(); ++j) {
      EXPECT_EQ(a.clusters[i].tokens[j].token, b.clusters[i].tokens[j].token);
      EXPECT_EQ(a.clusters[i].tokens[j].network, b.clusters[i].tokens[j].network);
      EXPECT_TRUE(b.clusters[i].tokens[j].proven);
    }
    ASSERT_EQ(a.clusters[i].backends.size(), b.clusters[i].backends.size());
    for (std::size_t j = 0; j < a.clusters[i].backends.size(); ++j) {
      EXPECT_EQ(a.clusters[i].backends[j].name, b.clusters[i].backends[j].name);
      EXPECT_EQ(a.clusters[i].backends[j].started, b.clusters[i].backends[j].started);
    }
  }
}

TEST(HandoverTest, WhatIsWrittenIsRead) {
  const auto read = read_handover(write_handover(some()));
  ASSERT_TRUE(read) << read.error().context;
  expect_same(some(), *read);
  ASSERT_TRUE(read_handover(write_handover({})));
}

TEST(HandoverTest, APartOfItIsNothing) {
  const std::string whole = write_handover(some());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(read_handover(whole.substr(0, size))) << size;
  }
  EXPECT_FALSE(read_handover(whole + '\0'));
}

TEST(HandoverTest, EachChangedByteIsFound) {
  const std::string whole = write_handover(some());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x40);
    EXPECT_FALSE(read_handover(changed)) << at;
  }
}

TEST(HandoverTest, AnotherFormIsRefusedAndSaysSo) {
  std::string other = write_handover(some());
  other[14] = '1';
  const auto read = read_handover(other);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().context, "it is of another form");
}

// Counts that promise more than there is are no reason to reserve memory.
TEST(HandoverTest, RubbishBehindARightSumIsRefused) {
  std::mt19937 random(7);  // NOLINT: the same each time
  const std::string head = write_handover({}).substr(0, 16);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = head;
    const std::size_t size = 20 + random() % 200;
    while (bytes.size() < size) bytes.push_back(static_cast<char>(random()));
    std::uint64_t sum = 0xcbf29ce484222325U;
    for (const char byte : bytes) sum = (sum ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3U;
    bytes.append(reinterpret_cast<const char*>(&sum), sizeof sum);
    const auto read = read_handover(bytes);
    if (read) expect_same(*read, *read_handover(write_handover(*read)));
  }
}

TEST(HandoverTest, WhatDoesNotFitIsLeftOutByWholeClusters) {
  Handover handover = some();
  const std::size_t all = write_handover(handover).size();
  const std::string less = write_handover(handover, all - 1);
  EXPECT_LT(less.size(), all);
  handover.clusters.pop_back();
  expect_same(handover, *read_handover(less));
}

TEST(HandoverTest, AFileIsReadAndWhatIsNoFileIsRefused) {
  const std::string text = write_handover(some());
  const int file = ::memfd_create("test", MFD_CLOEXEC);
  ASSERT_EQ(::write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  const auto read = read_handover_file(file);  // wherever its offset is
  ASSERT_TRUE(read) << read.error().context;
  expect_same(some(), *read);
  ASSERT_EQ(::ftruncate(file, static_cast<off_t>(handover_bytes_max) + 1), 0);
  EXPECT_FALSE(read_handover_file(file));
  ::close(file);
  EXPECT_FALSE(read_handover_file(file));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  EXPECT_FALSE(read_handover_file(ends[0]));
  for (const int end : ends) ::close(end);
}

}  // namespace
}  // namespace sluice::server
