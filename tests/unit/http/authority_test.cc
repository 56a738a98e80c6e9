// SPDX-License-Identifier: GPL-3.0-or-later
// What names a host, and which names are the same.
#include "sluice/http/authority.h"

#include <gtest/gtest.h>

namespace sluice::http {
namespace {

TEST(AuthorityTest, IsAHostAndPerhapsAPort) {
  for (const char* text : {"a", "kube.example:443", "10.0.0.1:6443", "[fd00::1]:443", "a_b~c"}) {
    EXPECT_TRUE(is_authority(text)) << text;
  }
  for (const char* text : {"", "u@a", "a/b", "a,b", "a b", "a?b", "a#b", "\xc3\xa4", "a\\b"}) {
    EXPECT_FALSE(is_authority(text)) << text;
  }
}

TEST(AuthorityTest, NeitherCaseNorTheUsualPortMakesAnother) {
  EXPECT_TRUE(same_authority("Kube", "kUBE", "443"));
  EXPECT_TRUE(same_authority("kube:443", "kube", "443"));
  EXPECT_TRUE(same_authority("kube:", "kube:443", "443"));
  EXPECT_FALSE(same_authority("kube:80", "kube", "443"));
  EXPECT_FALSE(same_authority("kube", "kube.", "443"));
  EXPECT_FALSE(same_authority("kube", "other", "443"));
}

TEST(AuthorityTest, TheHostIsWhatComesBeforeThePort) {
  EXPECT_EQ(host_of("kube.example"), "kube.example");
  EXPECT_EQ(host_of("kube.example:443"), "kube.example");
  EXPECT_EQ(host_of("kube.example:"), "kube.example");
  EXPECT_EQ(host_of("10.0.0.1:6443"), "10.0.0.1");
  EXPECT_EQ(host_of("[fd00::1]"), "[fd00::1]");
  EXPECT_EQ(host_of("[fd00::1]:443"), "[fd00::1]");
  EXPECT_EQ(host_of(":443"), "");
  EXPECT_EQ(host_of(""), "");
}

}  // namespace
}  // namespace sluice::http
