// SPDX-License-Identifier: GPL-3.0-or-later
// Backends that are found by names and by a file, while names move, servers of names fail and files
// are written badly: requests go on through all of it.
#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cluster_folder.h"
#include "dns_server.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;
using Code = DnsServer::Code;

class DiscoveryTest : public ClusterFolderTest {
 protected:
  // One after the other at 127.0.0.1, .2 and so on, all at one port, as a control plane's are.
  void start_servers(std::size_t count) {
    const std::uint16_t port = free_address().port();
    for (std::size_t i = 0; i < count; ++i) {
      servers_.push_back(std::make_unique<Apisim>(
          Flags{"--listen", host(i) + ":" + std::to_string(port), "--servers", "1"}));
    }
  }
  static std::string host(std::size_t server) { return "127.0.0." + std::to_string(server + 1); }
  std::string port() const { return ":" + std::to_string(servers_[0]->servers()[0].port()); }
  std::string named(const std::string& name) const { return "backend=" + name + port() + "\n"; }
  // A process with one cluster, of a file, that follows its files. `names`: certificates must carry
  // what backends are called.
  void start_with(const std::string& text, bool ready = true, bool names = false) {
    std::string lines = without_backends();
    if (names) {
      const std::size_t at = lines.find("backend-server-name");
      lines.erase(at, lines.find("client-ca-file") - at);
    }
    put("sluice", lines + text);
    sluice.emplace(std::vector<io::Address>{},
                   Sluice::Plan{.flags = {"--config=" + folder.file("sluice.conf"), dns_flag()},
                                .cluster_flags = false,
                                .wait_ready = ready});
    if (!ready) {
      ASSERT_TRUE(sluice->wait_serving());
    }
  }
  std::string dns_flag() const { return "--dns-server=" + dns_.address().to_string(); }

  int get(Http2Client& client) {
    return client.fetch({.path = std::string(object_path), .fields = bearer()}).status;
  }
  // While nothing fails.
  bool meanwhile(const std::function<bool()>& done, Duration timeout = 30s) {
    const auto client = connect();
    return eventually(
        [&] {
          EXPECT_EQ(get(*client), 200);
          return done();
        },
        timeout);
  }
  std::uint64_t served(std::size_t server) const {
    return servers_[server]->count(0, {"requests", "configmaps", "get"});
  }
  bool serves(std::size_t server) const {
    return page().contains(host(server) + port() + R"(","health":"ready")");
  }
  bool knows(std::size_t server) const { return page().contains("\"" + host(server) + port()); }
  std::string page() const { return sluice->page("/clusters").body; }
  double failures(const std::string& name) const {
    return sluice->metric("sluice_discovery_failures_total", {"name=\"" + name + "\""});
  }

  DnsServer dns_;
  std::vector<std::unique_ptr<Apisim>> servers_;
};

TEST_F(DiscoveryTest, ANameStandsForAllOfItsAddressesAndFollowsThem) {
  start_servers(3);
  dns_.set("api.test", {.ipv4 = {host(0), host(1)}});
  start_with(named("api.test"));
  EXPECT_TRUE(meanwhile([&] { return served(0) > 0 && served(1) > 0; }));
  EXPECT_EQ(served(2), 0U);
  const auto there = connect();
  const Http2Client::Id watch = there->ask({.path = "/api/v1/pods?watch=1", .fields = bearer()});
  ASSERT_EQ(there->wait_head(watch).status, 200);
  dns_.set("api.test", {.ipv4 = {host(1), host(2)}});
  EXPECT_TRUE(meanwhile([&] { return served(2) > 0; })) << page();
  const std::uint64_t before = served(0);
  const auto client = connect();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(*client), 200);
  EXPECT_EQ(served(0), before);
  EXPECT_TRUE(meanwhile([&] { return !knows(0); })) << page();
  // What ran there has ended as it should, or runs on.
  const Answer& answer = there->answer(watch);
  EXPECT_TRUE(!answer.over || answer.whole()) << answer.describe();
}

