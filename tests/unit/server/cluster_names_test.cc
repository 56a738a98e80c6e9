// SPDX-License-Identifier: GPL-3.0-or-later
// Which cluster a client is of, and which requests are meant for another.
#include "cluster_names.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice::server {
namespace {

using Number = std::optional<std::size_t>;

struct Named {
  std::vector<std::string> names;
  OtherClients others = OtherClients::none;
};

ClusterNames names(const std::vector<Named>& clusters, std::vector<std::string> reserved = {}) {
  ServerOptions options;
  for (const Named& named : clusters) {
    ClusterOptions& cluster = options.clusters.emplace_back();
    cluster.server_names = named.names;
    cluster.others = named.others;
  }
  options.reserved_names = std::move(reserved);
  return ClusterNames(options);
}

TEST(ClusterNamesTest, WhoIsAloneAndTakesAllHasEveryClient) {
  const ClusterNames only = names({{{}, OtherClients::all}});
  EXPECT_EQ(only.of_hello(""), Number(0));
  EXPECT_EQ(only.of_hello("whatever.example"), Number(0));
  EXPECT_FALSE(only.elsewhere("whatever.example", 0));
}

TEST(ClusterNamesTest, AClientIsGivenTheClusterThatItNames) {
  const ClusterNames two = names({{{"one.example"}}, {{"*.two.example"}}});
  EXPECT_EQ(two.of_hello("one.example"), Number(0));
  EXPECT_EQ(two.of_hello("a.two.example"), Number(1));
  EXPECT_EQ(two.of_hello("two.example"), std::nullopt);
  EXPECT_EQ(two.of_hello(""), std::nullopt);
}

TEST(ClusterNamesTest, TheDefaultHasWhoNamesNobodyAndOnlyIfItSaysSoWhoNamesAStranger) {
  const ClusterNames unnamed = names({{{"one.example"}}, {{}, OtherClients::unnamed}});
  EXPECT_EQ(unnamed.of_hello(""), Number(1));
  EXPECT_EQ(unnamed.of_hello("three.example"), std::nullopt);
  const ClusterNames all = names({{{"one.example"}}, {{}, OtherClients::all}});
  EXPECT_EQ(all.of_hello(""), Number(1));
  EXPECT_EQ(all.of_hello("three.example"), Number(1));
  EXPECT_EQ(all.of_hello("one.example"), Number(0));
}

TEST(ClusterNamesTest, AReservedNameIsNobodysNotEvenTheDefaults) {
  const ClusterNames broken =
      names({{{"*.example"}, OtherClients::all}}, {"broken.example", "other.test"});
  EXPECT_EQ(broken.of_hello("broken.example"), std::nullopt);
  EXPECT_EQ(broken.of_hello("other.test"), std::nullopt);
  EXPECT_EQ(broken.of_hello("whole.example"), Number(0));
  EXPECT_TRUE(broken.elsewhere("broken.example", 0));
}

TEST(ClusterNamesTest, AnAuthorityOfAnotherClusterIsElsewhereInEverySpelling) {
  const ClusterNames two = names({{{"one.example"}, OtherClients::all}, {{"*.two.example"}}});
  for (const char* authority : {"a.two.example", "a.two.example:443", "A.Two.Example:6443",
                                "a.two.example.", "a.two.example.:443", "a.two.example:"}) {
    EXPECT_TRUE(two.elsewhere(authority, 0)) << authority;
    EXPECT_FALSE(two.elsewhere(authority, 1)) << authority;
  }
}

TEST(ClusterNamesTest, AnAuthorityThatIsNobodysIsEverybodys) {
  const ClusterNames two = names({{{"one.example"}}, {{"two.example"}}});
  for (const char* authority : {"10.0.0.1:6443", "[fd00::1]:443", "[fd00::1]", "kubernetes",
                                "kubernetes.default.svc", "", ":443", "three.example"}) {
    EXPECT_FALSE(two.elsewhere(authority, 0)) << authority;
    EXPECT_FALSE(two.elsewhere(authority, 1)) << authority;
  }
}

TEST(ClusterNamesTest, WhatTwoClaimNeitherServes) {
  const ClusterNames two = names({{{"same.example", "one.example"}}, {{"same.example"}}});
  EXPECT_EQ(two.of_hello("same.example"), std::nullopt);
  EXPECT_EQ(two.of_hello("one.example"), Number(0));
  EXPECT_TRUE(two.elsewhere("same.example", 0));
}

}  // namespace
}  // namespace sluice::server
