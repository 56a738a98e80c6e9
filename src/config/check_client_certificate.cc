// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the files, asks for the verdict of a handshake, and prints what comes of it.
#include "sluice/config/check_client_certificate.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>

#include "sluice/base/quote.h"
#include "sluice/proxy/client_identity.h"
#include "sluice/tls/context.h"
#include "sluice/tls/engine.h"

namespace sluice::config {

namespace {

ClientCertificateReport wrong(std::string sentence) { return {false, std::move(sentence) + "\n"}; }

// What an identity holds can be printed: it has no control bytes.
std::string describe(const kubernetes::Identity& identity, WallTime not_after) {
  std::string text = fmt::format("user: {}\n", identity.user);
  for (const std::string& group : identity.groups) {
    fmt::format_to(std::back_inserter(text), "group: {}\n", group);
  }
  if (!identity.uid.empty()) {
    fmt::format_to(std::back_inserter(text), "uid: {}\n", identity.uid);
  }
  fmt::format_to(std::back_inserter(text), "credential id: {}\n", identity.credential_id);
  const std::time_t clock = std::chrono::system_clock::to_time_t(not_after);
  std::tm parts{};
  ::gmtime_r(&clock, &parts);
  fmt::format_to(std::back_inserter(text), "until: {:%Y-%m-%d %H:%M:%S} UTC\n", parts);
  return text;
}

}  // namespace

ClientCertificateReport check_client_certificate(const Config& config, const std::string& path,
                                                 const Environment& environment) {
  if (config.client_ca_file.empty()) {
    return wrong(
        "--check-client-cert-file needs --client-ca-file: write the file of the authorities whose "
        "certificates name users.");
  }
  const auto ca = environment.read_file(config.client_ca_file);
  if (!ca) {
    return wrong(fmt::format("--client-ca-file={} cannot be read ({}).",
                             quote(config.client_ca_file), ca.error().context));
  }
  const auto pem = environment.read_file(path);
  if (!pem) {
    return wrong(fmt::format("--check-client-cert-file={} cannot be read ({}).", quote(path),
                             pem.error().context));
  }
  const auto chain = tls::certificates_in(*pem);
  if (!chain) {
    return wrong(fmt::format("--check-client-cert-file={} is no PEM certificate ({}).", quote(path),
                             chain.error().context));
  }
  const auto peer = tls::judge_client(*chain, *ca, environment.now);
  if (!peer) {
    return wrong(fmt::format("--client-ca-file={} holds no usable CA certificates ({}).",
                             quote(config.client_ca_file), peer.error().context));
  }
  const proxy::ClientIdentity client = proxy::identify_client(*peer);
  if (client.identity) return {true, describe(*client.identity, peer->not_after)};
  return wrong(fmt::format("nobody: {}; {}", client.reason,
                           client.refused
                               ? "every request of such a client is answered with 401, whatever "
                                 "token comes along."
                               : "as at an API server, a token decides, and without one the "
                                 "answer is 401."));
}

}  // namespace sluice::config
