// SPDX-License-Identifier: GPL-3.0-or-later
// What this kernel can do, and how it is said when one cannot.
#include "sluice/io/kernel_features.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

namespace sluice::io {
namespace {

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return std::distance(begin(all), end(all));
}

TEST(KernelFeaturesTest, TriesEverythingAndLeavesNothingBehind) {
  const auto before = open_descriptors();
  const auto features = probe_kernel_features();
  ASSERT_TRUE(features.has_value()) << features.error().context;
  EXPECT_FALSE(features->release.empty());
  EXPECT_EQ(open_descriptors(), before);
  // A kernel that loses the end of a stream is not used without a word about it.
  if (!features->multishot_receive_sees_end_of_stream) {
    EXPECT_FALSE(features->warnings.empty());
  }
}

}  // namespace
}  // namespace sluice::io
