// SPDX-License-Identifier: GPL-3.0-or-later
// The proxy behind a balancer of TCP connections: who calls is whom the balancer names, everywhere,
// and nobody else is believed.
#include <algorithm>
#include <sstream>
#include <thread>

#include "balancer.h"
#include "harness.h"
#include "proxy_header.h"

namespace sluice::test {
namespace {

class ProxyProtocolTest : public IntegrationTest {
 protected:
  // The balancer's own address is that of all clients of these tests.
  void begin(Flags flags = {}, const std::string& from = "127.0.0.1") {
    start_apisim();
    flags.push_back("--proxy-protocol-from=" + from);
    flags.push_back("--access-log=" + directory.file("access.log"));
    start_sluice({.flags = flags});
    balancer.emplace(sluice->address());
    tls = client_tls(&credentials.alice);
  }
  void TearDown() override {
    IntegrationTest::TearDown();
    balancer.reset();
  }

  std::unique_ptr<Http2Client> call(const std::string& header) {
    balancer->begin_with(header);
    return std::make_unique<Http2Client>(*loop, balancer->address(), tls);
  }
  // A connection of the balancer's own, that says this and no more.
  std::unique_ptr<RawClient> say(std::string_view text) {
    auto client = std::make_unique<RawClient>(sluice->address(), nullptr);
    EXPECT_TRUE(client->send_wire(text));
    return client;
  }

  double ended(std::string_view reason) const {
    return sluice->metric("sluice_client_connections_ended_total",
                          {"reason=\"" + std::string(reason) + "\""});
  }
  // A worker tells what its connections count twice a second.
  double failed_handshakes() {
    const double turns = sluice->metric("sluice_worker_turns_total");
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_worker_turns_total") > turns; }));
    return sluice->metric("sluice_tls_handshakes_failed_total");
  }
  // The clients that the access log names, without their ports, for requests of this path.
  std::vector<std::string> clients_in_access_log(std::string_view path) const {
    std::istringstream text(read_file(directory.file("access.log")));
    std::vector<std::string> clients;
    for (std::string line; std::getline(text, line);) {
      const auto json = Json::parse(line);
      if (json && json->text("path") == path) clients.emplace_back(json->text("client"));
    }
    return clients;
  }