TEST_F(DiscoveryTest, NoFailureOfDnsTakesABackendAway) {
  start_servers(3);
  std::string names;
  const std::vector<std::pair<std::string, DnsServer::Reply>> failures_of = {
      {"gone.test", {.code = Code::no_such_name}}, {"broken.test", {.code = Code::server_failure}},
      {"closed.test", {.code = Code::refused}},    {"empty.test", {}},
      {"silent.test", {.silent = true}},           {"slow.test", {.ipv4 = {host(2)}, .delay = 10s}},
  };
  for (std::size_t i = 0; i < failures_of.size(); ++i) {
    dns_.set(failures_of[i].first, {.ipv4 = {host(i / 2)}});
    names += named(failures_of[i].first);
  }
  start_with(names);
  EXPECT_TRUE(meanwhile([&] { return serves(0) && serves(1) && serves(2); })) << page();
  for (const auto& [name, reply] : failures_of) dns_.set(name, reply);
  EXPECT_TRUE(meanwhile([&] {
    bool all = true;
    for (const auto& [name, reply] : failures_of) all = all && failures(name) > 0;
    return all;
  })) << page();
  EXPECT_TRUE(serves(0) && serves(1) && serves(2)) << page();
  EXPECT_TRUE(page().contains(R"("lastError":"there is no such name")")) << page();
  // Nor does a change of something else meanwhile.
  const double reloads = sluice->metric("sluice_config_reloads_total");
  put("sluice", without_backends() + names + "probe-interval=500ms\n");
  EXPECT_TRUE(meanwhile([&] { return sluice->metric("sluice_config_reloads_total") > reloads; }));
  EXPECT_TRUE(serves(0) && serves(1) && serves(2)) << page();
}

TEST_F(DiscoveryTest, ANameThatIsNotResolvedYetIsSaidAnd503AndServedAsSoonAsItIs) {
  start_servers(1);
  start_with(named("api.test"), false);
  const auto client = connect();
  const auto refused = client->fetch({.path = std::string(object_path), .fields = bearer()});
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.field("retry-after"), "");
  EXPECT_EQ(sluice->page("/readyz").status, 503);
  EXPECT_TRUE(
      eventually([&] { return sluice->child().log().contains("there is no such name"); }, 10s))
      << sluice->child().log();
  EXPECT_EQ(sluice->metric("sluice_discovery_last_success_seconds"), 0);
  dns_.set("api.test", {.ipv4 = {host(0)}, .ttl = 60});
  EXPECT_TRUE(eventually([&] { return get(*client) == 200; }, 20s)) << page();
  EXPECT_GT(sluice->metric("sluice_discovery_last_success_seconds"), 0);
  EXPECT_EQ(sluice->metric("sluice_discovery_endpoints"), 1);
}

TEST_F(DiscoveryTest, OfFiftyAddressesThoseThatAreThereServe) {
  start_servers(3);
  std::vector<std::string> many;
  for (std::size_t i = 0; i < 50; ++i) many.push_back(host(i));
  dns_.set("api.test", {.ipv4 = many});
  start_with(named("api.test"));
  EXPECT_TRUE(meanwhile([&] { return served(0) > 0 && served(1) > 0 && served(2) > 0; }));
  EXPECT_EQ(sluice->metric("sluice_discovery_endpoints"), 50);
  EXPECT_EQ(sluice->metric("sluice_discovery_left_out"), 0);
}

TEST_F(DiscoveryTest, ACertificateMustCarryTheNameUnlessAnotherIsSaid) {
  start_servers(1);
  dns_.set("kubernetes", {.ipv4 = {host(0)}});
  dns_.set("other.test", {.ipv4 = {host(0)}});
  start_with(named("kubernetes"), true, true);
  EXPECT_TRUE(meanwhile([&] { return serves(0); }));
  sluice.reset();
  start_with(named("other.test"), false, true);
  EXPECT_TRUE(eventually([&] { return page().contains("not_ready"); })) << page();
  sluice.reset();
  start_with(named("other.test"));
  EXPECT_TRUE(meanwhile([&] { return serves(0); }));
}

