// SPDX-License-Identifier: GPL-3.0-or-later
// Heads from fields, and their limits.
#include "http2/head_builder.h"

#include <gtest/gtest.h>

namespace sluice::http2 {
namespace {

using Kind = HeadBuilder::Kind;
using Added = HeadBuilder::Added;

// Whether somebody took it or not: one large request must not cost its connection 240 KB for ever.
TEST(HeadBuilderTest, GivesBackTheMemoryOfALargeHead) {
  SessionOptions options;
  const http::Fields roomy;
  for (const bool taken : {false, true}) {
    for (const Kind kind : {Kind::request, Kind::response, Kind::trailers}) {
      HeadBuilder builder(options, roomy);
      http::RequestHead request;
      request.path.assign(200'000, 'o');  // an older one, in memory that is used again
      for (int round = 0; round < 2; ++round) {
        builder.begin(kind);
        if (kind == Kind::request) {
          builder.add(":path", std::string(100'000, '/'), false);
          builder.add("host", std::string(20'000, 'h'), false);
        }
        builder.add("large", std::string(100'000, 'x'), false);
        if (taken) {
          request = std::move(builder.request());
          const http::ResponseHead response = std::move(builder.response());
          const http::Fields trailers = std::move(builder.trailers());
        }
        builder.release();
        EXPECT_LE(builder.held_bytes(), 4 * http::usual_head_bytes);
      }
    }
  }
}

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
  EXPECT_EQ(builder.add("", std::string(head_answered_bytes_max - 300, 'x'), false),
            Added::too_large);
  EXPECT_EQ(builder.add("", std::string(200, 'x'), false), Added::hopeless);
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
  EXPECT_EQ(builder.finish_request(), "");
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
  EXPECT_EQ(builder.finish_request(), "neither :authority nor host is there");  // now
}

}  // namespace
}  // namespace sluice::http2
