// SPDX-License-Identifier: GPL-3.0-or-later
// What a client is told about a field that breaks a rule.
#include "http2/broken_rule.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::http2 {
namespace {

TEST(BrokenRuleTest, NamesTheFieldAndTheRule) {
  for (const std::string name :
       {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}) {
    EXPECT_EQ(broken_rule(name), "the field \"" + name +
                                     "\" belongs to HTTP/1.1 and is not sent in HTTP/2 (RFC 9113 "
                                     "section 8.2.2)");
  }
  EXPECT_NE(broken_rule("te").find("\"te\" may only be \"trailers\""), std::string::npos);
  EXPECT_NE(broken_rule("content-length").find("decimal number"), std::string::npos);
  EXPECT_NE(broken_rule("host").find("\"host\" is not one authority"), std::string::npos);
  EXPECT_NE(broken_rule(":path").find("\":path\" is unknown, not valid"), std::string::npos);
  EXPECT_NE(broken_rule("Accept").find("lower case"), std::string::npos);
  EXPECT_NE(broken_rule("a b").find("in its name"), std::string::npos);
  EXPECT_NE(broken_rule("accept").find("in its value"), std::string::npos);
  EXPECT_NE(broken_rule("").find("no name"), std::string::npos);
}

TEST(BrokenRuleTest, ANameIsShownInPrintAndCutOff) {
  const std::string sentence = broken_rule("a\n\"\\\x01\xff" + std::string(1000, 'b'));
  EXPECT_LT(sentence.size(), 200U);
  EXPECT_NE(sentence.find("\"a?????bbb"), std::string::npos);
}

}  // namespace
}  // namespace sluice::http2
