// SPDX-License-Identifier: GPL-3.0-or-later
// Upgrades (exec, attach, port-forward) between real sockets: who travels how, what goes through a
// tunnel and what never does, and how tunnels end.
#include <fmt/format.h>

#include <algorithm>

#include "harness.h"
#include "http1_client.h"

namespace sluice::test {
namespace {

constexpr std::string_view exec_path = "/api/v1/namespaces/default/pods/p/exec";

class TunnelTest : public IntegrationTest {
 protected:
  std::unique_ptr<Http1> connect_http1(const Certificate* certificate = nullptr) {
    auto client = std::make_unique<Http1>(sluice->address(), certificate);
    EXPECT_TRUE(client->raw().established());
    return client;
  }
  static std::string ask(std::string_view sim, std::string_view fields = "",
                         std::string_view protocol = "SPDY/3.1") {
    return fmt::format(
        "POST {}?command=sh&sim={} HTTP/1.1\r\nHost: kubernetes\r\nConnection: Upgrade\r\n"
        "Upgrade: {}\r\n{}\r\n",
        exec_path, sim, protocol, fields);
  }
  // A tunnel that is open.
  std::unique_ptr<Http1> open(std::string_view sim, const Certificate* certificate = nullptr,
                              std::string_view fields = "") {
    auto client =
        connect_http1(certificate == nullptr && fields.empty() ? &credentials.alice : certificate);
    client->raw().go_on_behind_close_notify();
    EXPECT_TRUE(client->send(ask(sim, fields)));
    const Reply reply = client->read_head_only();
    EXPECT_EQ(reply.status, 101);
    return client;
  }
  static bool receives(Http1& client, std::string_view text) {
    return client.raw().read_until([&] { return client.rest() == text; }, patience);
  }
  std::uint64_t tunnels(const std::string& what) { return apisim->total({"tunnels", what}); }
  bool comes_to(const std::string& what, std::uint64_t count) {
    return eventually([&] { return tunnels(what) == count; });
  }
};

// --- what goes through -----------------------------------------------------------------------

TEST_F(TunnelTest, BytesGoBothWaysAndEachEndIsPassedOn) {
  start();
  for (const std::string protocol : {"SPDY/3.1", "websocket", "foo"}) {
    const auto client = connect_http1(&credentials.alice);
    EXPECT_TRUE(client->send(ask("echo", "", protocol)));
    const Reply reply = client->read_head_only();
    EXPECT_EQ(reply.status, 101);
    EXPECT_EQ(reply.field("upgrade"), protocol);
    EXPECT_EQ(reply.field("connection"), "Upgrade");
    EXPECT_EQ(reply.field("x-stream-protocol-version"), "v4.channel.k8s.io");
    client->send("hello");
    EXPECT_TRUE(receives(*client, "hello")) << client->rest();
    client->send(" world\0\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(receives(*client, "hello world\0\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    client->raw().end_output();
    EXPECT_TRUE(client->ends());
    EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
  }
  EXPECT_TRUE(comes_to("ended", 3));
  EXPECT_EQ(tunnels("open"), 0U);
  EXPECT_EQ(tunnels("early"), 0U);
}

}  // namespace
}  // namespace sluice::test
