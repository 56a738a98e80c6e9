// SPDX-License-Identifier: GPL-3.0-or-later
// Every error of the TLS library is a sentence in the log.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "library.h"

namespace sluice::tls {
namespace {

bool named(int code) { return !library_error(code).starts_with("an error that has no name"); }

TEST(LibraryErrorTest, EveryCodeOfTheTlsLayerHasWords) {
  // Numbers that the library does not use, or uses only for what is not built in: DTLS, QUIC, files
  // and the names of another library.
  const std::set<int> unused = {-336, -346, -347, -348, -349, -356, -358, -384};
  for (int code = -301; code >= -453; --code) {
    EXPECT_TRUE(named(code) || unused.contains(code)) << code;
  }
  for (int code = -500; code >= -506; --code) EXPECT_TRUE(named(code)) << code;
  EXPECT_TRUE(named(DUPLICATE_TLS_EXT_E));
  EXPECT_TRUE(named(WOLFSSL_ALPN_NOT_FOUND));
}

TEST(LibraryErrorTest, EveryCodeOfTheCryptographyHasWords) {
  std::string unnamed;
  for (int code = WC_SPAN1_FIRST_E; code >= WC_SPAN1_LAST_E; --code) {
    if (!named(code)) unnamed += std::to_string(code) + " ";
  }
  for (int code = WC_SPAN2_FIRST_E - 1; code >= WC_SPAN2_LAST_E; --code) {
    if (!named(code)) unnamed += std::to_string(code) + " ";
  }
  EXPECT_EQ(unnamed, "");
}

TEST(LibraryErrorTest, WhatClientsCauseIsSaidInOurWords) {
  EXPECT_EQ(library_error(-501),
            "no cipher suite in common: TLS 1.3, or TLS 1.2 with ECDHE and AEAD, is needed (-501)");
  EXPECT_EQ(library_error(-326), "no version in common: TLS 1.2 or 1.3 is needed (-326)");
  EXPECT_EQ(library_error(-405), "no application protocol (ALPN) in common (-405)");
  EXPECT_TRUE(library_error(-503).starts_with("no key exchange group in common"));
  EXPECT_EQ(library_error(-306), "what the peer sent is no TLS record (-306)");
  EXPECT_EQ(alert_text(48), "unknown_ca (48)");
  EXPECT_EQ(alert_text(255), "255");
}

}  // namespace
}  // namespace sluice::tls
