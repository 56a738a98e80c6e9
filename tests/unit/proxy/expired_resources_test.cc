// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of resources that get 410 everywhere, and for how long.
#include "expired_resources.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy {
namespace {

const Instant now = Instant() + std::chrono::hours(1);

TEST(ExpiredResourcesTest, OneIsKnownForAWhile) {
  ExpiredResources expired;
  EXPECT_FALSE(expired.contains("metrics.example", "pods", now));
  expired.learn("metrics.example", "pods", now);
  EXPECT_TRUE(expired.contains("metrics.example", "pods", now));
  EXPECT_TRUE(
      expired.contains("metrics.example", "pods", now + ExpiredResources::kept - Duration(1)));
  EXPECT_FALSE(expired.contains("metrics.example", "pods", now + ExpiredResources::kept));
}

TEST(ExpiredResourcesTest, GroupAndResourceAreTwoNames) {
  ExpiredResources expired;
  expired.learn("", "pods", now);
  EXPECT_TRUE(expired.contains("", "pods", now));
  EXPECT_FALSE(expired.contains("a", "pods", now));
  EXPECT_FALSE(expired.contains("", "pod", now));
  expired.learn("a/b", "c", now);
  EXPECT_FALSE(expired.contains("b", "c", now));
  EXPECT_FALSE(expired.contains("a", "bc", now));
}

TEST(ExpiredResourcesTest, TheOneThatWasLearnedFirstMakesRoom) {
  ExpiredResources expired;
  for (std::size_t i = 0; i < ExpiredResources::entries_max; ++i) {
    expired.learn("group", std::to_string(i), now);
  }
  expired.learn("group", "0", now + Duration(1));  // again
  expired.learn("group", "new", now + Duration(2));
  EXPECT_TRUE(expired.contains("group", "0", now + Duration(2)));
  EXPECT_FALSE(expired.contains("group", "1", now + Duration(2)));
  EXPECT_TRUE(expired.contains("group", "2", now + Duration(2)));
  EXPECT_TRUE(expired.contains("group", "new", now + Duration(2)));
}

TEST(ExpiredResourcesTest, NamesThatAreTooLongAreNotKept) {
  ExpiredResources expired;
  const std::string name(ExpiredResources::name_bytes_max, 'x');
  expired.learn("", name, now);
  EXPECT_FALSE(expired.contains("", name, now));
}

}  // namespace
}  // namespace sluice::proxy
