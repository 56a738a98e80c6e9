// SPDX-License-Identifier: GPL-3.0-or-later
// Bodies in pooled blocks: order, retention, and that every block comes back.
#include "body_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "sluice/base/random.h"

namespace sluice::proxy {
namespace {

std::string pull(BodyQueue& queue, std::size_t most) {
  std::string out(most, '\0');
  out.resize(queue.pull({reinterpret_cast<std::uint8_t*>(out.data()), out.size()}));
  return out;
}

std::string pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>('a' + random.below(26));
  return text;
}

TEST(BodyQueueTest, GivesTheBytesInOrderWhateverTheSizes) {
  BlockPool pool(4);
  const std::string body = pattern(100'000, 1);
  Random random(2);
  BodyQueue queue(pool);
  std::string out;
  std::size_t in = 0;
  while (out.size() < body.size()) {
    const std::size_t n = std::min<std::size_t>(random.below(9000), body.size() - in);
    queue.append(as_bytes(std::string_view(body).substr(in, n)));
    in += n;
    out += pull(queue, random.below(7000));
    EXPECT_EQ(queue.pending(), in - out.size());
  }
  EXPECT_EQ(out, body);
}

TEST(BodyQueueTest, GivesEveryBlockBack) {
  BlockPool pool(1);
  {
    BodyQueue queue(pool);
    queue.append(as_bytes(pattern(50'000, 3)));
    EXPECT_GT(pool.leased(), 10U);
    EXPECT_EQ(pull(queue, 60'000).size(), 50'000U);
    EXPECT_EQ(pool.leased(), 0U);
    queue.append(as_bytes(pattern(5'000, 3)));
  }
  EXPECT_EQ(pool.leased(), 0U);
}

TEST(BodyQueueTest, ARetainedBodyIsGivenAgainAfterARewind) {
  BlockPool pool(4);
  const std::string body = pattern(20'000, 4);
  BodyQueue queue(pool);
  queue.retain();
  queue.append(as_bytes(std::string_view(body).substr(0, 10'000)));
  EXPECT_EQ(pull(queue, 7'000), body.substr(0, 7'000));
  queue.rewind();
  EXPECT_EQ(queue.pending(), 10'000U);
  EXPECT_EQ(pull(queue, 20'000), body.substr(0, 10'000));
  // More may come after all was pulled.
  queue.append(as_bytes(std::string_view(body).substr(10'000)));
  EXPECT_EQ(pull(queue, 20'000), body.substr(10'000));
  queue.rewind();
  EXPECT_EQ(pull(queue, 30'000), body);
}

TEST(BodyQueueTest, AfterReleaseOnlyTheUnpulledBytesAreKept) {
  BlockPool pool(0);
  const std::string body = pattern(40'000, 5);
  BodyQueue queue(pool);
  queue.retain();
  queue.append(as_bytes(body));
  EXPECT_EQ(pull(queue, 30'000).size(), 30'000U);
  const std::size_t before = pool.leased();
  queue.release();
  EXPECT_LT(pool.leased(), before);
  EXPECT_EQ(pull(queue, 40'000), body.substr(30'000));
  EXPECT_EQ(pool.leased(), 0U);
  queue.append(as_bytes("again"));
  EXPECT_EQ(pull(queue, 10), "again");
}

TEST(BodyQueueTest, ReleaseOfAWhollyPulledBodyHoldsNothing) {
  BlockPool pool(0);
  BodyQueue queue(pool);
  queue.retain();
  queue.append(as_bytes("short"));
  EXPECT_EQ(pull(queue, 10), "short");
  queue.release();
  EXPECT_EQ(pool.leased(), 0U);
  queue.append(as_bytes("more"));
  EXPECT_EQ(pull(queue, 10), "more");
}

}  // namespace
}  // namespace sluice::proxy
