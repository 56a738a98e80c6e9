// SPDX-License-Identifier: GPL-3.0-or-later
// Certificates, keys and other files: readable, well-formed, fitting together, in time.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "checks.h"
#include "sluice/base/quote.h"
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
  FileChecks(const Environment& environment, Validation& result)
      : environment_(environment), config_(result.config), result_(result) {}

  void run() {
    serving_pair();
    client_ca();
    backend_ca();
    front_proxy_pair();
    front_proxy_is_no_user();
    access_log();
    say_what_it_is();
  }

 private:
  // Empty when it cannot be read; a mistake tells why.
  std::string read(std::string_view flag, const std::string& path) {
    auto text = environment_.read_file(path);
    if (!text) {
      mistake("--{}={} cannot be read ({}): write a file that this user may read.", flag,
              quote(path), text.error().context);
      return {};
    }
    if (text->empty()) mistake("--{}={} is empty: write a file that holds PEM.", flag, quote(path));
    return std::move(*text);
  }

  tls::Secret read_key(std::string_view flag, const std::string& path) {
    tls::Secret key = read(flag, path);
    if (!key.empty() && environment_.others_may_read && environment_.others_may_read(path)) {
      warning("--{}={} may be read by everybody: take that right away (chmod o-r).", flag, path);
    }
    return key;
  }

  // A certificate that we show to others. True: usable now.
  bool check_leaf(std::string_view flag, const std::string& path, const std::string& pem) {
    const auto summary = tls::read_certificates(pem);
    if (!summary) {
      mistake("--{}={} is no PEM certificate ({}).", flag, quote(path), summary.error().context);
      return false;
    }
    if (summary->not_after < environment_.now) {
      mistake("--{}={} expired at {}: renew the certificate.", flag, quote(path),
              utc(summary->not_after));
      return false;
    }
    if (summary->not_before > environment_.now) {
      mistake("--{}={} is not valid before {}: check the clock, or renew the certificate.", flag,
              quote(path), utc(summary->not_before));
      return false;
    }
    if (summary->not_after - environment_.now < expiry_warning) {
      warning("--{}={} expires at {}: renew the certificate soon.", flag, path,
              utc(summary->not_after));
    }
    return true;
  }

  // Authorities that we trust.
  void check_ca(std::string_view flag, const std::string& path, const std::string& pem) {
    const auto usable = tls::ClientContext::create(
        {.ca_pem = pem, .certificate_chain_pem = {}, .private_key_pem = {}});
    if (!usable) {
      return mistake("--{}={} holds no usable CA certificates ({}).", flag, quote(path),
                     usable.error().context);
    }
    for (const std::string& remark : tls::authority_remarks(pem)) {
      warning("--{}={}: {}.", flag, path, remark);
    }
    std::size_t expired = 0;
    const auto parts = split_pem(pem);
    for (const std::string_view part : parts) {
      const auto summary = tls::read_certificates(part);
      if (summary && summary->not_after < environment_.now) ++expired;
    }
    if (expired == parts.size()) {
      mistake("--{}={}: all its CA certificates have expired; renew them.", flag, quote(path));
    } else if (expired > 0) {
      warning("--{}={}: {} of its {} CA certificates have expired.", flag, path, expired,
              parts.size());
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
      mistake("--{}={} does not go with --{}={} ({}).", key.flag, quote(key.path), certificate.flag,
              quote(certificate.path), usable.error().context);
    }
  }

  void serving_pair() {
    if (config_.tls_cert_file.empty()) {
      mistake("--tls-cert-file is missing: write the file of the certificate that clients see.");
    }
    if (config_.tls_private_key_file.empty()) {
      mistake(
          "--tls-private-key-file is missing: write the file of the certificate's private key.");
    }
    check_pair(
        {"tls-cert-file", config_.tls_cert_file, result_.files.tls_cert_pem},
        {"tls-private-key-file", config_.tls_private_key_file, result_.files.tls_private_key_pem});
  }

  void client_ca() {
    if (config_.client_ca_file.empty()) {
      if (config_.client_cert_strict) {
        mistake(
            "--client-cert-strict has no effect without --client-ca-file: add it, or leave the "
            "switch out.");
      }
      return;
    }
    std::string& pem = result_.files.client_ca_pem;
    pem = read("client-ca-file", config_.client_ca_file);
    if (!pem.empty()) check_ca("client-ca-file", config_.client_ca_file, pem);
  }

  void backend_ca() {
    if (config_.backend_ca_file.empty()) {
      return mistake(
          "--backend-ca-file is missing: write the file of the CA that signs the API servers' "
          "certificates; a backend is never used unverified.");
    }
    std::string& pem = result_.files.backend_ca_pem;
    pem = read("backend-ca-file", config_.backend_ca_file);
    if (!pem.empty()) check_ca("backend-ca-file", config_.backend_ca_file, pem);
  }

  void front_proxy_pair() {
    const bool has_certificate = !config_.proxy_client_cert_file.empty();
    const bool has_key = !config_.proxy_client_key_file.empty();
    if (has_certificate && !has_key) {
      mistake(
          "--proxy-client-cert-file is given without --proxy-client-key-file: write both or none.");
    }
    if (has_key && !has_certificate) {
      mistake(
          "--proxy-client-key-file is given without --proxy-client-cert-file: write both or none.");
    }
    check_pair({"proxy-client-cert-file", config_.proxy_client_cert_file,
                result_.files.proxy_client_cert_pem},
               {"proxy-client-key-file", config_.proxy_client_key_file,
                result_.files.proxy_client_key_pem});
  }

  // A front-proxy certificate under the client CA would be a user itself: a request that reached a
  // server without X-Remote-User would run under its name.
  void front_proxy_is_no_user() {
    if (result_.files.proxy_client_cert_pem.empty() || result_.files.client_ca_pem.empty()) return;
    const auto certificate = tls::read_certificates(result_.files.proxy_client_cert_pem);
    if (!certificate) return;
    const auto verified =
        tls::verify_chain(certificate->chain_der, result_.files.client_ca_pem, environment_.now);
    if (verified) {
      mistake(
          "--proxy-client-cert-file={} verifies under --client-ca-file={}, so that API servers "
          "would take "
          "the proxy for a user: have it issued by the CA of --requestheader-client-ca-file, and "
          "that one "
          "alone.",
          quote(config_.proxy_client_cert_file), quote(config_.client_ca_file));
    }
  }

  void access_log() {
    if (config_.access_log.empty() || config_.access_log == "-" || !environment_.may_append) return;
    if (const auto writable = environment_.may_append(config_.access_log); !writable) {
      mistake(
          "--access-log={} cannot be written ({}): write a file in a folder of this user's, or - "
          "for "
          "standard output.",
          quote(config_.access_log), writable.error().context);
    }
  }

  void say_what_it_is() {
    const bool ca = !config_.client_ca_file.empty();
    const bool pair =
        !config_.proxy_client_cert_file.empty() && !config_.proxy_client_key_file.empty();
    result_.vouches_for_identity = ca && pair;
    if (result_.vouches_for_identity) return;
    const std::string_view missing = !ca && !pair
                                         ? "--client-ca-file and --proxy-client-cert-file are"
                                     : !ca ? "--client-ca-file is"
                                           : "--proxy-client-cert-file is";
    note(
        "{} not given: it runs as a plain balancer. Tokens work; client certificates name nobody "
        "at the "
        "API servers.",
        missing);
  }

  template <class... Values>
  void mistake(fmt::format_string<Values...> form, Values&&... values) {
    result_.mistakes.push_back(fmt::format(form, std::forward<Values>(values)...));
  }
  template <class... Values>
  void warning(fmt::format_string<Values...> form, Values&&... values) {
    result_.warnings.push_back(fmt::format(form, std::forward<Values>(values)...));
  }
  template <class... Values>
  void note(fmt::format_string<Values...> form, Values&&... values) {
    result_.notes.push_back(fmt::format(form, std::forward<Values>(values)...));
  }

  const Environment& environment_;
  const Config& config_;
  Validation& result_;
};

}  // namespace

void check_files(const Environment& environment, Validation& result) {
  FileChecks(environment, result).run();
}

}  // namespace sluice::config
