// SPDX-License-Identifier: GPL-3.0-or-later
// apisim: any number of simulated kube-apiservers in one process. They share their objects, as real
// ones share etcd. When all of them accept, one line of JSON with their addresses goes to standard
// output; then the program runs until SIGTERM or SIGINT.
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include <CLI/CLI.hpp>

#include "authenticator.h"
#include "control.h"
#include "make_certificates.h"
#include "shard.h"
#include "sluice/io/socket.h"
#include "sluice/tls/context.h"

namespace sluice::apisim {
namespace {

struct Options {
  std::string listen = "127.0.0.1:0";
  std::string control_listen = "127.0.0.1:0";
  std::uint32_t servers = 3;
  std::uint32_t threads = 1;
  std::string certificates;
  std::string tls_cert_file;
  std::string tls_private_key_file;
  std::string client_ca_file;
  std::string requestheader_client_ca_file;
  std::string token_auth_file;
  AuthenticatorOptions authenticator;
  StoreOptions store;
  std::string pod_bytes = "2000";
  std::string configmap_bytes = "1000";
  double event_rate = 0;
  std::size_t record_requests = 10'000;
  std::map<std::string, std::vector<std::string>> settings;
  std::string make_certificates;
  std::string kubeconfig_server;
};

[[noreturn]] void give_up(std::string_view sentence) {
  fmt::print(stderr, "apisim: {}\n", sentence);
  std::exit(2);
}

template <class T>
T value_or_give_up(Result<T> result, std::string_view where) {
  if (!result) give_up(fmt::format("{}: {}", where, result.error().context));
  return std::move(*result);
}

std::string read_file(const std::string& path) {
  if (path.empty()) return {};
  std::ifstream file(path, std::ios::binary);
  if (!file) give_up("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

void define_flags(CLI::App& app, Options& options) {
  app.add_option("--listen", options.listen,
                 "Address of the first server; the others take the ports after it (port 0: any)");
  app.add_option("--control-listen", options.control_listen, "Control interface, plain HTTP");
  app.add_option("--servers", options.servers, "API servers to play")->check(CLI::Range(1, 64));
  app.add_option("--threads", options.threads, "Threads to spread them over")
      ->check(CLI::Range(1, 64));
  app.add_option("--certificates", options.certificates,
                 "Directory as --make-certificates fills it; stands for the flags below");
  app.add_option("--tls-cert-file", options.tls_cert_file, "Serving certificate chain, PEM");
  app.add_option("--tls-private-key-file", options.tls_private_key_file, "Its key, PEM");
  app.add_option("--client-ca-file", options.client_ca_file, "CA of user certificates");
  app.add_option("--requestheader-client-ca-file", options.requestheader_client_ca_file,
                 "CA of front proxies");
  AuthenticatorOptions& authenticator = options.authenticator;
  app.add_option("--requestheader-allowed-names", authenticator.requestheader_allowed_names,
                 "Names of front proxies; none: any of that CA")
      ->delimiter(',');
  app.add_option("--requestheader-username-headers", authenticator.user_headers, "")
      ->delimiter(',');
  app.add_option("--requestheader-uid-headers", authenticator.uid_headers, "")->delimiter(',');
  app.add_option("--requestheader-group-headers", authenticator.group_headers, "")->delimiter(',');
  app.add_option("--requestheader-extra-headers-prefix", authenticator.extra_prefixes, "")
      ->delimiter(',');
  app.add_option("--token-auth-file", options.token_auth_file, "CSV: token,user,uid,\"groups\"");
  app.add_option("--anonymous-auth", authenticator.anonymous, "Requests without any credential");
  app.add_option("--namespaces", options.store.namespaces, "Namespaces, two at least");
  app.add_option("--pods", options.store.pods, "Simulated pods");
  app.add_option("--pod-bytes", options.pod_bytes, "Size of each, about");
  app.add_option("--configmaps", options.store.configmaps, "Simulated config maps");
  app.add_option("--configmap-bytes", options.configmap_bytes, "Size of each, about");
  app.add_option("--watch-history", options.store.history_events, "Events kept for each resource")
      ->check(CLI::Range(1, 10'000'000));
  app.add_option("--event-rate", options.event_rate, "Simulated events a second");
  app.add_option("--seed", options.store.seed, "Of everything that is random");
  app.add_option("--record-requests", options.record_requests,
                 "Requests that each server remembers; 0 for benchmarks");
  for (const std::string& name : setting_names()) {
    app.add_option("--" + name, options.settings[name],
                   "VALUE for all servers, or I=VALUE for server I; may be repeated");
  }
  app.add_option("--make-certificates", options.make_certificates,
                 "Write certificates, tokens and a kubeconfig into this directory, and end");
  app.add_option("--kubeconfig-server", options.kubeconfig_server,
                 "With it: the URL in the kubeconfig");
}

void complete(Options& options) {
  if (!options.certificates.empty()) {
    const auto in_directory = [&options](std::string& file, std::string_view name) {
      if (file.empty()) file = fmt::format("{}/{}", options.certificates, name);
    };
    in_directory(options.tls_cert_file, "apiserver.crt");
    in_directory(options.tls_private_key_file, "apiserver.key");
    in_directory(options.client_ca_file, "client-ca.crt");
    in_directory(options.requestheader_client_ca_file, "front-proxy-ca.crt");
    in_directory(options.token_auth_file, "tokens.csv");
  }
  if (options.tls_cert_file.empty() || options.tls_private_key_file.empty()) {
    give_up("--certificates, or --tls-cert-file and --tls-private-key-file, must be given");
  }
  options.store.pod_bytes = value_or_give_up(parse_size(options.pod_bytes), "--pod-bytes");
  options.store.configmap_bytes =
      value_or_give_up(parse_size(options.configmap_bytes), "--configmap-bytes");
  options.authenticator.client_ca_pem = read_file(options.client_ca_file);
  options.authenticator.requestheader_ca_pem = read_file(options.requestheader_client_ca_file);
  options.authenticator.tokens_csv = read_file(options.token_auth_file);
}

std::vector<Settings> settings_of(const Options& options) {
  std::vector<Settings> settings(options.servers);
  for (const auto& [name, values] : options.settings) {
    for (const std::string& value : values) {
      const std::size_t equals = value.find('=');
      if (equals == std::string::npos) {
        for (Settings& each : settings) {
          const auto applied = apply_setting(each, name, value);
          if (!applied) give_up(fmt::format("--{}: {}", name, applied.error().context));
        }
        continue;
      }
      std::size_t index = settings.size();
      std::istringstream(value.substr(0, equals)) >> index;
      if (index >= settings.size()) {
        give_up(fmt::format("--{}: \"{}\" names no server", name, value));
      }
      const auto applied = apply_setting(settings[index], name, value.substr(equals + 1));
      if (!applied) give_up(fmt::format("--{}: {}", name, applied.error().context));
    }
  }
  return settings;
}

std::vector<ServerPlan> listen_all(const Options& options) {
  const std::vector<Settings> settings = settings_of(options);
  const io::Address first = value_or_give_up(io::Address::parse(options.listen), "--listen");
  std::vector<ServerPlan> plans;
  for (std::uint32_t i = 0; i < options.servers; ++i) {
    const std::uint32_t port = first.port() == 0 ? 0 : first.port() + i;
    if (port > 65535) give_up("--listen: there are not that many ports");
    const std::string host = first.family() == AF_INET6 ? "[" + first.host() + "]" : first.host();
    const io::Address address =
        value_or_give_up(io::Address::parse(fmt::format("{}:{}", host, port)), "--listen");
    ServerPlan plan;
    plan.index = i;
    plan.descriptor = value_or_give_up(
        io::listen_on(address, {.backlog = 4096, .reuse_port = false}), address.to_string());
    plan.address = value_or_give_up(io::local_address(plan.descriptor), "--listen");
    plan.settings = settings[i];
    plans.push_back(std::move(plan));
  }
  return plans;
}

int serve(Options& options) {
  complete(options);
  if (const auto initialized = tls::initialize(); !initialized) {
    give_up(initialized.error().context);
  }
  tls::ServerOptions tls;
  tls.certificate_chain_pem = read_file(options.tls_cert_file);
  tls.private_key_pem = read_file(options.tls_private_key_file);
  tls.alpn = {"h2", "http/1.1"};
  // The names that clients are asked for; which CA vouches for what is decided later.
  tls.client_ca_pem =
      options.authenticator.client_ca_pem + "\n" + options.authenticator.requestheader_ca_pem;
  const Authenticator authenticator =
      value_or_give_up(Authenticator::create(options.authenticator), "authentication");
  Store store(options.store);
  Shared shared{store, authenticator, options.record_requests};

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  const std::vector<ServerPlan> plans = listen_all(options);
  const std::size_t threads = std::min(options.threads, options.servers);
  std::vector<std::unique_ptr<Shard>> shards;
  for (std::size_t thread = 0; thread < threads; ++thread) {
    std::vector<ServerPlan> its;
    for (const ServerPlan& plan : plans) {
      if (plan.index % threads == thread) its.push_back(plan);
    }
    shards.push_back(std::make_unique<Shard>(shared, tls, std::move(its)));
  }
  for (const auto& shard : shards) {
    if (const auto started = shard->started(); !started) {
      fmt::print(stderr, "apisim: {}\n", started.error().context);
      std::_Exit(1);
    }
  }
  for (const auto& shard : shards) {
    store.on_change([&shard = *shard] { shard.wake_watches(); });
  }
  if (options.event_rate > 0) shards[0]->set_event_rate(options.event_rate);

  Control control(store, shards, options.servers);
  const io::Address control_address =
      value_or_give_up(control.listen(value_or_give_up(io::Address::parse(options.control_listen),
                                                       "--control-listen")),
                       "--control-listen");

  std::string ready = fmt::format("{{\"pid\":{},\"control\":\"{}\",\"servers\":[", ::getpid(),
                                  control_address.to_string());
  for (const ServerPlan& plan : plans) {
    ready += fmt::format("{}\"{}\"", plan.index == 0 ? "" : ",", plan.address.to_string());
  }
  fmt::print("{}]}}\n", ready);
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  control.stop();
  for (const auto& shard : shards) shard->stop();
  shards.clear();
  return 0;
}

}  // namespace
}  // namespace sluice::apisim

int main(int argc, char** argv) {
  using namespace sluice::apisim;
  Options options;
  CLI::App app("Plays kube-apiservers, for tests, benchmarks and the quick start.");
  define_flags(app, options);
  CLI11_PARSE(app, argc, argv);
  if (!options.make_certificates.empty()) {
    const auto made = make_certificates(options.make_certificates, options.kubeconfig_server);
    if (!made) give_up(made.error().context);
    return 0;
  }
  return serve(options);
}
