// SPDX-License-Identifier: GPL-3.0-or-later
// Whose a server name is.
#include "sluice/tls/server_names.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::tls {
namespace {

using Owner = std::optional<ServerNames::Owner>;

TEST(ServerNamesTest, AnExactNameComesBeforeAWildcard) {
  ServerNames names;
  EXPECT_EQ(names.claim("*.example.com", 1), std::nullopt);
  EXPECT_EQ(names.claim("a.example.com", 2), std::nullopt);
  EXPECT_EQ(names.find("a.example.com"), Owner(2));
  EXPECT_EQ(names.find("b.example.com"), Owner(1));
}

TEST(ServerNamesTest, AWildcardStandsForOneLabelAndNotForNone) {
  ServerNames names;
  names.claim("*.example.com", 1);
  for (const char* name : {"example.com", ".example.com", "a.b.example.com", "aexample.com",
                           "*.example.com", "example.com.", "com"}) {
    EXPECT_EQ(names.find(name), std::nullopt) << name;
  }
}

TEST(ServerNamesTest, AmongWildcardsTheLongestIsMeant) {
  ServerNames names;
  names.claim("*.example.com", 1);
  names.claim("*.a.example.com", 2);
  EXPECT_EQ(names.find("x.a.example.com"), Owner(2));
  EXPECT_EQ(names.find("a.example.com"), Owner(1));
}

TEST(ServerNamesTest, NeitherCaseNorATrailingDotMakesAnotherName) {
  ServerNames names;
  names.claim("kube.example.com", 7);
  for (const char* name : {"KUBE.Example.com", "kube.example.com.", "Kube.example.COM."}) {
    EXPECT_EQ(names.find(name), Owner(7)) << name;
  }
  EXPECT_EQ(names.find("kube.example.com.."), std::nullopt);
}

TEST(ServerNamesTest, WhatTwoClaimIsNobodysWhoeverComesThird) {
  ServerNames names;
  EXPECT_EQ(names.claim("a.example", 1), std::nullopt);
  EXPECT_EQ(names.claim("a.example", 1), std::nullopt);
  EXPECT_EQ(names.claim("a.example", 2), Owner(1));
  EXPECT_EQ(names.find("a.example"), Owner(ServerNames::nobody));
  EXPECT_EQ(names.claim("a.example", 3), Owner(ServerNames::nobody));
  EXPECT_EQ(names.find("a.example"), Owner(ServerNames::nobody));
}

TEST(ServerNamesTest, AReservedNameHidesAWildcard) {
  ServerNames names;
  names.claim("*.example", 1);
  names.claim("a.example", ServerNames::nobody);
  EXPECT_EQ(names.find("a.example"), Owner(ServerNames::nobody));
  EXPECT_EQ(names.find("b.example"), Owner(1));
}

TEST(ServerNamesTest, BytesOfAnyKindAndLengthAreNobodys) {
  ServerNames names;
  names.claim("*.example", 1);
  std::string every;
  for (int i = 0; i < 256; ++i) every.push_back(static_cast<char>(i));
  for (const std::string& name : {std::string(), std::string("."), std::string("..example"), every,
                                  std::string(254, 'a'), std::string(100'000, 'x') + ".example"}) {
    EXPECT_EQ(names.find(name), std::nullopt) << name.size();
  }
  EXPECT_EQ(names.find(std::string(245, 'a') + ".example"), Owner(1));  // 253 bytes
}

TEST(ServerNamesTest, TheNormalFormIsLowerCaseWithoutATrailingDot) {
  EXPECT_EQ(normal_server_name("Kube.Example.COM."), "kube.example.com");
  EXPECT_EQ(normal_server_name("*.Example"), "*.example");
  EXPECT_EQ(normal_server_name("localhost"), "localhost");
  EXPECT_EQ(normal_server_name("a_b-c.d1"), "a_b-c.d1");
}

TEST(ServerNamesTest, WhatCannotBeAskedForCannotBeClaimed) {
  const std::string label64(64, 'a');
  for (const std::string& text :
       {std::string(), std::string("."), std::string("*"), std::string("*."), std::string("a..b"),
        std::string(".a"), std::string("a.."), std::string("*.*.a"), std::string("a.*.b"),
        std::string("a*.b"), std::string("10.0.0.1"), std::string("*.0.0.1"), std::string("[::1]"),
        std::string("a:443"), std::string("a b"), std::string("\xc3\xa4"), label64 + ".example",
        std::string("a.") + std::string(252, 'b')}) {
    EXPECT_EQ(normal_server_name(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace sluice::tls
