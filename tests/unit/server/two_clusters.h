// SPDX-License-Identifier: GPL-3.0-or-later
// A whole server with two clusters, each with keys and an API server of its own, and small clients.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "../net/recorder.h"
#include "admin_pages.h"
#include "small_client.h"
#include "whole_server.h"

namespace sluice::server {

inline constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
inline constexpr std::string_view pod = "/api/v1/namespaces/a/pods/b";
inline constexpr std::size_t one = 0;
inline constexpr std::size_t two = 1;

// What each of the clusters has for itself.
struct Keys {
  explicit Keys(const std::string& name)
      : gateway_ca(test::make_ca("gateway-" + name)),
        gateway(test::issue_server(gateway_ca,
                                   {name + ".example", "x." + name + ".example", "10.0.1.1"})),
        client_ca(test::make_ca("clients-" + name)),
        alice(test::issue_client(client_ca, "alice", {name})) {}
  test::Certificate gateway_ca, gateway, client_ca, alice;

  static const std::array<Keys, 3>& get() {
    static const std::array<Keys, 3> keys{Keys("one"), Keys("two"), Keys("three")};
    return keys;
  }
};

class ClustersTest : public testing::Test {
 protected:
  ClustersTest() {
    options_ = WholeServer::options(1, 2);
    options_.clusters.clear();
    add_cluster("one");
    add_cluster("two");
    options_.clusters[one].others = OtherClients::unnamed;
    options_.reserved_names = {"broken.example"};
  }
  ~ClustersTest() override {
    for (const auto& client : clients_) {
      if (!client->closed) client->connection.terminate();
    }
    for (const auto& client : http1_clients_) {
      if (!client->closed) client->connection.terminate();
    }
    if (server_ != nullptr) {
      server_->stop();
      simulation_.settle();
      EXPECT_TRUE(server_->stopped());
    }
    server_.reset();
    clients_.clear();
    http1_clients_.clear();
    for (const auto& backend : backends_) backend->stop();
    for (const auto& server : more_servers_) server->stop();
    simulation_.settle();
  }

  void add_cluster(const std::string& name) {
    const std::size_t number = options_.clusters.size();
    const Keys& keys = Keys::get().at(number);
    const test::ClusterKeys& shared = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.name = name;
    cluster.server_names = {name + ".example", "*." + name + ".example"};
    cluster.backends = {{WholeServer::backend_address(number), "api-0", "backend"}};
    cluster.tls.certificate_chain_pem = keys.gateway.pem();
    cluster.tls.private_key_pem = keys.gateway.key_pem();
    cluster.tls.client_ca_pem = keys.client_ca.pem();
    cluster.tls.alpn = {"h2", "http/1.1"};
    cluster.backend_tls.plain.ca_pem = shared.serving_ca.pem();
    cluster.proxy.vouches_for_identity = true;
    tls::ClientOptions& identity = cluster.backend_tls.identity.emplace(cluster.backend_tls.plain);
    identity.certificate_chain_pem = shared.front_proxy.pem();
    identity.private_key_pem = shared.front_proxy.key_pem();
    backends_.push_back(std::make_unique<test::ScriptedBackend>(
        simulation_.transport(), WholeServer::backend_address(number)));
    backends_[number]->on_request = [this, number](test::ScriptedBackend::Request& request) {
      asked(number, request);
    };
  }

  // An API server of no cluster yet, which answers as that cluster's does now.
  test::ScriptedBackend& add_server(std::size_t number, std::size_t cluster) {
    more_servers_.push_back(std::make_unique<test::ScriptedBackend>(
        simulation_.transport(), WholeServer::backend_address(number)));
    more_servers_.back()->on_request = backends_[cluster]->on_request;
    return *more_servers_.back();
  }

  void asked(std::size_t cluster, test::ScriptedBackend::Request& request) {
    const std::string user = request.field("x-remote-user");
    if (request.head.path == "/readyz") {
      ++probes_[cluster];
      last_probe_[cluster] = request.connection;
      if (readiness_[cluster] != 0) request.answer(readiness_[cluster], "ok");
      return;
    }
    if (request.head.path == "/metrics") return request.answer(403);  // how old is it?
    if (request.head.path == "/version") return request.answer(200, "{}");
    if (request.head.path == review_path) {
      if (user.empty()) return request.answer(401);
      return request.answer(
          201, fmt::format(R"({{"status":{{"userInfo":{{"username":"{}"}}}}}})", user));
    }
    seen_[cluster].push_back(user.empty() ? request.field("authorization") : user);
    request.answer(200, "{}");
  }

