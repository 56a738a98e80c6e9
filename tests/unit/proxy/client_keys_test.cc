// SPDX-License-Identifier: GPL-3.0-or-later
// Which addresses are one client.
#include "sluice/proxy/client_keys.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

TEST(ClientKeys, AnIPv4AddressIsOneClientHoweverItIsWritten) {
  EXPECT_EQ(network_of("10.0.0.1"), network_of("::ffff:10.0.0.1"));
  EXPECT_NE(network_of("10.0.0.1"), network_of("10.0.0.2"));
}

TEST(ClientKeys, AnIPv6ClientIsItsSixtyFourBits) {
  EXPECT_EQ(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:2:ffff::9"));
  EXPECT_NE(network_of("2001:db8:1:2::1"), network_of("2001:db8:1:3::1"));
  EXPECT_NE(network_of("::1"), network_of("10.0.0.1"));
}

TEST(ClientKeys, WhatIsNoAddressStandsForItself) {
  EXPECT_EQ(network_of("nowhere"), "nowhere");
  EXPECT_EQ(network_of(""), "");
}

}  // namespace
}  // namespace sluice::proxy
