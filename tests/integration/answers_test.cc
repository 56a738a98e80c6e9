// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend answers: what has to pass passes unchanged.
#include <zlib.h>

#include <array>

#include "harness.h"

namespace sluice::test {
namespace {

using AnswersTest = IntegrationTest;

std::string gunzip(std::string_view compressed) {
  std::string out;
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  int result = Z_OK;
  std::array<char, 65536> buffer{};
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  }
  EXPECT_EQ(result, Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0U);
  inflateEnd(&stream);
  return out;
}

TEST_F(AnswersTest, CompressedOnesPassAsTheyAreToThoseWhoAskForThem) {
  start({}, {"--pods=2000", "--pod-bytes=500"});
  const ClientOptions roomy{.body_bytes_kept = 64 << 20};
  const auto client = connect(&credentials.alice, roomy);
  // Of fixed text, and made while they are sent.
  for (const std::string path : {"/api/v1/namespaces/bench-1m/configmaps", "/api/v1/pods"}) {
    const Answer& plain = client->fetch({.path = path});
    EXPECT_EQ(plain.status, 200);
    EXPECT_EQ(plain.field("content-encoding"), "");
    const Answer& compressed =
        client->fetch({.path = path, .fields = {{"accept-encoding", "deflate, gzip"}}});
    EXPECT_EQ(compressed.status, 200);
    EXPECT_TRUE(compressed.whole());
    EXPECT_EQ(compressed.field("content-encoding"), "gzip");
    EXPECT_EQ(compressed.field("vary"), "Accept-Encoding");
    EXPECT_LT(compressed.bytes, plain.bytes / 2);
    EXPECT_TRUE(gunzip(compressed.body) == plain.body) << path;
  }
  // Not what is small, and no watch.
  EXPECT_EQ(
      client->fetch({.path = std::string(object_path), .fields = {{"accept-encoding", "gzip"}}})
          .field("content-encoding"),
      "");
  const auto watch = open_watches(*client, 1, {{"accept-encoding", "gzip"}})[0];
  EXPECT_EQ(client->answer(watch).field("content-encoding"), "");
}

}  // namespace
}  // namespace sluice::test
