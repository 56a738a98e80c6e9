// SPDX-License-Identifier: GPL-3.0-or-later
// PROXY headers of version 1: what each says, where it ends, and what is none.
#include "sluice/net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "proxy_header.h"
#include "proxy_header_checks.h"

namespace sluice::net {
namespace {

using test::ProxyBlock;
using Status = ProxyHeader::Status;

// --- version 1 ---------------------------------------------------------------------------------

TEST(ProxyLineTest, NamesTheSourceOfATcpConnection) {
  expect_good("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "192.0.2.7:56324");
  expect_good("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0");
  expect_good("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
              "255.255.255.255:65535");
  expect_good("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "[2001:db8::7]:56324");
  expect_good("PROXY TCP6 2001:DB8:0:0::7 :: 1 0\r\n", "[2001:db8::7]:1");
  expect_good(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

// As everywhere else here: a client of a balancer that listens for both families is one of IPv4.
TEST(ProxyLineTest, AMappedAddressIsOneOfIpv4) {
  expect_good("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 443\r\n", "192.0.2.7:56324");
  expect_good("PROXY TCP6 ::ffff:c000:207 ::1 56324 443\r\n", "192.0.2.7:56324");
}

// What balancers print with the C library must be read by it, too.
TEST(ProxyLineTest, AnAddressThatIsPrintedWithADottedEndIsTakenSo) {
  expect_good("PROXY TCP6 ::0.29.0.151 ::1 1 2\r\n", "[::0.29.0.151]:1");
  expect_good("PROXY TCP6 ::1d:97 ::1 1 2\r\n", "[::0.29.0.151]:1");
}

TEST(ProxyLineTest, AnUnknownConnectionNamesNobodyWhateverItSaysBesides) {
  expect_good("PROXY UNKNOWN\r\n", "nobody");
  expect_good("PROXY UNKNOWN \r\n", "nobody");
  expect_good("PROXY UNKNOWN 192.0.2.7 and anything \x01\xff else\r\n", "nobody");
  const std::string longest = "PROXY UNKNOWN " + std::string(91, 'f') + "\r\n";
  ASSERT_EQ(longest.size(), proxy_line_bytes_max);
  expect_good(longest, "nobody");
}

TEST(ProxyLineTest, AnythingElseIsRefused) {
  const std::string_view grammar = "not one protocol, two addresses and two ports";
  const std::string_view protocol = "an unknown protocol";
  const std::string_view port = "a port that is none";
  const std::string_view address = "an address that is none of its protocol";
  const std::string_view end = "an end of line that is no CRLF";
  const std::vector<std::pair<std::string, std::string_view>> table = {
      {"PROXY \r\n", grammar},
      {"PROXY TCP4\r\n", grammar},
      {"PROXY TCP4 \r\n", grammar},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n", grammar},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 \r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n", grammar},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n", grammar},
      {"PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n", grammar},
      {"PROXY  TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", grammar},
      {"PROXY\tTCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "neither version begins so"},
      {"proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "neither version begins so"},
      {" PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", "neither version begins so"},
      {"PROXY\r\n", "neither version begins so"},
      {"PROXY tcp4 192.0.2.7 198.51.100.1 56324 443\r\n", protocol},
      {"PROXY TCP5 192.0.2.7 198.51.100.1 56324 443\r\n", protocol},
      {"PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n", protocol},
      {"PROXY UNKNOWNS 192.0.2.7 198.51.100.1 56324 443\r\n", protocol},
      {"PROXY UNKNOWN\t\r\n", grammar},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 00 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 0443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 99999999999\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 0x50 443\r\n", port},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 https 443\r\n", port},
      {"PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2.007 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2.256 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2.7.1 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0..7 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 3221225991 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2.7 198.51.100.999 56324 443\r\n", address},
      {"PROXY TCP4 client.example 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP4 192.0.2.7 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP6 2001:db8::7 198.51.100.1 56324 443\r\n", address},
      {"PROXY TCP6 2001:db8::7::1 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 2001:db8:7 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 1:2:3:4:5:6:7:8:9 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 2001:db80a::7 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 [2001:db8::7] 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 fe80::1%1 2001:db8::1 56324 443\r\n", address},
      {"PROXY TCP6 2001:db8::192.0.2.7 2001:db8::1 56324 443\r\n", address},
      {std::string("PROXY TCP4 192.0.2.7\0 198.51.100.1 56324 443\r\n", 46), address},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n", end},
      {"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\r\n", end},
      {"PROXY TCP4 192.0.2.7\r198.51.100.1 56324 443\r\n", end},
      {"PROXY UNKNOWN\n", end},
      {"PROXY UNKNOWN a\nb\r\n", end},
      {"PROXY UNKNOWN a\rb\r\n", end},
  };
  for (const auto& [text, why] : table) expect_bad(text, why);
}

TEST(ProxyLineTest, ALineThatIsTooLongIsNotWaitedFor) {
  const std::string begin = "PROXY UNKNOWN ";
  for (const std::string& text : {begin + std::string(92, 'f') + "\r\n",
                                  begin + std::string(93, 'f'), begin + std::string(5000, ' ')}) {
    expect_bad(text, "a line without an end");
    EXPECT_EQ(read(std::string_view(text).substr(0, proxy_line_bytes_max - 1)).status,
              Status::incomplete);
    EXPECT_EQ(read(std::string_view(text).substr(0, proxy_line_bytes_max)).status, Status::invalid);
  }
}

TEST(ProxyHeaderTest, WhatIsNeitherVersionIsRefusedAtItsFirstWrongByte) {
  for (const std::string& text :
       {std::string("\x16\x03\x01\x02\x00\x01", 6), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string(1, '\0'), std::string("SSH-2.0-x\r\n"), std::string("\xff\xff\xff\xff", 4)}) {
    expect_bad(text, "neither version begins so");
    EXPECT_EQ(read(std::string_view(text).substr(0, 1)).status, Status::invalid);
  }
  for (const std::string_view begin : {std::string_view("PROXY "), ProxyBlock::signature}) {
    for (std::size_t at = 0; at < begin.size(); ++at) {
      std::string text(begin);
      text[at] = static_cast<char>(text[at] ^ 0x20);
      EXPECT_EQ(read(text.substr(0, at)).status, Status::incomplete);
      EXPECT_EQ(read(text.substr(0, at + 1)).status, Status::invalid);
    }
  }
}

}  // namespace
}  // namespace sluice::net
