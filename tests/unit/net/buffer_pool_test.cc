// SPDX-License-Identifier: GPL-3.0-or-later
// Pooled buffers.
#include <gtest/gtest.h>

#include "sluice/net/transport.h"

namespace sluice::net {
namespace {

TEST(BufferPoolTest, ABufferThatWasGivenBackIsLeasedAgain) {
  BufferPool pool(100, 1);
  auto first = pool.lease();
  const std::uint8_t* address = first.get();
  pool.give_back(std::move(first));
  EXPECT_EQ(pool.leased(), 0U);
  auto second = pool.lease();
  EXPECT_EQ(second.get(), address);
  pool.give_back(std::move(second));
}

TEST(BufferPoolTest, CountsWhatIsLeased) {
  BufferPool pool(100, 1);
  auto a = pool.lease();
  auto b = pool.lease();
  EXPECT_EQ(pool.leased(), 2U);
  pool.give_back(std::move(a));
  pool.give_back(std::move(b));
  EXPECT_EQ(pool.leased(), 0U);
}

}  // namespace
}  // namespace sluice::net
