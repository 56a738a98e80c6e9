// SPDX-License-Identifier: GPL-3.0-or-later
// Certificates, keys and other files: readable, well-formed, fitting together, in time.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "checks.h"
#include "sluice/base/quote.h"
#include "sluice/config/server_names.h"
#include "sluice/tls/context.h"

namespace sluice::config {

namespace {

constexpr auto expiry_warning = std::chrono::hours(24 * 7);

std::string utc(WallTime time) {
  const std::time_t clock = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&clock, &parts);
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", parts);
}

// The certificates of a bundle, each as PEM of its own.
std::vector<std::string_view> split_pem(std::string_view pem) {
  constexpr std::string_view begin = "-----BEGIN CERTIFICATE-----";
  std::vector<std::string_view> parts;
  for (std::size_t at = pem.find(begin); at != std::string_view::npos;) {
    const std::size_t next = pem.find(begin, at + begin.size());
    parts.push_back(pem.substr(at, next == std::string_view::npos ? next : next - at));
    at = next;
  }
  return parts;
}

class FileChecks {
 public:
  FileChecks(const Environment& environment, Reporter& report, CheckedCluster& cluster)
      : environment_(environment), config_(cluster.config), report_(report), cluster_(cluster) {}

  void run() {
    serving_pair();
    client_ca();
    backend_ca();
    front_proxy_pair();
    front_proxy_is_no_user();
    say_what_it_is();
  }

 private:
  // Empty when it cannot be read; a mistake tells why.
  std::string read(std::string_view flag, const std::string& path) {
    auto text = environment_.read_file(path);
    if (!text) {
      report_.mistake(flag, "--{}={} cannot be read ({}): write a file that this user may read.",
                      flag, quote(path), text.error().context);
      return {};
    }
    if (text->empty())
      report_.mistake(flag, "--{}={} is empty: write a file that holds PEM.", flag, quote(path));
    return std::move(*text);
  }

  tls::Secret read_key(std::string_view flag, const std::string& path) {
    tls::Secret key = read(flag, path);
    if (!key.empty() && environment_.others_may_read && environment_.others_may_read(path)) {
      report_.warning(flag, "--{}={} may be read by everybody: take that right away (chmod o-r).",
                      flag, printable(path));
    }
    return key;
  }

  // A certificate that we show to others. True: usable now.
  bool check_leaf(std::string_view flag, const std::string& path, const std::string& pem) {
    const auto summary = tls::read_certificates(pem);
    if (!summary) {
      report_.mistake(flag, "--{}={} is no PEM certificate ({}).", flag, quote(path),
                      summary.error().context);
      return false;
    }
    if (summary->not_after < environment_.now) {
      report_.mistake(flag, "--{}={} expired at {}: renew the certificate.", flag, quote(path),
                      utc(summary->not_after));
      return false;
    }
    if (summary->not_before > environment_.now) {
      report_.mistake(flag,
                      "--{}={} is not valid before {}: check the clock, or renew the certificate.",
                      flag, quote(path), utc(summary->not_before));
      return false;
    }
    if (summary->not_after - environment_.now < expiry_warning) {
      report_.warning(flag, "--{}={} expires at {}: renew the certificate soon.", flag,
                      printable(path), utc(summary->not_after));
    }
    return true;
  }

  // Authorities that we trust.
  void check_ca(std::string_view flag, const std::string& path, const std::string& pem) {
    const auto usable = tls::ClientContext::create(
        {.ca_pem = pem, .certificate_chain_pem = {}, .private_key_pem = {}});
    if (!usable) {
      return report_.mistake(flag, "--{}={} holds no usable CA certificates ({}).", flag,
                             quote(path), usable.error().context);
    }
    for (const std::string& remark : tls::authority_remarks(pem)) {
      report_.warning(flag, "--{}={}: {}.", flag, printable(path), remark);
    }
    std::size_t expired = 0;
    const auto parts = split_pem(pem);
    for (const std::string_view part : parts) {
      const auto summary = tls::read_certificates(part);
      if (summary && summary->not_after < environment_.now) ++expired;
    }
    if (expired == parts.size()) {
      report_.mistake(flag, "--{}={}: all its CA certificates have expired; renew them.", flag,
                      quote(path));
    } else if (expired > 0) {
      report_.warning(flag, "--{}={}: {} of its {} CA certificates have expired.", flag,
                      printable(path), expired, parts.size());
    }
  }

  template <class Pem>
  struct PemFile {
    std::string_view flag;
    const std::string& path;  // empty: not given
    Pem& pem;                 // what is read goes here
  };

  // A certificate that we show to others, and its private key; whichever of them is given.
  void check_pair(const PemFile<std::string>& certificate, const PemFile<tls::Secret>& key) {
    bool good = false;
    if (!certificate.path.empty()) {
      certificate.pem = read(certificate.flag, certificate.path);
      good = !certificate.pem.empty() &&
             check_leaf(certificate.flag, certificate.path, certificate.pem);
    }
    if (!key.path.empty()) key.pem = read_key(key.flag, key.path);
    if (!good || key.pem.empty()) return;
    // As a server's pair whoever shows it, so that a bad backend CA is no second mistake here.
    const auto usable = tls::ServerContext::create({.certificate_chain_pem = certificate.pem,
                                                    .private_key_pem = key.pem,
                                                    .client_ca_pem = {}});
    if (!usable) {
      ++cluster_.unfit_pairs;
      report_.mistake({key.flag, certificate.flag}, "--{}={} does not go with --{}={} ({}).",
                      key.flag, quote(key.path), certificate.flag, quote(certificate.path),
                      usable.error().context);
    }
  }

