// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that say a lot before they have heard anything of us: TLS 1.3 and HTTP/2 let them, and
// Go's client does. What an API server takes directly must arrive.
#include <algorithm>

#include "eager_client.h"
#include "harness.h"

namespace sluice::test {
namespace {

class NewConnectionTest : public IntegrationTest {
 protected:
  void SetUp() override {
    start();
    tls = client_tls(&credentials.alice, &credentials.gateway_ca);
  }

  std::unique_ptr<EagerClient> begin(const FrameWriter& first, std::string rest = {}) {
    return std::make_unique<EagerClient>(*loop, sluice->address(), tls, first.text(),
                                         std::move(rest));
  }

  std::shared_ptr<const tls::ClientContext> tls;
};

// RFC 9113 section 6.9.2: 65,535 bytes of DATA before our SETTINGS are known.
TEST_F(NewConnectionTest, UploadsThatFillTheFirstWindowAtOnceArrive) {
  constexpr std::size_t uploads = 40;
  constexpr std::size_t body_bytes = 102'400;
  std::string body =
      R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"generateName":"new-"},"data":{"a":")";
  body.append(body_bytes - body.size() - 3, 'x').append("\"}}");
  std::vector<std::unique_ptr<EagerClient>> clients;
  for (std::size_t i = 0; i < uploads; ++i) {
    FrameWriter first;
    begin_frames(first).headers(1,
                                hpack_post("/api/v1/namespaces/default/configmaps") +
                                    hpack_literal("content-type", "application/json") +
                                    hpack_literal("content-length", std::to_string(body_bytes)),
                                false);
    constexpr std::size_t window = 65'535;
    for (std::size_t at = 0; at < window; at += 16'384) {
      first.data(1, std::string_view(body).substr(at, std::min<std::size_t>(16'384, window - at)));
    }
    clients.push_back(begin(first, body.substr(window)));
  }
  EXPECT_TRUE(loop->run_until(
      [&] { return std::ranges::all_of(clients, [](const auto& c) { return c->over(1); }); }));
  for (const auto& client : clients) {
    EXPECT_FALSE(client->ended);
    EXPECT_EQ(client->answered(), 1U);
  }
  EXPECT_EQ(apisim->total({"requests", "configmaps", "create"}), uploads);
}

TEST_F(NewConnectionTest, ManyLargeHeadsAtOnceAreAnswered) {
  constexpr std::size_t requests = 12;
  FrameWriter first;
  begin_frames(first);
  for (std::uint32_t i = 0; i < requests; ++i) {
    first.headers(1 + 2 * i,
                  hpack_get(object_path) + hpack_literal("x-large", std::string(8192, 'v')));
  }
  std::vector<std::unique_ptr<EagerClient>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(begin(first));
  EXPECT_TRUE(loop->run_until([&] {
    return std::ranges::all_of(clients, [](const auto& c) { return c->over(requests); });
  }));
  for (const auto& client : clients) {
    EXPECT_FALSE(client->ended);
    EXPECT_EQ(client->answered(), requests);
  }
  EXPECT_EQ(apisim->total({"requests", "configmaps", "get"}), requests * clients.size());
}

}  // namespace
}  // namespace sluice::test
