// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of what leads to backends that are not written down: the kubeconfig of a management
// cluster, the files that it names, and which Service is meant there.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "checks.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"
#include "sluice/discovery/kubeconfig.h"
#include "sluice/tls/context.h"

namespace sluice::config {
namespace {

constexpr std::size_t label_bytes_max = 63;
constexpr std::size_t token_bytes_max = std::size_t{64} * 1024;

// RFC 1123 section 2.1, as Kubernetes has it for names of namespaces, Services and ports.
bool is_label(std::string_view text) {
  const auto good = [](char c) { return ascii::is_lower(c) || ascii::is_digit(c) || c == '-'; };
  return !text.empty() && text.size() <= label_bytes_max && std::ranges::all_of(text, good) &&
         !text.starts_with('-') && !text.ends_with('-');
}

std::string beside(const std::string& file, const std::string& path) {
  const std::size_t slash = file.rfind('/');
  if (path.starts_with('/') || slash == std::string::npos) return path;
  return file.substr(0, slash + 1) + path;
}

class DiscoveryChecks {
 public:
  DiscoveryChecks(const Environment& environment, Reporter& report, CheckedCluster& cluster)
      : environment_(environment), report_(report), cluster_(cluster), config_(cluster.config) {}

  void run() {
    if (config_.discovery_kubeconfig.empty()) return nothing_without_kubeconfig();
    check_label("discovery-namespace", config_.discovery_namespace, "a namespace");
    check_label("discovery-service", config_.discovery_service, "a Service");
    if (!config_.discovery_port_name.empty()) {
      check_label("discovery-port-name", config_.discovery_port_name, "a Service's port");
    }
    if (auto options = read()) {
      cluster_.slices = std::move(*options);
    } else {
      report_.mistake(flag_, "--{}={} cannot be used: {}.", flag_,
                      quote(config_.discovery_kubeconfig), options.error().context);
    }
  }

 private:
  void nothing_without_kubeconfig() {
    for (const auto& [flag, value] :
         {std::pair{"discovery-namespace", &config_.discovery_namespace},
          {"discovery-service", &config_.discovery_service},
          {"discovery-port-name", &config_.discovery_port_name}}) {
      if (value->empty()) continue;
      report_.mistake(flag, "--{} has no effect without --{}: write both, or none.", flag, flag_);
    }
  }

  void check_label(std::string_view flag, const std::string& value, std::string_view what) {
    if (is_label(value)) return;
    report_.mistake(flag,
                    "--{}={} is no name of {}: write one of small letters, digits and dashes.",
                    flag, quote(value), what);
  }

  Result<std::string> read_beside(const std::string& path) {
    const std::string at = beside(config_.discovery_kubeconfig, path);
    auto text = environment_.read_file(at);
    if (text) return text;
    return fail(ErrorKind::invalid_argument,
                quote(at) + " cannot be read (" + text.error().context + ")");
  }

  Result<discovery::SliceOptions> read() {
    auto text = environment_.read_file(config_.discovery_kubeconfig);
    if (!text) return std::unexpected(text.error());
    auto kubeconfig = discovery::parse_kubeconfig(*text);
    if (!kubeconfig) return std::unexpected(kubeconfig.error());
    discovery::SliceOptions options;
    options.server = kubeconfig->server;
    options.path = kubeconfig->path;
    options.server_name = kubeconfig->server_name;
    options.name_space = config_.discovery_namespace;
    options.service = config_.discovery_service;
    options.port_name = config_.discovery_port_name;
    if (auto read = read_credentials(*kubeconfig, options); !read) {
      return std::unexpected(read.error());
    }
    const auto usable = tls::ClientContext::create(options.tls);
    if (!usable) return std::unexpected(usable.error());
    return options;
  }