  void start() {
    server_ = std::make_unique<WholeServer>(simulation_, options_);
    simulation_.settle();
    ASSERT_TRUE(server_->control().may_open());
    server_->open();
  }

  // Who believes both clusters' gateways.
  static std::shared_ptr<const tls::ClientContext> tls(const test::Certificate* certificate,
                                                       std::vector<std::string> alpn = {"h2"}) {
    tls::ClientOptions options{.ca_pem = Keys::get()[0].gateway_ca.pem() +
                                         Keys::get()[1].gateway_ca.pem() +
                                         Keys::get()[2].gateway_ca.pem(),
                               .certificate_chain_pem = {},
                               .private_key_pem = {},
                               .alpn = std::move(alpn)};
    if (certificate != nullptr) {
      options.certificate_chain_pem = certificate->pem();
      options.private_key_pem = certificate->key_pem();
    }
    return std::move(*tls::ClientContext::create(options));
  }

  SmallClient& connect(std::string_view name, const test::Certificate* certificate = nullptr,
                       std::size_t worker = 0) {
    return connect(name, tls(certificate), worker);
  }
  SmallClient& connect(std::string_view name, std::shared_ptr<const tls::ClientContext> context,
                       std::size_t worker = 0) {
    clients_.push_back(std::make_unique<SmallClient>(
        simulation_.transport(), WholeServer::address(worker), std::move(context), name));
    clients_.back()->token = "";
    simulation_.settle();
    return *clients_.back();
  }
  void ask(SmallClient& client, std::string_view authority = "kubernetes") {
    client.ask(pod, authority);
    simulation_.settle();
  }

  net::Recorder& connect_http1(std::string_view name) {
    http1_clients_.push_back(std::make_unique<net::Recorder>(simulation_.transport()));
    http1_clients_.back()->connection.connect(WholeServer::address(0), tls(nullptr, {"http/1.1"}),
                                              name);
    simulation_.settle();
    return *http1_clients_.back();
  }
  // What comes back, with its head.
  std::string ask_http1(net::Recorder& client, std::string_view host) {
    client.received.clear();
    client.send(
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer t\r\n\r\n", pod, host));
    simulation_.settle();
    return client.received;
  }

  // What is read is what options_ are then.
  void start_reloadable() {
    start();
    server_->control().read_by([this](const ReadRequest&) {
      Configuration configuration;
      configuration.options = options_;
      return configuration;
    });
  }
  void reload() {
    server_->control().reload();
    simulation_.settle();
  }
  // The backends of the first cluster that serve, by what `name` makes of them.
  template <class Name>
  std::vector<std::string> serving_by(Name name) {
    const ClusterVersion& version = *server_->shared().cluster(one).version();
    std::vector<std::string> names;
    for (std::size_t slot = 0; slot < version.backends.backends.size(); ++slot) {
      if (version.backends.serves(slot)) {
        names.push_back(name(version.backends.backends[slot]->endpoint));
      }
    }
    return names;
  }
  std::vector<std::string> serving_hosts() {
    return serving_by([](const backend::Endpoint& endpoint) { return endpoint.address.host(); });
  }
  std::string page() { return clusters_page(server_->shared(), simulation_.now()); }
  std::string told(std::size_t worker = 0) { return server_->worker(worker).describe(64 * 1024); }
  std::string metrics() {
    for (std::size_t i = 0; i < 2; ++i) server_->worker(i).publish();
    return server_->shared().render_metrics();
  }

  test::Simulation simulation_;
  ServerOptions options_;
  std::array<int, 3> readiness_ = {200, 200, 200};  // 0: no answer
  std::array<int, 3> probes_{};
  std::array<test::ScriptedBackend::Connection*, 3> last_probe_{};
  std::array<std::vector<std::string>, 3> seen_;                  // users, or credentials
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;  // by cluster
  std::vector<std::unique_ptr<test::ScriptedBackend>> more_servers_;
  std::unique_ptr<WholeServer> server_;
  std::vector<std::unique_ptr<SmallClient>> clients_;
  std::vector<std::unique_ptr<net::Recorder>> http1_clients_;
};

}  // namespace sluice::server
