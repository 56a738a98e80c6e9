// SPDX-License-Identifier: GPL-3.0-or-later
// Networks in and out of text, and which addresses lie in them.
#include "sluice/io/network.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sluice::io {
namespace {

Address address(std::string_view host) {
  const bool v6 = host.find(':') != std::string_view::npos;
  return *Address::parse(v6 ? "[" + std::string(host) + "]:7" : std::string(host) + ":7");
}

TEST(NetworkTest, ParsesBothFamiliesAndPrintsThemWithTheirPrefix) {
  const std::vector<std::pair<std::string_view, std::string_view>> table = {
      {"10.0.0.0/8", "10.0.0.0/8"},
      {"192.0.2.7", "192.0.2.7/32"},
      {"192.0.2.7/32", "192.0.2.7/32"},
      {"192.0.2.128/25", "192.0.2.128/25"},
      {"0.0.0.0/0", "0.0.0.0/0"},
      {"2001:DB8::/32", "2001:db8::/32"},
      {"::1", "::1/128"},
      {"fe80::/10", "fe80::/10"},
      {"::/0", "::/0"},
  };
  for (const auto& [text, printed] : table) {
    const auto network = Network::parse(text);
    ASSERT_TRUE(network.has_value()) << text << ": " << network.error().context;
    EXPECT_EQ(network->to_string(), printed);
    EXPECT_EQ(*Network::parse(network->to_string()), *network) << text;
  }
}

TEST(NetworkTest, RefusesEverythingElseAndSaysWhy) {
  const std::vector<std::pair<std::string, std::string_view>> table = {
      {"", "begin with an IP address"},
      {"/8", "begin with an IP address"},
      {"balancer.example/32", "begin with an IP address"},
      {"10.0.0/8", "begin with an IP address"},
      {"10.0.0.0.0/8", "begin with an IP address"},
      {"010.0.0.0/8", "begin with an IP address"},
      {"[::1]/128", "begin with an IP address"},
      {"fe80::1%lo/128", "begin with an IP address"},
      {std::string("10.0.0.0\0/8", 11), "begin with an IP address"},
      {"10.0.0.0/", "number from 0 to 32"},
      {"10.0.0.0/33", "number from 0 to 32"},
      {"10.0.0.0/-1", "number from 0 to 32"},
      {"10.0.0.0/+8", "number from 0 to 32"},
      {"10.0.0.0/08", "number from 0 to 32"},
      {"10.0.0.0/8 ", "number from 0 to 32"},
      {"10.0.0.0/8/8", "number from 0 to 32"},
      {"10.0.0.0/255.0.0.0", "number from 0 to 32"},
      {"10.0.0.0/4294967304", "number from 0 to 32"},
      {"fd00::/129", "number from 0 to 128"},
      {"10.0.0.1/8", "perhaps 10.0.0.0/8 is meant"},
      {"192.0.2.129/25", "perhaps 192.0.2.128/25 is meant"},
      {"2001:db8::1/64", "perhaps 2001:db8::/64 is meant"},
      {"::ffff:10.0.0.0/104", "written as such"},
      {"::ffff:10.0.0.1", "written as such"},
  };
  for (const auto& [text, reason] : table) {
    const auto network = Network::parse(text);
    ASSERT_FALSE(network.has_value()) << text;
    EXPECT_TRUE(network.error().context.contains(reason)) << network.error().context;
  }
}

TEST(NetworkTest, HoldsTheAddressesOfItsPrefixAndNoOthers) {
  struct Row {
    std::string_view network;
    std::vector<std::string_view> inside, outside;
  };
  const std::vector<Row> table = {
      {"10.0.0.0/8", {"10.0.0.0", "10.255.255.255"}, {"9.255.255.255", "11.0.0.0", "::a00:0"}},
      {"192.0.2.128/25", {"192.0.2.128", "192.0.2.255"}, {"192.0.2.127", "192.0.3.128"}},
      {"192.0.2.7", {"192.0.2.7"}, {"192.0.2.6", "192.0.2.8", "193.0.2.7"}},
      {"0.0.0.0/0", {"0.0.0.0", "255.255.255.255"}, {"::", "2001:db8::1"}},
      {"::/0", {"::", "2001:db8::1"}, {"0.0.0.0", "10.0.0.1"}},
      {"2001:db8:8000::/33", {"2001:db8:8000::", "2001:db8:ffff::1"}, {"2001:db8:7fff::"}},
      {"::1", {"::1"}, {"::", "::2", "127.0.0.1"}},
  };
  for (const auto& [text, inside, outside] : table) {
    const Network network = Network::parse(text).value();
    for (const std::string_view host : inside) EXPECT_TRUE(network.contains(address(host))) << host;
    for (const std::string_view host : outside)
      EXPECT_FALSE(network.contains(address(host))) << text << " " << host;
    EXPECT_FALSE(network.contains(Address())) << text;
  }
}

TEST(NetworkTest, OneOfSeveralIsEnough) {
  const std::vector<Network> networks = {Network::parse("10.0.0.0/8").value(),
                                         Network::parse("fd00::/8").value()};
  EXPECT_TRUE(any_contains(networks, address("10.1.2.3")));
  EXPECT_TRUE(any_contains(networks, address("fd12::1")));
  EXPECT_FALSE(any_contains(networks, address("192.0.2.1")));
  EXPECT_FALSE(any_contains({}, address("10.1.2.3")));
}

}  // namespace
}  // namespace sluice::io