  Result<void> read_credentials(discovery::Kubeconfig& kubeconfig,
                                discovery::SliceOptions& options) {
    options.tls.ca_pem = std::move(kubeconfig.authority.text);
    options.tls.certificate_chain_pem = std::move(kubeconfig.certificate.text);
    options.tls.private_key_pem = std::move(kubeconfig.key.text);
    options.token = std::move(kubeconfig.token.text);
    for (const auto& [path, into] :
         {std::pair{&kubeconfig.authority.path, &options.tls.ca_pem},
          {&kubeconfig.certificate.path, &options.tls.certificate_chain_pem}}) {
      if (path->empty()) continue;
      auto text = read_beside(*path);
      if (!text) return std::unexpected(text.error());
      *into = std::move(*text);
    }
    for (const auto& [path, into] : {std::pair{&kubeconfig.key.path, &options.tls.private_key_pem},
                                     {&kubeconfig.token.path, &options.token}}) {
      if (path->empty()) continue;
      auto text = read_beside(*path);
      if (!text) return std::unexpected(text.error());
      *into = std::move(*text);
    }
    return trim_token(options.token);
  }

  // A file of a token usually ends its line.
  static Result<void> trim_token(tls::Secret& token) {
    std::string_view text = token.text();
    while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
    const auto bad = [](char c) { return ascii::is_control(c) || c == ' '; };
    if (text.size() > token_bytes_max || std::ranges::any_of(text, bad)) {
      return fail(ErrorKind::invalid_argument, "its token is no token");
    }
    if (text.size() != token.text().size()) token = tls::Secret(std::string(text));
    return {};
  }

  static constexpr std::string_view flag_ = "discovery-kubeconfig";
  const Environment& environment_;
  Reporter& report_;
  CheckedCluster& cluster_;
  const Config& config_;
};

// What the API servers' own slice leads to: nothing without networks, one port, and somebody who is
// asked.
class SelfDiscoveryChecks {
 public:
  SelfDiscoveryChecks(Reporter& report, CheckedCluster& cluster)
      : report_(report), cluster_(cluster), config_(cluster.config) {}

  void run() {
    if (config_.backend_discovery.empty()) {
      if (config_.backend_networks.empty()) return;
      return report_.mistake("backend-networks",
                             "--backend-networks has no effect without --backend-discovery=self: "
                             "write both, or none.");
    }
    if (config_.backend_discovery != "self") {
      report_.mistake("backend-discovery",
                      "--backend-discovery={} is no way to find backends: write self, or leave it "
                      "out.",
                      quote(config_.backend_discovery));
    }
    discovery::OwnSliceOptions& options = cluster_.own_slice.emplace();
    check_backend_networks(report_, cluster_, options.networks);
    if (config_.backend_networks.empty()) {
      report_.mistake(
          "backend-discovery",
          "--backend-discovery=self needs --backend-networks=CIDR: whoever may edit the "
          "slice must not send requests elsewhere.");
    }
    options.port = check_ports();
    check_identity();
  }

 private:
  std::uint16_t check_ports() {
    std::optional<std::uint16_t> port;
    for (std::size_t i = 0; i < config_.backends.size(); ++i) {
      // What cannot be read is told elsewhere.
      const auto place = discovery::parse_place(config_.backends[i]);
      if (!place) continue;
      const auto* target = std::get_if<discovery::Target>(&*place);
      const std::uint16_t own = target ? target->port : std::get<io::Address>(*place).port();
      if (!port) port = own;
      if (own == *port) continue;
      report_.mistake({"backend", i},
                      "--backend={} has another port than {}: with --backend-discovery=self all "
                      "have one.",
                      quote(config_.backends[i]), quote(config_.backends.front()));
    }
    if (config_.backends.empty() && !config_.hibernated) {
      report_.mistake(
          "backend-discovery",
          "--backend-discovery=self needs --backend=HOST:PORT: somebody has to be asked "
          "first, and others have the same port.");
    }
    return port.value_or(0);
  }

  void check_identity() {
    if (!config_.client_ca_file.empty() && !config_.proxy_client_cert_file.empty() &&
        !config_.proxy_client_key_file.empty()) {
      return;
    }
    report_.mistake("backend-discovery",
                    "--backend-discovery=self needs --client-ca-file, --proxy-client-cert-file and "
                    "--proxy-client-key-file: by them the slice is read, and an API server told "
                    "from whoever else is there.");
  }

  Reporter& report_;
  CheckedCluster& cluster_;
  const Config& config_;
};

}  // namespace

void check_self_discovery(Reporter& report, CheckedCluster& cluster) {
  SelfDiscoveryChecks(report, cluster).run();
}

void check_discovery(const Environment& environment, Reporter& report, CheckedCluster& cluster) {
  DiscoveryChecks(environment, report, cluster).run();
}

}  // namespace sluice::config
