// SPDX-License-Identifier: GPL-3.0-or-later
// Heads from fields, and their limits.
#include "http2/head_builder.h"

#include <gtest/gtest.h>

namespace sluice::http2 {
namespace {

using Kind = HeadBuilder::Kind;
using Added = HeadBuilder::Added;

TEST(HeadBuilderTest, CountsBytesAsTheProtocolDoes) {
  SessionOptions options;
  options.header_list_bytes_max = 2 * (32 + 5);
  const http::Fields roomy;
  HeadBuilder builder(options, roomy);
  builder.begin(Kind::trailers);
  EXPECT_EQ(builder.add("abc", "de", false), Added::kept);
  EXPECT_EQ(builder.add("abc", "de", false), Added::kept);
  EXPECT_EQ(builder.add("", "", false), Added::too_large);
  EXPECT_EQ(builder.add("", "12345", false), Added::too_large);
  EXPECT_EQ(builder.add("", "", false), Added::hopeless);
  builder.begin(Kind::trailers);
  EXPECT_TRUE(builder.trailers().empty());
  EXPECT_EQ(builder.add("abc", "de", false), Added::kept);
}

TEST(HeadBuilderTest, PseudoFieldsCountToo) {
  SessionOptions options;
  options.header_fields_max = 4;
  const http::Fields roomy;
  HeadBuilder builder(options, roomy);
  builder.begin(Kind::request);
  for (const std::string_view name : {":method", ":path", ":authority"}) {
    EXPECT_EQ(builder.add(name, "/x", false), Added::kept);
  }
  EXPECT_EQ(builder.add(":scheme", "https", false), Added::kept);
  EXPECT_TRUE(builder.finish_request());
  EXPECT_EQ(builder.add("a", "b", false), Added::too_large);
}

TEST(HeadBuilderTest, NothingOfOneRequestIsLeftInTheNext) {
  const SessionOptions options;
  http::Fields roomy;
  roomy.add("never", "seen");
  HeadBuilder builder(options, roomy);
  builder.begin(Kind::request);
  builder.add(":method", "POST", false);
  builder.add(":path", "/x", false);
  builder.add("host", "h", false);
  builder.add("authorization", "Bearer secret", true);
  builder.begin(Kind::request);
  EXPECT_TRUE(builder.request().method.empty());
  EXPECT_TRUE(builder.request().fields.empty());
  builder.add(":method", "GET", false);
  builder.add(":scheme", "HTTPS", false);
  builder.add(":path", "/", false);
  EXPECT_FALSE(builder.finish_request());  // the host of the first does not count
}

}  // namespace
}  // namespace sluice::http2