  const TemporaryDirectory directory;
  std::optional<Balancer> balancer;
  std::shared_ptr<const tls::ClientContext> tls;
};

TEST_F(ProxyProtocolTest, WhomTheHeaderNamesIsTheClientInLogsAndForApiServers) {
  begin();
  const struct {
    std::string header, address, peer;
  } rows[] = {
      {std::string(ipv4_line), "192.0.2.7", "192.0.2.7:56324"},
      {"PROXY TCP6 2001:db8::9 2001:db8::1 1234 443\r\n", "2001:db8::9", "[2001:db8::9]:1234"},
      {ipv4_block().text_with_checksum(), "192.0.2.7", "192.0.2.7:56324"},
      {ipv6_block().text(), "2001:db8::7", "[2001:db8::7]:56324"},
      {std::string(unknown_line), "127.0.0.1", ""},
      {local_block().text(), "127.0.0.1", ""},
  };
  int number = 0;
  for (const auto& row : rows) {
    const std::string path = "/api/v1/namespaces/bench/configmaps/kb-" + std::to_string(++number);
    const auto client = call(row.header);
    ASSERT_TRUE(client->ready()) << client->end().context;
    // A claim of the client's own counts for nothing, as ever.
    const Answer& answer =
        client->fetch({.path = path, .fields = {{"x-forwarded-for", "6.6.6.6"}}});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    const auto seen = apisim->seen(path);
    ASSERT_EQ(seen.size(), 1U) << path;
    EXPECT_EQ(seen[0].user, "alice");
    EXPECT_EQ(seen[0].values("x-forwarded-for"), std::vector<std::string>{row.address});
    const HttpReply page = sluice->page("/debug");
    EXPECT_EQ(page.body.contains(" client=" + row.peer), !row.peer.empty()) << page.body;
    EXPECT_TRUE(eventually([&] { return clients_in_access_log(path).size() == 1; }, 10s));
    const std::string logged = clients_in_access_log(path).at(0);
    if (row.peer.empty()) {
      EXPECT_TRUE(logged.starts_with("127.0.0.1:")) << logged;
    } else {
      EXPECT_EQ(logged, row.peer);
    }
  }
  EXPECT_EQ(ended("proxy_header"), 0.0);
  EXPECT_EQ(failed_handshakes(), 0.0);
}

TEST_F(ProxyProtocolTest, ALargeUploadRightBehindTheHeaderArrivesWhole) {
  begin();
  const auto client = call(ipv6_block().text_with_checksum());
  std::string body =
      R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"large"},"data":{"a":")";
  body.append(1'000'000, 'x').append("\"}}");
  const Answer& answer = client->fetch({.method = "POST",
                                        .path = "/api/v1/namespaces/default/configmaps",
                                        .fields = {{"content-type", "application/json"}},
                                        .body = body});
  EXPECT_EQ(answer.status, 201) << answer.describe();
}

// A share is that of a user at an address; behind one balancer there are many.
TEST_F(ProxyProtocolTest, ClientsOfOneBalancerHaveSharesOfTheirOwn) {
  begin({"--body-bytes-per-worker=8MiB"});
  const std::string one(ipv4_line);
  const std::string other = "PROXY TCP4 192.0.2.8 198.51.100.1 1234 443\r\n";
  const auto stalled = call(one);
  std::vector<Http2Client::Id> lists;
  for (int i = 0; i < 60; ++i) {
    lists.push_back(
        stalled->ask({.path = "/api/v1/namespaces/bench-1m/configmaps", .reads = false}));
  }
  EXPECT_TRUE(loop->run_until([&] {
    return std::ranges::all_of(lists, [&](auto id) { return stalled->answer(id).bytes > 0; });
  }));
  const auto again = call(one);
  EXPECT_TRUE(eventually(
      [&] { return again->fetch({.path = std::string(object_path)}).status == 429; }, 10s));
  const auto neighbour = call(other);
  for (int i = 0; i < 50; ++i) {
    const Answer& answer = neighbour->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
  }
}

TEST_F(ProxyProtocolTest, FromAnybodyElseAHeaderIsNotBelievedAndTheRestAreServed) {
  begin({}, "127.0.0.2,192.0.2.0/24,fd00::/8");
  for (const std::string& header : {std::string(ipv4_line), ipv4_block().text(),
                                    std::string(unknown_line), local_block().text()}) {
    EXPECT_FALSE(call(header)->ready());
  }
  EXPECT_TRUE(eventually([&] { return ended("tls") == 4.0; }, 10s)) << sluice->nonzero_metrics();
  EXPECT_EQ(failed_handshakes(), 4.0);
  EXPECT_EQ(ended("proxy_header") + ended("health_check"), 0.0);
  const auto direct = call("");
  EXPECT_EQ(direct->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_EQ(apisim->seen(object_path).at(0).values("x-forwarded-for"),
            std::vector<std::string>{"127.0.0.1"});
}

TEST_F(ProxyProtocolTest, WhoeverShouldSayWhoCallsAndDoesNotIsClosedCountedAndLogged) {
  begin();
  const auto bystander = call(std::string(ipv4_line));
  const std::vector<std::string> wrong = {
      "GET /healthz HTTP/1.1\r\n\r\n",
      "PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
      "PROXY TCP4 " + std::string(200, '1'),
      ProxyBlock{.length = 2049}.text(),
      ipv4_block().text_with_checksum().substr(0, 34) + "x",
      "\x16\x03\x01",
  };
  for (const std::string& text : wrong) {
    const auto client = say(text);
    EXPECT_TRUE(client->wait_end()) << testing::PrintToString(text);
    EXPECT_EQ(client->received(), "");
  }
  EXPECT_FALSE(call("")->ready());  // TLS at once
  const double refused = static_cast<double>(wrong.size()) + 1;
  EXPECT_TRUE(eventually([&] { return ended("proxy_header") == refused; }, 10s));
  const auto lines = [&] {
    std::istringstream log(sluice->child().log());
    double count = 0;
    for (std::string line; std::getline(log, line);) {
      count += line.contains("level=info") && line.contains("it did not say who calls") ? 1 : 0;
    }
    return count;
  };
  EXPECT_TRUE(eventually([&] { return lines() >= refused; }, 10s));
  EXPECT_EQ(lines(), refused);
  const std::string log = sluice->child().log();
  EXPECT_TRUE(log.contains("balancer=127.0.0.1:")) << log;
  EXPECT_TRUE(log.contains("a wrong checksum")) << log;
  EXPECT_EQ(failed_handshakes(), 0.0);
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(ProxyProtocolTest, AHeaderMustBeWholeWithinTwoSeconds) {
  begin();
  const Clock::time_point begun = Clock::now();
  const auto silent = say("");
  const auto half = say(ipv4_line.substr(0, 30));
  const auto slow = std::make_unique<RawClient>(sluice->address(), nullptr);
  for (const char c : std::string(ipv4_line)) {
    if (!slow->send_wire(std::string(1, c)) || slow->wait_end(100ms)) break;
  }
  for (const auto* client : {&silent, &half, &slow}) EXPECT_TRUE((*client)->wait_end(5s));
  const Duration taken = Clock::now() - begun;
  EXPECT_GE(taken, 1900ms);
  EXPECT_LE(taken, 4s);
  EXPECT_TRUE(eventually([&] { return ended("proxy_header") == 3.0; }, 10s));
  // In pieces, but in time.
  const auto pieces = say(ipv4_line.substr(0, 11));
  std::this_thread::sleep_for(300ms);
  EXPECT_TRUE(pieces->send_wire(ipv4_line.substr(11)));
  EXPECT_FALSE(pieces->wait_end(3s));
}

TEST_F(ProxyProtocolTest, ABalancersHealthChecksFailNothing) {
  begin();
  for (int i = 0; i < 5; ++i) {
    for (const std::string& header :
         {std::string(unknown_line), local_block().text(), local_block().text_with_checksum()}) {
      say(header);
    }
  }
  EXPECT_TRUE(eventually([&] { return ended("health_check") == 15.0; }, 10s))
      << sluice->nonzero_metrics();
  EXPECT_EQ(sluice->metric("sluice_client_connections_ended_total"), 15.0);
  EXPECT_EQ(failed_handshakes(), 0.0);
  EXPECT_EQ(sluice->metric("sluice_client_connections"), 0.0);
  EXPECT_FALSE(sluice->child().log().contains("who calls")) << sluice->child().log();
  // One that goes all the way is served: checks of some balancers are requests.
  EXPECT_EQ(call(local_block().text())->fetch({.path = "/readyz"}).status, 200);
}

}  // namespace
}  // namespace sluice::test
