// SPDX-License-Identifier: GPL-3.0-or-later
// What the strict parser takes and what it refuses.
#include "sluice/http1/parser.h"

#include <gtest/gtest.h>

#include <string>

#include "sluice/base/random.h"

namespace sluice::http1 {
namespace {

std::string valid() {
  return "GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9090\r\nAccept: text/plain \r\nX-A: "
         "b\r\n\r\n";
}

TEST(RequestParserTest, ReadsARequest) {
  RequestParser parser;
  const std::string text = valid();
  const Result<std::size_t> used = parser.feed(as_bytes(text));
  ASSERT_TRUE(used);
  EXPECT_EQ(*used, text.size());
  ASSERT_TRUE(parser.complete());
  EXPECT_EQ(parser.head().method, "GET");
  EXPECT_EQ(parser.head().path, "/metrics?x=1");
  EXPECT_EQ(parser.head().authority, "localhost:9090");
  EXPECT_EQ(parser.head().fields.find("accept"), "text/plain");
  EXPECT_EQ(parser.head().fields.find("x-a"), "b");
  EXPECT_FALSE(parser.head().fields.contains("host"));
  EXPECT_TRUE(parser.keep_alive());
}

TEST(RequestParserTest, ReadsItHoweverItIsCut) {
  const std::string text = valid();
  for (std::size_t step = 1; step < text.size(); ++step) {
    RequestParser parser;
    for (std::size_t at = 0; at < text.size(); at += step) {
      EXPECT_EQ(parser.started(), at > 0);
      const std::size_t n = std::min(step, text.size() - at);
      const Result<std::size_t> used = parser.feed(as_bytes(text).subspan(at, n));
      ASSERT_TRUE(used) << step;
      EXPECT_EQ(*used, n);
    }
    ASSERT_TRUE(parser.complete()) << step;
    EXPECT_FALSE(parser.started());
    EXPECT_EQ(parser.head().path, "/metrics?x=1");
    EXPECT_EQ(parser.head().fields.size(), 2u);
  }
}

TEST(RequestParserTest, LeavesTheNextRequestAlone) {
  RequestParser parser;
  const std::string text = valid() + "GET /second HTTP/1.1\r\nHost: b\r\n\r\n";
  const Result<std::size_t> used = parser.feed(as_bytes(text));
  ASSERT_TRUE(used);
  EXPECT_EQ(*used, valid().size());
  EXPECT_EQ(*parser.feed(as_bytes(text)), 0u);
  parser.reset();
  EXPECT_EQ(*parser.feed(as_bytes(text).subspan(*used)), text.size() - *used);
  ASSERT_TRUE(parser.complete());
  EXPECT_EQ(parser.head().path, "/second");
  EXPECT_TRUE(parser.head().fields.empty());
}

TEST(RequestParserTest, KnowsWhetherTheConnectionStays) {
  const auto keep_alive = [](std::string_view text) {
    RequestParser parser;
    EXPECT_TRUE(parser.feed(as_bytes(text)));
    EXPECT_TRUE(parser.complete());
    return parser.keep_alive();
  };
  EXPECT_TRUE(keep_alive("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
  EXPECT_FALSE(keep_alive("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(keep_alive("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_TRUE(keep_alive("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"));
}

TEST(RequestParserTest, AnUpgradeIsAnsweredAsAPlainRequest) {
  RequestParser parser;
  const std::string text =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nleft";
  const Result<std::size_t> used = parser.feed(as_bytes(text));
  ASSERT_TRUE(used);
  EXPECT_TRUE(parser.complete());
  EXPECT_EQ(*used, text.size() - 4);
}

struct Refused {
  const char* name;
  std::string text;
};
void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

std::string with(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n\r\n";
}

class RefusedTest : public testing::TestWithParam<Refused> {};

TEST_P(RefusedTest, IsNotARequest) {
  // Whole, and byte by byte.
  for (const std::size_t step : {GetParam().text.size(), std::size_t{1}}) {
    RequestParser parser;
    bool failed = false;
    for (std::size_t at = 0; at < GetParam().text.size() && !failed; at += step) {
      const std::size_t n = std::min(step, GetParam().text.size() - at);
      const Result<std::size_t> used = parser.feed(as_bytes(GetParam().text).subspan(at, n));
      failed = !used;
      if (failed) {
        EXPECT_EQ(used.error().kind, ErrorKind::invalid_argument);
        EXPECT_EQ(used.error().side, Side::client);
        EXPECT_FALSE(used.error().context.empty());
      }
    }
    EXPECT_TRUE(failed);
    EXPECT_FALSE(parser.complete());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Http1, RefusedTest,
    testing::Values(
        Refused{"garbage", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
        Refused{"http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        Refused{"version_2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
        Refused{"version_1_2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
        Refused{"version_0_9", "GET /\r\n\r\n"}, Refused{"no_host", "GET / HTTP/1.1\r\n\r\n"},
        Refused{"two_hosts", with("Host: b")},
        Refused{"empty_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
        Refused{"userinfo_in_host", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
        Refused{"body", with("Content-Length: 5") + "hello"},
        Refused{"two_lengths", with("Content-Length: 0\r\nContent-Length: 0")},
        Refused{"list_of_lengths", with("Content-Length: 0, 0")},
        Refused{"signed_length", with("Content-Length: +0")},
        Refused{"negative_length", with("Content-Length: -0")},
        Refused{"hex_length", with("Content-Length: 0x0")},
        Refused{"long_zero", with("Content-Length: 00")},
        Refused{"empty_length", with("Content-Length:")},
        Refused{"chunked", with("Transfer-Encoding: chunked") + "0\r\n\r\n"},
        Refused{"length_and_chunked", with("Content-Length: 0\r\nTransfer-Encoding: chunked")},
        Refused{"chunked_and_length", with("Transfer-Encoding: chunked\r\nContent-Length: 0")},
        Refused{"identity", with("Transfer-Encoding: identity")},
        Refused{"chunked_in_1_0", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
        Refused{"space_before_colon", with("X-A : b")}, Refused{"fold", with("X-A: b\r\n c")},
        Refused{"bare_lf", "GET / HTTP/1.1\nHost: a\n\n"},
        Refused{"bare_lf_in_fields", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"},
        Refused{"bare_cr", with("X-A: b\rX-B: c")},
        Refused{"nul", with(std::string_view("X-A: b\0c", 8))},
        Refused{"control", with("X-A: b\x01")}, Refused{"delete", with("X-A: b\x7f")},
        Refused{"empty_name", with(": b")}, Refused{"bad_name", with("X(A): b")},
        Refused{"no_colon", with("XA")},
        Refused{"connect", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"absolute_form", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"high_byte_in_target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"unknown_method", "FOO / HTTP/1.1\r\nHost: a\r\n\r\n"},
        Refused{"lower_case_method", "get / HTTP/1.1\r\nHost: a\r\n\r\n"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(RequestParserTest, AHeadAboveTheLimitIsRefused) {
  for (const std::size_t step : {std::size_t{100'000}, std::size_t{1}, std::size_t{1000}}) {
    RequestParser parser;
    const std::string text = with("X-A: " + std::string(9000, 'x'));
    std::size_t at = 0;
    Result<std::size_t> used = 0;
    while (at < text.size() && used) {
      used = parser.feed(as_bytes(text).subspan(at, std::min(step, text.size() - at)));
      if (used) at += *used;
    }
    ASSERT_FALSE(used);
    EXPECT_EQ(used.error().kind, ErrorKind::limit);
    EXPECT_LE(at, 8192u);
  }
}

TEST(RequestParserTest, AHeadOfExactlyTheLimitIsRead) {
  const std::size_t overhead = with("X-A: ").size();
  const std::string text = with("X-A: " + std::string(8192 - overhead, 'x'));
  ASSERT_EQ(text.size(), 8192u);
  RequestParser parser;
  ASSERT_TRUE(parser.feed(as_bytes(text)));
  EXPECT_TRUE(parser.complete());
}

TEST(RequestParserTest, TooManyFieldsAreRefused) {
  std::string fields = "X: y";
  for (int i = 0; i < 63; ++i) fields += "\r\nX: y";
  RequestParser parser;
  const Result<std::size_t> used = parser.feed(as_bytes(with(fields)));
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().kind, ErrorKind::limit);
}

TEST(RequestParserTest, RandomBytesNeverEndTheProcess) {
  Random random(7);
  const std::string base = valid();
  int completed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text = base;
    for (std::uint32_t n = random.below(4); n > 0; --n) {
      text[random.below(static_cast<std::uint32_t>(text.size()))] =
          static_cast<char>(random.below(256));
    }
    RequestParser parser;
    const Result<std::size_t> used = parser.feed(as_bytes(text));
    if (used && parser.complete()) {
      ++completed;
      EXPECT_TRUE(parser.head().path.starts_with('/'));
      EXPECT_FALSE(parser.head().fields.contains("transfer-encoding"));
    }
  }
  EXPECT_GT(completed, 5000);
}

}  // namespace
}  // namespace sluice::http1
