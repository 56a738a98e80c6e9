// SPDX-License-Identifier: GPL-3.0-or-later
// PROXY headers of version 2: addresses, lengths, values and their checksum.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy_header.h"
#include "proxy_header_checks.h"

namespace sluice::net {
namespace {

using test::ipv4_block;
using test::ipv6_block;
using test::local_block;
using test::proxy_value;
using test::ProxyBlock;
using Status = ProxyHeader::Status;

TEST(ProxyBlockTest, NamesTheSourceOfATcpConnection) {
  expect_good(ipv4_block().text(), "192.0.2.7:56324");
  expect_good(ipv6_block().text(), "[2001:db8::7]:56324");
}

// The bytes as they are, so that the other tests' own builder is held, too. With a checksum that
// was calculated elsewhere.
TEST(ProxyBlockTest, IsReadAsItIsOnTheWire) {
  const std::string header(
      "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"  // signature
      "\x21\x11\x00\x13"                                  // version 2, PROXY; TCP over IPv4; 19
      "\xc0\x00\x02\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb"  // addresses and ports
      "\x03\x00\x04\x54\x8e\x28\xff",                     // CRC-32C
      35);
  EXPECT_EQ(testing::PrintToString(header),
            testing::PrintToString(ipv4_block().text_with_checksum()));
  expect_good(header, "192.0.2.7:56324");
}

TEST(ProxyBlockTest, AMappedAddressIsOneOfIpv4) {
  ProxyBlock block = ipv6_block();
  block.addresses.replace(
      0, 16, std::string(10, '\0') + "\xff\xff\xc0" + std::string(1, '\0') + "\x02\x07");
  expect_good(block.text(), "192.0.2.7:56324");
}

TEST(ProxyBlockTest, WhoeverSpeaksForItselfNamesNobody) {
  expect_good(local_block().text(), "nobody");
  // With whatever it carries: the family is ignored, the block is discarded.
  for (const int family : {0x00, 0x11, 0x21, 0x31, 0x13, 0x55, 0xff}) {
    for (const std::size_t bytes : {1U, 11U, 12U, 13U, 36U, 40U, 300U}) {
      ProxyBlock block = local_block();
      block.family_and_protocol = static_cast<std::uint8_t>(family);
      block.addresses = std::string(bytes, '\x7f');
      expect_good(block.text(), "nobody");
    }
  }
}

// Section 2.2: protocols that are not implemented count as unspecified ones.
TEST(ProxyBlockTest, OtherProtocolsThanTcpNameNobody) {
  for (const auto& [family, bytes] : std::vector<std::pair<int, std::size_t>>{{0x00, 0},
                                                                              {0x00, 5},
                                                                              {0x01, 4},
                                                                              {0x02, 0},
                                                                              {0x10, 12},
                                                                              {0x20, 3},
                                                                              {0x30, 0},
                                                                              {0x12, 12},
                                                                              {0x22, 36},
                                                                              {0x31, 216},
                                                                              {0x32, 216}}) {
    ProxyBlock block;
    block.family_and_protocol = static_cast<std::uint8_t>(family);
    block.addresses = std::string(bytes, '\x01');
    expect_good(block.text(), "nobody");
  }
}

TEST(ProxyBlockTest, AnotherVersionCommandFamilyOrProtocolIsRefused) {
  const std::string_view version = "another version";
  const std::string_view command = "an unknown command";
  const std::string_view family = "an unknown family or protocol";
  for (int byte = 0; byte < 256; ++byte) {
    ProxyBlock block = ipv4_block();
    block.version_and_command = static_cast<std::uint8_t>(byte);
    if (byte == 0x20 || byte == 0x21) continue;
    expect_bad(block.text(), byte >> 4 == 2 ? command : version);
    EXPECT_EQ(read(block.text().substr(0, 13)).status, Status::invalid);
  }
  for (int byte = 0; byte < 256; ++byte) {
    ProxyBlock block = ipv4_block();
    block.family_and_protocol = static_cast<std::uint8_t>(byte);
    if (byte >> 4 <= 3 && (byte & 15) <= 2) continue;
    expect_bad(block.text(), family);
    EXPECT_EQ(read(block.text().substr(0, 14)).status, Status::invalid);
  }
}

TEST(ProxyBlockTest, ABlockTooShortForItsAddressesIsRefused) {
  for (const auto& [family, bytes] : std::vector<std::pair<int, std::size_t>>{
           {0x11, 12}, {0x12, 12}, {0x21, 36}, {0x22, 36}, {0x31, 216}, {0x32, 216}}) {
    for (std::size_t shorter = 0; shorter < bytes; ++shorter) {
      ProxyBlock block;
      block.family_and_protocol = static_cast<std::uint8_t>(family);
      block.addresses = std::string(shorter, '\x01');
      expect_bad(block.text(), "too short for its addresses");
    }
  }
}

TEST(ProxyBlockTest, ABlockThatIsTooLongIsNotWaitedFor) {
  ProxyBlock block = ipv4_block();
  block.values = proxy_value(4, std::string(proxy_block_bytes_max - 12 - 3, '\0'));
  expect_good(block.text(), "192.0.2.7:56324");
  block.values = proxy_value(4, std::string(proxy_block_bytes_max - 12 - 2, '\0'));
  expect_bad(block.text(), "too long");
  for (const ProxyBlock& other : {local_block(), ipv4_block(), ipv6_block()}) {
    block = other;
    block.length = 65535;
    EXPECT_EQ(read(block.text().substr(0, 15)).status, Status::incomplete);
    EXPECT_EQ(read(block.text().substr(0, 16)).status, Status::invalid);
  }
}

TEST(ProxyBlockTest, ValuesAreWalkedAndPassedOver) {
  for (ProxyBlock block : {ipv4_block(), ipv6_block()}) {
    const std::string from = source(read(block.text()));
    for (const std::string& values :
         {proxy_value(4, ""), proxy_value(1, "h2") + proxy_value(2, "kubernetes"),
          proxy_value(0x20, std::string(5, '\0')), proxy_value(0xea, "\x01vpce-1"),
          proxy_value(0, "") + proxy_value(0xff, std::string(300, 'v')) + proxy_value(5, "id")}) {
      block.values = values;
      expect_good(block.text(), from);
    }
  }
}

TEST(ProxyBlockTest, AValueThatDoesNotFitIsRefused) {
  const std::string good = proxy_value(5, "id");
  for (const std::string& values :
       {std::string("\x04", 1), std::string("\x04\x00", 2), std::string("\x04\x00\x01", 3),
        std::string("\x04\xff\xff\x00", 4), good + "\x04", good.substr(0, good.size() - 1),
        good + std::string("\x00\x00", 2), proxy_value(3, ""), proxy_value(3, "abc"),
        proxy_value(3, "abcde")}) {
    ProxyBlock block = ipv4_block();
    block.values = values;
    expect_bad(block.text(), "a value that is malformed");
    // Also where the address itself would not be used.
    block.family_and_protocol = 0x12;
    expect_bad(block.text(), "a value that is malformed");
  }
}

// --- the authority -----------------------------------------------------------------------------

TEST(ProxyBlockTest, TheAuthorityIsTheServerNameThatTheClientAskedFor) {
  for (ProxyBlock block : {ipv4_block(), ipv6_block()}) {
    EXPECT_EQ(read(block.text()).authority, "");
    for (const std::string& name :
         {std::string("one.example"), std::string(255, 'n'), std::string("\xff\0 \n", 4)}) {
      block.values = proxy_value(1, "h2") + proxy_value(2, name) + proxy_value(5, "id");
      for (const std::string& text : {block.text(), block.text_with_checksum()}) {
        EXPECT_EQ(read(text + "what follows").authority, name);
      }
    }
    block.values = proxy_value(2, "");
    EXPECT_EQ(read(block.text()).authority, "");
    // Which of two would count?
    for (const char* other : {"one.example", "two.example", ""}) {
      block.values = proxy_value(2, "one.example") + proxy_value(2, other);
      expect_bad(block.text(), "a value that is malformed");
    }
  }
}

TEST(ProxyBlockTest, WhoeverSpeaksForItselfHasAskedForNothing) {
  ProxyBlock block = local_block();
  block.values = proxy_value(2, "one.example");
  EXPECT_EQ(read(block.text()).authority, "");
  EXPECT_EQ(read("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n").authority, "");
}

// --- the checksum ------------------------------------------------------------------------------

TEST(ProxyBlockTest, ARightChecksumIsTaken) {
  ProxyBlock block = ipv4_block();
  expect_good(block.text_with_checksum(), "192.0.2.7:56324");
  block.values = proxy_value(5, "id") + proxy_value(4, std::string(200, '\0'));
  expect_good(block.text_with_checksum(), "192.0.2.7:56324");
  expect_good(ipv6_block().text_with_checksum(), "[2001:db8::7]:56324");
  expect_good(local_block().text_with_checksum(), "nobody");
}

TEST(ProxyBlockTest, AnyBitThatIsWrongUnderAChecksumIsSeen) {
  for (ProxyBlock block : {ipv4_block(), ipv6_block()}) {
    block.values = proxy_value(5, "id");
    const std::string good = block.text_with_checksum();
    for (std::size_t at = 0; at < good.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string wrong = good;
        wrong[at] = static_cast<char>(wrong[at] ^ (1 << bit));
        // Without its mark, or behind addresses of another size, it is no checksum any more.
        const bool mark = at >= 16 + block.addresses.size() && at < 19 + block.addresses.size();
        if (mark || at == 13) continue;
        EXPECT_NE(read(wrong).status, Status::complete) << at << "." << bit;
      }
    }
  }
}

// A balancer that asks whether we live may send one, too.
TEST(ProxyBlockTest, AWrongChecksumIsRefusedWhoeverIsNamed) {
  for (const ProxyBlock& block : {ipv4_block(), ipv6_block(), local_block()}) {
    std::string text = block.text_with_checksum();
    text.back() = static_cast<char>(text.back() ^ 1);
    expect_bad(text, "a wrong checksum");
  }
}

TEST(ProxyBlockTest, TwoChecksumsAreRefused) {
  ProxyBlock block = ipv4_block();
  block.values = proxy_value(3, "abcd");
  expect_bad(block.text_with_checksum(), "a value that is malformed");
}

}  // namespace
}  // namespace sluice::net
