// SPDX-License-Identifier: GPL-3.0-or-later
// Whatever can be set reaches a layer: a field that nobody reads, or one without a flag, fails
// here.
#include "../../src/compose.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "another_value.h"
#include "certificates.h"
#include "sluice/config/flags.h"
#include "sluice/config/validate.h"
#include "sluice/tls/context.h"

namespace sluice {
namespace {

using config::FlagRow;

struct Anything {
  template <class T>
  operator T() const;  // NOLINT(google-explicit-constructor): an initialiser of any field
};

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), Anything{})...}; };
}

// How many fields an aggregate has: as many initialisers as it takes at most.
template <class T, std::size_t N = 0>
consteval std::size_t fields() {
  if constexpr (takes<T>(std::make_index_sequence<N + 1>{})) {
    return fields<T, N + 1>();
  } else {
    return N;
  }
}

// Two of everything: whichever file a flag names, the other one differs.
struct Files {
  Files() {
    for (const std::string_view which : {"one", "other"}) {
      const test::Certificate ca = test::make_ca("ca");
      const std::string name(which);
      texts[name + "-ca"] = ca.pem();
      texts[name + "-kubeconfig"] =
          "current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n"
          "clusters: [{name: c, cluster: {server: 'https://management.example', "
          "certificate-authority: one-ca}}]\nusers: [{name: u, user: {token: " +
          name + "}}]\n";
      texts[name + "-backends"] = "10.0.0.7:6443\n";
      const test::Certificate leaf = test::issue_client(ca, "front-proxy-client");
      texts[name + "-cert"] = leaf.pem();
      texts[name + "-key"] = leaf.key_pem();
    }
  }
  std::map<std::string, std::string> texts;
};

class ComposeTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize().has_value()); }

  ComposeTest() {
    flags_ = {{"tls-cert-file", "one-cert"},
              {"tls-private-key-file", "one-key"},
              {"client-ca-file", "one-ca"},
              {"backend", "10.0.0.1:6443"},
              {"backend-ca-file", "one-ca"},
              {"backend-server-name", "kubernetes"},
              {"proxy-client-cert-file", "one-cert"},
              {"proxy-client-key-file", "one-key"},
              {"server-names", "gateway.example"},
              {"discovery-kubeconfig", "one-kubeconfig"},
              {"discovery-namespace", "control-plane"},
              {"discovery-service", "api"},
              {"backend-discovery", "self"},
              {"backend-networks", "10.0.0.0/16"}};
    environment_.cpus = 2;
    environment_.descriptors_max = 65536;
    environment_.read_file = [](const std::string& path) -> Result<std::string> {
      static const Files files;
      return files.texts.at(path);
    };
  }

  // Composed whether it is valid or not: only what changes is asked.
  Composed composed(std::map<std::string, std::string> flags) const {
    std::vector<std::string> texts;
    for (const auto& [name, value] : flags) texts.push_back("--" + name + "=" + value);
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const config::CommandLine line = config::parse(std::span<const std::string_view>(views));
    EXPECT_TRUE(line.mistakes.empty()) << line.mistakes.front();
    return compose(config::validate(line.config, environment_), "1");
  }

  // A value that the flag does not have yet.
  static std::string another(const FlagRow& row) {
    if (const auto value = test::another_value(row)) return *value;
    if (row.name.ends_with("key-file")) return "other-key";
    if (row.name.ends_with("cert-file")) return "other-cert";
    if (row.name.ends_with("ca-file")) return "other-ca";
    if (row.name == "listen" || row.name == "backend" || row.name == "pass-through" ||
        row.name == "admin-listen") {
      return "10.0.0.9:9443";
    }
    if (row.name == "dns-server") return "10.0.0.53:53";
    if (row.name == "discovery-kubeconfig") return "other-kubeconfig";
    if (row.name == "backend-file") return "other-backends";
    if (row.name == "backend-discovery") return "";
    if (row.name == "drain-timeout-tunnels") return "7s";
    if (row.name == "proxy-protocol-from" || row.name == "exempt-clients" ||
        row.name == "allowed-networks" || row.name == "backend-networks") {
      return "10.0.0.0/24";
    }
    return row.name == "backend-readiness-path" ? "/livez" : "another";
  }

  std::map<std::string, std::string> flags_;
  config::Environment environment_;
};

TEST_F(ComposeTest, EveryFieldOfTheConfigurationHasAFlag) {
  EXPECT_EQ(config::flag_rows().size(),
            fields<config::ProcessConfig>() + fields<config::ClusterConfig>());
}

