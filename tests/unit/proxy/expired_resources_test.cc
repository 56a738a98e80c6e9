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
  EXPECT_FALSE(expired.contains("metrics.example", "pods", "5", now));
  EXPECT_TRUE(expired.learn("metrics.example", "pods", "5", now));
  EXPECT_FALSE(expired.learn("metrics.example", "pods", "5", now)) << "known";
  EXPECT_TRUE(expired.contains("metrics.example", "pods", "5", now));
  EXPECT_TRUE(
      expired.contains("metrics.example", "pods", "5", now + ExpiredResources::kept - Duration(1)));
  EXPECT_FALSE(expired.contains("metrics.example", "pods", "5", now + ExpiredResources::kept));
}

TEST(ExpiredResourcesTest, GroupAndResourceAreTwoNames) {
  ExpiredResources expired;
  expired.learn("", "pods", "5", now);
  EXPECT_TRUE(expired.contains("", "pods", "5", now));
  EXPECT_FALSE(expired.contains("a", "pods", "5", now));
  EXPECT_FALSE(expired.contains("", "pod", "5", now));
  expired.learn("a/b", "c", "5", now);
  EXPECT_FALSE(expired.contains("b", "c", "5", now));
  EXPECT_FALSE(expired.contains("a", "bc", "5", now));
}

TEST(ExpiredResourcesTest, TheOneThatWasLearnedFirstMakesRoom) {
  ExpiredResources expired;
  for (std::size_t i = 0; i < ExpiredResources::entries_max; ++i) {
    expired.learn("group", std::to_string(i), "5", now);
  }
  expired.learn("group", "0", "5", now + Duration(1));  // again
  expired.learn("group", "new", "5", now + Duration(2));
  EXPECT_TRUE(expired.contains("group", "0", "5", now + Duration(2)));
  EXPECT_FALSE(expired.contains("group", "1", "5", now + Duration(2)));
  EXPECT_TRUE(expired.contains("group", "2", "5", now + Duration(2)));
  EXPECT_TRUE(expired.contains("group", "new", "5", now + Duration(2)));
}

TEST(ExpiredResourcesTest, AVersionSaysNothingOfNewerOnes) {
  ExpiredResources expired;
  expired.learn("", "pods", "99", now);
  EXPECT_TRUE(expired.contains("", "pods", "99", now));
  EXPECT_TRUE(expired.contains("", "pods", "5", now));
  EXPECT_FALSE(expired.contains("", "pods", "100", now));
  EXPECT_FALSE(expired.contains("", "pods", "opaque", now));
  // An older one does not take the newest away.
  expired.learn("", "pods", "7", now);
  EXPECT_TRUE(expired.contains("", "pods", "99", now));
  // As long as two words of 64 bits, and compared as a number.
  expired.learn("", "pods", "20000000000000000000000000", now);
  EXPECT_TRUE(expired.contains("", "pods", "18446744073709551616", now));
  EXPECT_FALSE(expired.contains("", "pods", "20000000000000000000000001", now));
}

TEST(ExpiredResourcesTest, AVersionThatIsNoNumberStandsForItself) {
  ExpiredResources expired;
  expired.learn("", "pods", "a-b", now);
  EXPECT_TRUE(expired.contains("", "pods", "a-b", now));
  EXPECT_FALSE(expired.contains("", "pods", "a-a", now));
  EXPECT_FALSE(expired.contains("", "pods", "1", now));
  expired.learn("", "nodes", std::string(ExpiredResources::version_bytes_max + 1, '1'), now);
  EXPECT_FALSE(expired.contains("", "nodes", "1", now));
}

TEST(ExpiredResourcesTest, NamesThatAreTooLongAreNotKept) {
  ExpiredResources expired;
  const std::string name(ExpiredResources::name_bytes_max, 'x');
  expired.learn("", name, "5", now);
  EXPECT_FALSE(expired.contains("", name, "5", now));
}

}  // namespace
}  // namespace sluice::proxy