TEST_F(DiscoveryTest, ANameThatStandsForTheProxyItselfIsNoBackend) {
  start_servers(1);
  const io::Address own = free_address();
  dns_.set("api.test", {.ipv4 = {host(0)}});
  dns_.set("self.test", {.ipv4 = {own.host()}});
  put("sluice", without_backends() + named("api.test") +
                    "backend=self.test:" + std::to_string(own.port()) + "\n");
  sluice.emplace(std::vector<io::Address>{},
                 Sluice::Plan{.flags = {"--config=" + folder.file("sluice.conf"), dns_flag()},
                              .cluster_flags = false,
                              .address = own});
  EXPECT_TRUE(meanwhile([&] { return serves(0); }));
  EXPECT_FALSE(page().contains("\"" + own.to_string() + "\"")) << page();
}

TEST_F(DiscoveryTest, AFilesLinesAreFollowedAndAWrongOneTakesNobodyAway) {
  start_servers(3);
  dns_.set("api.test", {.ipv4 = {host(2)}});
  const std::string at = port() + "\n";
  write_file(folder.file("backends"), "# the first\n" + host(0) + at);
  start_with("backend-file=backends\n");
  EXPECT_TRUE(meanwhile([&] { return serves(0); })) << page();
  write_file(folder.file("backends"), host(1) + at + "api.test" + at);
  EXPECT_TRUE(meanwhile([&] { return serves(1) && serves(2) && !knows(0); })) << page();
  double failed = failures(folder.file("backends"));
  for (const std::string& text : {std::string("10.0.0.1\n"), std::string("# nobody\n")}) {
    write_file(folder.file("backends"), text);
    EXPECT_TRUE(meanwhile([&] { return failures(folder.file("backends")) > failed; })) << page();
    failed = failures(folder.file("backends"));
    EXPECT_TRUE(serves(1) && serves(2)) << page();
  }
  ASSERT_EQ(std::remove(folder.file("backends").c_str()), 0);
  EXPECT_TRUE(meanwhile([&] { return failures(folder.file("backends")) > failed; })) << page();
  // Another change is taken over all the same.
  const double reloads = sluice->metric("sluice_config_reloads_total");
  put("sluice", without_backends() + "backend-file=backends\nprobe-interval=500ms\n");
  EXPECT_TRUE(meanwhile([&] { return sluice->metric("sluice_config_reloads_total") > reloads; }));
  EXPECT_TRUE(serves(1) && serves(2)) << page();
  write_file(folder.file("backends"), host(0) + at);
  EXPECT_TRUE(meanwhile([&] { return serves(0) && !knows(1) && !knows(2); })) << page();
}

TEST_F(DiscoveryTest, CheckWarnsOfWhatHasNoAddressNowAndIsValidAllTheSame) {
  start_servers(1);
  dns_.set("api.test", {.ipv4 = {host(0)}});
  write_file(folder.file("backends"), "away.test" + port() + "\n");
  put("sluice",
      without_backends() + named("api.test") + named("gone.test") + "backend-file=backends\n");
  const Finished checked =
      run_sluice({"--check", "--config=" + folder.file("sluice.conf"), dns_flag()});
  EXPECT_EQ(checked.code, 0) << checked.out;
  EXPECT_TRUE(checked.out.contains("warning: gone.test has no address now (there is no such name)"))
      << checked.out;
  EXPECT_TRUE(checked.out.contains("warning: away.test has no address now")) << checked.out;
  EXPECT_FALSE(checked.out.contains("api.test has no address")) << checked.out;
}

}  // namespace
}  // namespace sluice::test
