// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that give up in the middle of uploads and downloads, and connections that break under
// them: whatever was held, lent or counted for them is given back.
//   SLUICE_ABORTS=n   so many instead of 2000
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "harness.h"
#include "sluice/base/random.h"

namespace sluice::test {
namespace {

class AbortsTest : public IntegrationTest {
 protected:
  static std::size_t aborts_wanted() {
    const char* wanted = std::getenv("SLUICE_ABORTS");
    if (wanted != nullptr) return std::strtoul(wanted, nullptr, 10);
    return sanitized() ? 400 : 2000;
  }

  static constexpr std::size_t streams = 50;  // of a connection

  // A connection on which all but a few requests are reset, each at a moment of its own; the
  // connection then breaks under the rest.
  std::size_t abort_a_connection() {
    const auto client = connect(number_ % 2 == 0 ? &credentials.alice : nullptr);
    ++number_;
    std::vector<Http2Client::Id> open;
    for (std::size_t i = 0; i < streams; ++i) open.push_back(client->ask(next()));
    std::size_t aborted = 0;
    while (open.size() > random_.below(10)) {
      if (random_.below(10) == 0) {
        client->loop().run_for(std::chrono::microseconds(random_.below(3000)));
      }
      const std::size_t i = random_.below(static_cast<std::uint32_t>(open.size()));
      if (!client->answer(open[i]).over) {
        client->reset(open[i]);
        ++aborted;
      }
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    }
    for (const Http2Client::Id id : open) aborted += client->answer(id).over ? 0U : 1U;
    client->terminate();
    return aborted;
  }

  double held(std::string_view name) const { return sluice->metric(name); }
  bool nothing_is_left() const {
    return held("sluice_exchanges") == 0 && held("sluice_body_bytes") == 0 &&
           held("sluice_stream_window_lent_bytes") == 0 &&
           held("sluice_connection_held_bytes") == 0 && held("sluice_client_connections") == 0 &&
           held("sluice_stalled_streams") == 0;
  }

 private:
  Ask next() {
    const FieldList fields = bearer("token-" + std::to_string(random_.below(8)));
    switch (random_.below(4)) {
      case 0:
        return {.method = "POST",
                .path = "/api/v1/namespaces/default/configmaps",
                .fields = fields,
                .body = std::string(1 + random_.below(400'000), 'x')};
      case 1:
        return {.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&resourceVersion=0",
                .fields = fields};
      default:
        return {.path = "/api/v1/namespaces/bench/configmaps",
                .fields = fields,
                .reads = random_.below(2) == 0};
    }
  }

  Random random_{20};
  std::size_t number_ = 0;
};

TEST_F(AbortsTest, NothingIsLeftOfUploadsAndDownloadsThatWereAborted) {
  start({"--workers=2"});
  std::size_t aborted = 0;
  const auto abort_until = [&](std::size_t wanted) {
    while (aborted < wanted && !HasFailure()) aborted += abort_a_connection();
  };
  const std::size_t wanted = aborts_wanted();
  abort_until(wanted / 2);
  ASSERT_TRUE(eventually([&] { return nothing_is_left(); }));
  const std::size_t half = sluice->child().resident_bytes();
  abort_until(wanted);
  EXPECT_TRUE(eventually([&] { return nothing_is_left(); }));
  EXPECT_LE(sluice->child().resident_bytes(), half + allowance(std::size_t{8} << 20));
  EXPECT_EQ(sluice->metric("sluice_wrong_transitions_total"), 0.0);
  EXPECT_EQ(connect(&credentials.alice)->fetch({.path = std::string(object_path)}).status, 200);
  RecordProperty("aborted", std::to_string(aborted));
}

}  // namespace
}  // namespace sluice::test
