// SPDX-License-Identifier: GPL-3.0-or-later
// Clients are judged and let in; backends are believed or not.
#include "peer_verification.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

#include "context_state.h"
#include "sluice/x509/alternative_names.h"

namespace sluice::tls {

namespace {

// The error of the library whose alert fits.
int alert_error(Trust::Refusal::Kind kind) {
  switch (kind) {
    case Trust::Refusal::Kind::expired: return ASN_AFTER_DATE_E;
    case Trust::Refusal::Kind::unknown_authority: return ASN_NO_SIGNER_E;
    case Trust::Refusal::Kind::untrusted:
    case Trust::Refusal::Kind::not_judged: break;
  }
  return VERIFY_CERT_ERROR;
}

// Why it was not believed, if it was not.
std::optional<Trust::Refusal::Kind> judge(const Trust& trust, std::span<const Bytes> chain,
                                          WallTime now, PeerCertificate& peer) {
  for (const Bytes der : chain) peer.chain_der.emplace_back(der.begin(), der.end());
  const auto verdict = trust.verify(chain, Trust::Purpose::client, now);
  peer.verified = verdict.has_value();
  if (verdict) {
    peer.not_after = *verdict;
    return std::nullopt;
  }
  peer.refused = verdict.error().kind == Trust::Refusal::Kind::not_judged;
  peer.error = verdict.error().why;
  return verdict.error().kind;
}

}  // namespace

int verify_client(const Trust& trust, bool strict, std::span<const Bytes> chain, WallTime now,
                  PeerCertificate& peer) {
  const auto kind = judge(trust, chain, now, peer);
  return kind && strict ? alert_error(*kind) : 0;
}

int verify_backend(const Trust& trust, const std::string& server_name, std::span<const Bytes> chain,
                   WallTime now, PeerCertificate& peer) {
  const auto verdict = trust.verify(chain, Trust::Purpose::server, now);
  if (!verdict) {
    peer.error = verdict.error().why;
    return alert_error(verdict.error().kind);
  }
  const auto facts = x509::read_certificate_facts(chain[0]);
  if (!facts || !x509::names_server(*facts, server_name)) {
    peer.error = fmt::format("the certificate is not for {}", server_name);
    return VERIFY_CERT_ERROR;
  }
  peer.verified = true;
  peer.not_after = *verdict;
  return 0;
}

void hand_over(const x509::PublicKey& key, SluicePeerKey& out) {
  switch (key.kind) {
    case x509::KeyKind::other: return;
    case x509::KeyKind::rsa:
      if (!x509::has_usual_exponent(key)) return;
      out.kind = SLUICE_KEY_RSA;
      break;
    case x509::KeyKind::p224:
    case x509::KeyKind::p256:
    case x509::KeyKind::p384:
    case x509::KeyKind::p521: out.kind = SLUICE_KEY_EC; break;
    case x509::KeyKind::ed25519: out.kind = SLUICE_KEY_ED25519; break;
  }
  const Bytes bytes = key.kind == x509::KeyKind::ed25519 ? key.point : key.info;
  out.data = bytes.data();
  out.size = static_cast<unsigned>(bytes.size());
}

PeerCertificate judge_again(const PeerCertificate& shown, const ServerContext& context,
                            WallTime now) {
  PeerCertificate peer;
  peer.presented = shown.presented;
  if (!context.state().trust) {
    peer.chain_der = shown.chain_der;
    peer.error = "no authority's certificates are taken any more";
    return peer;
  }
  const std::vector<Bytes> chain(shown.chain_der.begin(), shown.chain_der.end());
  judge(*context.state().trust, chain, now, peer);
  return peer;
}

Result<PeerCertificate> judge_client(const std::vector<std::vector<std::uint8_t>>& chain_der,
                                     std::string_view ca_pem, WallTime now) {
  const auto trust = Trust::create(ca_pem);
  if (!trust) return std::unexpected(trust.error());
  PeerCertificate peer;
  const std::vector<Bytes> chain(chain_der.begin(), chain_der.end());
  judge(*trust, chain, now, peer);
  peer.presented = true;
  return peer;
}

}  // namespace sluice::tls
