// SPDX-License-Identifier: GPL-3.0-or-later
// Responses of our own.
#include "sluice/http1/writer.h"

#include <gtest/gtest.h>

namespace sluice::http1 {
namespace {

TEST(WriterTest, WritesAResponseThatEndsTheConnection) {
  std::string out = "before";
  append_response(out, {.status = 404, .body = "no\n"});
  EXPECT_EQ(out,
            "beforeHTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\n"
            "content-length: 3\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
            "connection: close\r\n\r\nno\n");
}

TEST(WriterTest, KeepsTheConnectionWhenAsked) {
  std::string out;
  append_response(out, {.content_type = "application/json", .body = "{}", .keep_alive = true});
  EXPECT_EQ(out.find("connection: close"), std::string::npos);
  EXPECT_NE(out.find("content-type: application/json\r\n"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n{}"));
}

TEST(WriterTest, AnAnswerToHeadTellsTheLengthOnly) {
  std::string out;
  append_response(out, {.body = "12345", .head_only = true});
  EXPECT_NE(out.find("content-length: 5\r\n"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST(WriterTest, StatusesWithoutABodyHaveNoLength) {
  std::string out;
  append_response(out, {.status = 204, .body = "ignored"});
  EXPECT_EQ(out.find("content-length"), std::string::npos);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST(WriterTest, AddsFurtherFields) {
  std::string out;
  append_response(out, {.status = 405, .extra_fields = "allow: GET, HEAD\r\n"});
  EXPECT_NE(out.find("\r\nallow: GET, HEAD\r\n"), std::string::npos);
}

}  // namespace
}  // namespace sluice::http1