TEST_F(ComposeTest, EveryFlagChangesTheComposedOptions) {
  const Composed usual = composed(flags_);
  EXPECT_EQ(composed(flags_), usual);
  for (const FlagRow& row : config::flag_rows()) {
    if (row.name == "clusters") continue;  // read before: tests/unit/config/load_test.cc
    auto flags = flags_;
    flags[std::string(row.name)] = another(row);
    if (row.name == "pass-through") flags["mode"] = "l4";
    EXPECT_FALSE(composed(flags) == usual) << "--" << row.name << " reaches nobody";
  }
}

TEST_F(ComposeTest, EachWayToFindBackendsIsComposedAlone) {
  for (const std::string_view kept :
       {"backend", "backend-file", "discovery-", "backend-discovery"}) {
    auto flags = flags_;
    flags["backend"] = kept == "backend" ? "api.example:6443" : "10.0.0.1:6443";
    if (kept == "backend-file") flags["backend-file"] = "one-backends";
    if (kept != "discovery-") {
      std::erase_if(flags, [](const auto& flag) { return flag.first.starts_with("discovery-"); });
    }
    if (kept != "backend-discovery") {
      flags.erase("backend-discovery");
      flags.erase("backend-networks");
    }
    const Composed all = composed(flags);
    EXPECT_TRUE(all.server.clusters.at(0).discovery.any()) << kept;
  }
}

// Each default stands once, in its layer; those of the server stand in the configuration, too.
TEST_F(ComposeTest, DefaultsAreThoseOfTheLayers) {
  const server::ServerOptions usual = composed(flags_).server;
  const server::WorkerOptions& worker = usual.thread.worker;
  EXPECT_EQ(usual.thread.ring, io::RingOptions{});
  EXPECT_EQ(worker.transport, net::TransportOptions{});
  EXPECT_EQ(worker.client, server::ClientOptions{});
  EXPECT_EQ(worker.resources, proxy::ResourcesOptions{});
  ASSERT_EQ(usual.clusters.size(), 1U);
  const server::ClusterOptions& cluster = usual.clusters[0];
  EXPECT_EQ(cluster.name, "");
  EXPECT_EQ(cluster.backend_set, backend::BackendSetOptions{});
  proxy::ProxyOptions proxy;
  proxy.vouches_for_identity = true;
  EXPECT_EQ(cluster.proxy, proxy);
  EXPECT_EQ(cluster.probe, backend::ProbeOptions{});
  EXPECT_EQ(cluster.shares, balance::SharesOptions{});
  EXPECT_EQ(cluster.request_headers, kubernetes::RequestHeaderOptions{});
  EXPECT_EQ(usual.stop, server::StopOptions{});
  EXPECT_EQ(usual.take_over, server::TakeOverOptions{});
  EXPECT_EQ(composed(flags_).log, log::Options{});
}

// What is wrong with one cluster keeps its names from all others, and the others serve.
TEST_F(ComposeTest, ServesTheClustersWithoutAMistakeAndReservesTheNamesOfTheOthers) {
  config::Validation valid;
  valid.config.workers = 1;
  for (const std::string name : {"a", "b", "c"}) {
    valid.clusters.emplace_back().name = name;
    valid.clusters.back().server_names = {name + ".example"};
  }
  valid.clusters[1].mistakes = {"It is broken."};
  valid.clusters[1].server_names.clear();
  valid.clusters[2].config.default_for = config::DefaultFor::unknown;
  valid.reserved_names = {"b.example"};
  valid.default_cluster = 2;
  const server::ServerOptions options = compose(valid, "1").server;
  ASSERT_EQ(options.clusters.size(), 2U);
  EXPECT_EQ(options.clusters[0].name, "a");
  EXPECT_EQ(options.clusters[0].server_names, std::vector<std::string>{"a.example"});
  EXPECT_EQ(options.clusters[0].others, server::OtherClients::none);
  EXPECT_EQ(options.clusters[1].name, "c");
  EXPECT_EQ(options.clusters[1].others, server::OtherClients::all);
  EXPECT_EQ(options.reserved_names, std::vector<std::string>{"b.example"});
}

// A connection must not outlive the certificate that it was opened with.
TEST_F(ComposeTest, ConnectionsEndWellBeforeTheFrontProxyCertificate) {
  const auto age = [&] {
    return composed(flags_).server.clusters.at(0).backend_set.pool.connection_age_max;
  };
  const WallTime end =
      tls::read_certificates(*environment_.read_file("one-cert")).value().not_after;
  environment_.now = end - std::chrono::minutes(30);
  EXPECT_EQ(age(), std::chrono::minutes(15));
  environment_.now = end;
  EXPECT_EQ(age(), std::chrono::seconds(10));
  environment_.now = end - std::chrono::hours(3);
  EXPECT_EQ(age(), std::chrono::hours(1));
}

}  // namespace
}  // namespace sluice
