// SPDX-License-Identifier: GPL-3.0-or-later
// Frame boundaries, however the bytes are cut.
#include "http2/frame_scanner.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/frames.h"

namespace sluice::http2 {
namespace {

using sluice::test::FrameWriter;

std::vector<std::string> seen(FrameScanner& scanner, Bytes bytes) {
  std::vector<std::string> out;
  scanner.scan(bytes, [&](const FrameHeader& h) {
    out.push_back(std::to_string(static_cast<int>(h.type)) + ":" + std::to_string(h.length) + ":" +
                  std::to_string(h.stream_id));
    return true;
  });
  return out;
}

TEST(FrameScannerTest, ShowsEachFrameOnceHoweverTheBytesAreCut) {
  FrameWriter w;
  w.preface().headers(1, "abc").data(0x7fffffff, std::string(70'000, 'x')).ping().data(3, "");
  const std::vector<std::string> expected = {"4:0:0", "1:3:1", "0:70000:2147483647", "6:8:0",
                                             "0:0:3"};
  for (const std::size_t step : {1u, 5u, 9u, 23u, 24u, 25u, 100'000u}) {
    FrameScanner scanner(true);
    std::vector<std::string> all;
    for (std::size_t at = 0; at < w.bytes().size(); at += step) {
      const Bytes piece = w.bytes().subspan(at, std::min(step, w.bytes().size() - at));
      for (std::string& s : seen(scanner, piece)) all.push_back(std::move(s));
    }
    EXPECT_EQ(all, expected) << step;
    EXPECT_TRUE(scanner.at_boundary());
  }
}

TEST(FrameScannerTest, StopsBeforeTheRefusedFrame) {
  FrameWriter w;
  w.ping().settings();
  FrameScanner scanner(false);
  const std::size_t good =
      scanner.scan(w.bytes(), [](const FrameHeader& h) { return h.type == FrameType::ping; });
  EXPECT_EQ(good, 17u);
}

TEST(FrameScannerTest, ARefusedFrameThatBeganEarlierLeavesNothing) {
  FrameWriter w;
  w.ping();
  FrameScanner scanner(false);
  EXPECT_EQ(scanner.scan(w.bytes().first(4), [](const FrameHeader&) { return false; }), 4u);
  EXPECT_EQ(scanner.scan(w.bytes().subspan(4), [](const FrameHeader&) { return false; }), 0u);
}

TEST(FrameScannerTest, AnOpenHeaderBlockIsNoBoundary) {
  FrameScanner scanner(false);
  EXPECT_FALSE(scanner.at_boundary());  // nothing has been seen
  seen(scanner, FrameWriter().headers(1, "a", true, false).bytes());
  EXPECT_FALSE(scanner.at_boundary());
  seen(scanner, FrameWriter().continuation(1, "b", false).bytes());
  EXPECT_FALSE(scanner.at_boundary());
  seen(scanner, FrameWriter().continuation(1, "c", true).bytes());
  EXPECT_TRUE(scanner.at_boundary());
  seen(scanner, FrameWriter().header(4, sluice::test::frame::data, 0, 1).raw("abc").bytes());
  EXPECT_FALSE(scanner.at_boundary());
}

}  // namespace
}  // namespace sluice::http2
