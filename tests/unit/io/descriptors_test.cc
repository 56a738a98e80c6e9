// SPDX-License-Identifier: GPL-3.0-or-later
// The table of descriptors is as large as it can become.
#include "sluice/io/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace sluice::io {
namespace {

std::size_t table_size() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    std::size_t size = 0;
    if (word == "FDSize:" && status >> size) return size;
  }
  return 0;
}

TEST(DescriptorsTest, TheTableHoldsAsManyAsTheLimitLetsItAndLeavesNoneOpen) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const auto most = static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
  const int before = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(before);
  EXPECT_EQ(reserve_descriptors(), most);
  EXPECT_GE(table_size(), most);
  const int after = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(after);
  EXPECT_EQ(after, before);
}

TEST(DescriptorsTest, WithoutADescriptorLeftNothingIsReserved) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(reserve_descriptors(), 0U);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
}

}  // namespace
}  // namespace sluice::io
