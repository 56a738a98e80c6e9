// SPDX-License-Identifier: GPL-3.0-or-later
// What every good and every bad PROXY header must show, whatever is wrong or right with it.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "sluice/net/proxy_protocol.h"

namespace sluice::net {

inline ProxyHeader read(std::string_view text) { return read_proxy_header(as_bytes(text)); }

inline std::string source(const ProxyHeader& header) {
  return header.source ? header.source->to_string() : "nobody";
}

// Whole, with bytes behind it, and at each split: incomplete until its last byte is there.
inline void expect_good(const std::string& header, std::string_view from) {
  for (std::size_t bytes = 0; bytes < header.size(); ++bytes) {
    // In memory of its own size, so that reading on is seen.
    const std::vector<std::uint8_t> part(header.begin(),
                                         header.begin() + static_cast<std::ptrdiff_t>(bytes));
    const ProxyHeader early = read_proxy_header(part);
    ASSERT_EQ(early.status, ProxyHeader::Status::incomplete)
        << bytes << " of " << testing::PrintToString(header) << ": " << early.why;
  }
  for (const std::string& text :
       {header, header + "\x16\x03\x01 and what else the client says", header + header}) {
    const ProxyHeader read = net::read_proxy_header(as_bytes(text));
    ASSERT_EQ(read.status, ProxyHeader::Status::complete)
        << testing::PrintToString(text) << ": " << read.why;
    EXPECT_EQ(read.bytes, header.size());
    EXPECT_EQ(source(read), from) << testing::PrintToString(text);
    EXPECT_EQ(read.why, "");
  }
}

// Invalid from one of its bytes on, whatever follows, and never complete before.
inline void expect_bad(const std::string& text, std::string_view why) {
  const ProxyHeader whole = read(text);
  ASSERT_EQ(whole.status, ProxyHeader::Status::invalid) << testing::PrintToString(text);
  EXPECT_EQ(whole.why, why) << testing::PrintToString(text);
  EXPECT_FALSE(whole.source);
  EXPECT_EQ(whole.bytes, 0U);
  bool invalid = false;
  for (std::size_t bytes = 0; bytes <= text.size(); ++bytes) {
    const ProxyHeader::Status status = read(std::string_view(text).substr(0, bytes)).status;
    ASSERT_NE(status, ProxyHeader::Status::complete)
        << bytes << " of " << testing::PrintToString(text);
    ASSERT_TRUE(!invalid || status == ProxyHeader::Status::invalid) << testing::PrintToString(text);
    invalid = status == ProxyHeader::Status::invalid;
  }
  EXPECT_EQ(read(text + std::string(4096, 'x')).status, ProxyHeader::Status::invalid);
}

}  // namespace sluice::net