  void serving_pair() {
    if (config_.tls_cert_file.empty()) {
      report_.mistake(
          "tls-cert-file",
          "--tls-cert-file is missing: write the file of the certificate that clients see.");
    }
    if (config_.tls_private_key_file.empty()) {
      report_.mistake(
          "tls-private-key-file",
          "--tls-private-key-file is missing: write the file of the certificate's private key.");
    }
    check_pair(
        {"tls-cert-file", config_.tls_cert_file, cluster_.files.tls_cert_pem},
        {"tls-private-key-file", config_.tls_private_key_file, cluster_.files.tls_private_key_pem});
    if (tls::read_certificates(cluster_.files.tls_cert_pem)) names_are_in_certificate();
  }

  // Clients that verify whom they talk to would not.
  void names_are_in_certificate() {
    for (std::size_t i = 0; i < config_.server_names.size(); ++i) {
      const auto name = parse_server_name(config_.server_names[i]);
      if (!name) continue;
      // A wildcard is there for labels that nobody has thought of.
      const std::string asked_for = name->starts_with('*') ? "any-other" + name->substr(1) : *name;
      if (tls::names_server(cluster_.files.tls_cert_pem, asked_for)) continue;
      report_.warning({"server-names", i},
                      "--server-names={} is no name of --tls-cert-file={}: clients that verify it "
                      "will not come.",
                      *name, printable(config_.tls_cert_file));
    }
  }

  void client_ca() {
    if (config_.client_ca_file.empty()) {
      if (config_.client_cert_strict) {
        report_.mistake("client-cert-strict",
                        "--client-cert-strict has no effect without --client-ca-file: add it, or "
                        "leave the switch out.");
      }
      return;
    }
    std::string& pem = cluster_.files.client_ca_pem;
    pem = read("client-ca-file", config_.client_ca_file);
    if (!pem.empty()) check_ca("client-ca-file", config_.client_ca_file, pem);
  }

  void backend_ca() {
    if (config_.backend_ca_file.empty()) {
      if (config_.hibernated) return;
      return report_.mistake("backend-ca-file",
                             "--backend-ca-file is missing: write the file of the CA that signs "
                             "the API servers' certificates; a backend is never used unverified.");
    }
    std::string& pem = cluster_.files.backend_ca_pem;
    pem = read("backend-ca-file", config_.backend_ca_file);
    if (!pem.empty()) check_ca("backend-ca-file", config_.backend_ca_file, pem);
  }

  void front_proxy_pair() {
    const bool has_certificate = !config_.proxy_client_cert_file.empty();
    const bool has_key = !config_.proxy_client_key_file.empty();
    if (has_certificate && !has_key) {
      report_.mistake(
          "proxy-client-cert-file",
          "--proxy-client-cert-file is given without --proxy-client-key-file: write both or none.");
    }
    if (has_key && !has_certificate) {
      report_.mistake(
          "proxy-client-key-file",
          "--proxy-client-key-file is given without --proxy-client-cert-file: write both or none.");
    }
    check_pair({"proxy-client-cert-file", config_.proxy_client_cert_file,
                cluster_.files.proxy_client_cert_pem},
               {"proxy-client-key-file", config_.proxy_client_key_file,
                cluster_.files.proxy_client_key_pem});
  }

  // A front-proxy certificate under the client CA would be a user itself: a request that reached a
  // server without X-Remote-User would run under its name.
  void front_proxy_is_no_user() {
    if (cluster_.files.proxy_client_cert_pem.empty() || cluster_.files.client_ca_pem.empty())
      return;
    const auto certificate = tls::read_certificates(cluster_.files.proxy_client_cert_pem);
    if (!certificate) return;
    const auto verified =
        tls::verify_chain(certificate->chain_der, cluster_.files.client_ca_pem, environment_.now);
    if (verified) {
      report_.mistake({"proxy-client-cert-file", "client-ca-file"},
                      "--proxy-client-cert-file={} verifies under --client-ca-file={}, so that API "
                      "servers would take the proxy for a user: have it issued by the CA of "
                      "--requestheader-client-ca-file, and that one alone.",
                      quote(config_.proxy_client_cert_file), quote(config_.client_ca_file));
    }
  }

  void say_what_it_is() {
    const bool ca = !config_.client_ca_file.empty();
    const bool pair =
        !config_.proxy_client_cert_file.empty() && !config_.proxy_client_key_file.empty();
    cluster_.vouches_for_identity = ca && pair;
    if (cluster_.vouches_for_identity) return;
    const std::string_view missing = !ca && !pair
                                         ? "--client-ca-file and --proxy-client-cert-file are"
                                     : !ca ? "--client-ca-file is"
                                           : "--proxy-client-cert-file is";
    report_.note("client-ca-file",
                 "{} not given: it runs as a plain balancer. Tokens work; client certificates name "
                 "nobody at the API servers.",
                 missing);
  }

  const Environment& environment_;
  const Config& config_;
  Reporter& report_;
  CheckedCluster& cluster_;
};

}  // namespace

void check_files(const Environment& environment, Reporter& report, CheckedCluster& cluster) {
  FileChecks(environment, report, cluster).run();
}

}  // namespace sluice::config
