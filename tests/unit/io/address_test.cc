// SPDX-License-Identifier: GPL-3.0-or-later
// Addresses in and out of text.
#include "sluice/io/address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::io {
namespace {

struct Good {
  std::string_view text;
  int family;
  std::string_view host;
  std::uint16_t port;
  std::string_view printed;
};

TEST(AddressTest, ParsesBothFamiliesAndPrintsThemCanonically) {
  const std::vector<Good> table = {
      {"127.0.0.1:6443", AF_INET, "127.0.0.1", 6443, "127.0.0.1:6443"},
      {"0.0.0.0:0", AF_INET, "0.0.0.0", 0, "0.0.0.0:0"},
      {"255.255.255.255:65535", AF_INET, "255.255.255.255", 65535, "255.255.255.255:65535"},
      {"10.0.0.1:00443", AF_INET, "10.0.0.1", 443, "10.0.0.1:443"},
      {"[::1]:6443", AF_INET6, "::1", 6443, "[::1]:6443"},
      {"[::]:1", AF_INET6, "::", 1, "[::]:1"},
      {"[2001:DB8:0:0::A]:443", AF_INET6, "2001:db8::a", 443, "[2001:db8::a]:443"},
      {"[::ffff:10.1.2.3]:443", AF_INET6, "::ffff:10.1.2.3", 443, "[::ffff:10.1.2.3]:443"},
  };
  for (const Good& row : table) {
    const auto address = Address::parse(row.text);
    ASSERT_TRUE(address.has_value()) << row.text << ": " << address.error().context;
    EXPECT_EQ(address->family(), row.family) << row.text;
    EXPECT_EQ(address->host(), row.host) << row.text;
    EXPECT_EQ(address->port(), row.port) << row.text;
    EXPECT_EQ(address->to_string(), row.printed) << row.text;
    EXPECT_EQ(*Address::parse(address->to_string()), *address) << row.text;
  }
}

TEST(AddressTest, ItsBytesMakeItAgainAndMappedOnesAreIpv4) {
  for (const std::string_view text : {"192.0.2.7:443", "[2001:db8::7]:443"}) {
    const Address address = *Address::parse(text);
    EXPECT_EQ(Address::from_ip(address.ip(), 443), address) << text;
  }
  const Address mapped = *Address::parse("[::ffff:192.0.2.7]:443");
  EXPECT_EQ(Address::from_ip(mapped.ip(), 443).to_string(), "192.0.2.7:443");
  EXPECT_TRUE(Address().ip().empty());
}

TEST(AddressTest, RefusesEverythingElseAndSaysWhy) {
  struct Bad {
    std::string text;
    std::string_view reason;
  };
  const std::vector<Bad> table = {
      {"", "port is missing"},
      {"127.0.0.1", "port is missing"},
      {"127.0.0.1:", "port must be"},
      {"127.0.0.1:65536", "port must be"},
      {"127.0.0.1:4294967739", "port must be"},
      {"127.0.0.1:-1", "port must be"},
      {"127.0.0.1:+1", "port must be"},
      {"127.0.0.1: 1", "port must be"},
      {"127.0.0.1:1 ", "port must be"},
      {"127.0.0.1:0x50", "port must be"},
      {"127.0.0.1:https", "port must be"},
      {":443", "no IP address"},
      {"localhost:443", "no IP address"},
      {"127.1:443", "no IP address"},
      {"256.0.0.1:443", "no IP address"},
      {" 127.0.0.1:443", "no IP address"},
      {"::1:443", "stands in brackets"},
      {"[::1]", "port must be"},
      {"[::1]443", "port must be"},
      {"[]:443", "no IPv6 address"},
      {"[127.0.0.1]:443", "no IPv6 address"},
      {"[::1%lo]:443", "no IPv6 address"},
      {"[[::1]]:443", "no IPv6 address"},
      {"[::1:443", "port"},
      {std::string("127.0.0.1\0:443", 14), "NUL"},
  };
  for (const Bad& row : table) {
    const auto address = Address::parse(row.text);
    ASSERT_FALSE(address.has_value()) << row.text;
    EXPECT_EQ(address.error().kind, ErrorKind::invalid_argument);
    if (row.text == "[::1:443") continue;  // several things are wrong with it
    EXPECT_NE(address.error().context.find(row.reason), std::string::npos)
        << row.text << ": " << address.error().context;
  }
}

TEST(AddressTest, ComparesFamilyHostAndPort) {
  const auto address = [](std::string_view text) { return *Address::parse(text); };
  EXPECT_EQ(address("10.0.0.1:1"), address("10.0.0.1:1"));
  EXPECT_NE(address("10.0.0.1:1"), address("10.0.0.1:2"));
  EXPECT_NE(address("10.0.0.1:1"), address("10.0.0.2:1"));
  EXPECT_NE(address("0.0.0.0:1"), address("[::]:1"));
  const Address mapped = address("[::ffff:10.0.0.1]:1");
  EXPECT_EQ(Address::from_sockaddr(mapped.data(), mapped.size()), address("10.0.0.1:1"));
  EXPECT_EQ(address("[::1]:1"), address("[0:0:0:0:0:0:0:1]:1"));
  EXPECT_NE(address("[::1]:1"), address("[::2]:1"));
  EXPECT_NE(address("10.0.0.1:1"), Address());
  EXPECT_EQ(Address(), Address());
}

TEST(AddressTest, TakesWhatTheKernelGivesAndOnlyWhole) {
  const Address v6 = *Address::parse("[2001:db8::7]:9");
  EXPECT_EQ(Address::from_sockaddr(v6.data(), v6.size()), v6);
  // A truncated structure is no address.
  EXPECT_EQ(Address::from_sockaddr(v6.data(), sizeof(sockaddr_in)), Address());
}

TEST(AddressTest, IsEmptyByDefault) {
  const Address none;
  EXPECT_EQ(none.size(), 0U);
  EXPECT_EQ(none.port(), 0);
  EXPECT_EQ(none.host(), "");
  EXPECT_EQ(none.to_string(), "none");
}

}  // namespace
}  // namespace sluice::io
