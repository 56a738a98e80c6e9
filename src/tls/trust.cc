// SPDX-License-Identifier: GPL-3.0-or-later
// The search for a path, depth first, and what each link and each whole path must fulfil.
#include "trust.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "signature.h"
#include "sluice/base/check.h"
#include "sluice/tls/context.h"
#include "sluice/x509/alternative_names.h"
#include "sluice/x509/der_reader.h"

namespace sluice::tls {

namespace {

using Refusal = Trust::Refusal;
using Kind = Trust::Refusal::Kind;
using x509::CertificateFacts;
using x509::equal;
using x509::NameVerdict;

constexpr std::string_view odd_name = "it has a name of a form that is not read here";

std::unexpected<Refusal> refuse(Kind kind, std::string why) {
  return std::unexpected(Refusal{kind, std::move(why)});
}

// crypto/x509 CheckSignatureFrom, without the signature: who may sign at all.
std::expected<void, Refusal> check_signer(const CertificateFacts& signer) {
  if ((signer.version == 3 && !signer.basic_constraints) ||
      (signer.basic_constraints && !signer.ca)) {
    return refuse(Kind::untrusted, "a certificate was signed by one that is no CA");
  }
  if (signer.key_usage && !signer.may_sign_certificates) {
    return refuse(Kind::untrusted,
                  "a certificate was signed by a CA whose key usage does not allow it");
  }
  return {};
}

// Of checking one of its signatures, about: a P-256 key's, or a usual RSA key's of 2048 bits, is 1.
int cost_of(const x509::PublicKey& key) {
  switch (key.kind) {
    case x509::KeyKind::rsa: {
      const int size = key.bits <= 2048 ? 1 : key.bits <= 4096 ? 3 : 9;
      return key.exponent.size() <= 3 ? size : 2 * size;  // 65537 has 17 bits
    }
    case x509::KeyKind::p384: return 4;
    case x509::KeyKind::p521: return 8;
    case x509::KeyKind::p224:
    case x509::KeyKind::ed25519: return 2;
    case x509::KeyKind::p256:
    case x509::KeyKind::other: break;
  }
  return 1;
}

// crypto/x509 isValid for a certificate with `below` others between it and the leaf, or for the
// leaf. Go does not look at key usages there.
std::expected<void, Refusal> check_validity(const CertificateFacts& facts, std::size_t path,
                                            WallTime now) {
  if (facts.unknown_critical) {
    return refuse(Kind::untrusted, "a certificate has a critical extension that is not known");
  }
  if (now < facts.not_before) return refuse(Kind::expired, "a certificate is not valid yet");
  if (now > facts.not_after) return refuse(Kind::expired, "a certificate has expired");
  if (path > 0 && facts.basic_constraints && facts.path_length && path - 1 > *facts.path_length) {
    return refuse(Kind::untrusted, "the chain is longer than its CA allows");
  }
  return {};
}

// Whether the same holder is on the path already, so that authorities that signed each other make
// no circle (crypto/x509 alreadyInChain).
bool same_holder(const CertificateFacts& a, const CertificateFacts& b) {
  return equal(a.subject, b.subject) && equal(a.key.info, b.key.info);
}

// How likely it is that `signer` signed `certificate`; 0 is tried first.
int implausibility(const CertificateFacts& certificate, const CertificateFacts& signer) {
  if (equal(signer.subject_key_id, certificate.authority_key_id)) return 0;
  return signer.subject_key_id.empty() != certificate.authority_key_id.empty() ? 1 : 2;
}

// Everything that can be seen of a certificate without looking at others.
Result<CertificateFacts> read(Bytes der) {
  auto facts = x509::read_certificate_facts(der);
  if (facts && !is_on_curve(facts->key)) {
    return fail(ErrorKind::invalid_argument, "the certificate is malformed");
  }
  return facts;
}

}  // namespace

Result<Trust> Trust::create(std::string_view ca_pem) {
  if (auto started = initialize(); !started) return std::unexpected(started.error());
  auto certificates = certificates_of_pem(ca_pem);
  if (!certificates) return std::unexpected(certificates.error());
  Trust trust;
  for (std::size_t i = 0; i < certificates->size(); ++i) {
    Anchor anchor;
    anchor.der = std::move((*certificates)[i]);
    const auto facts = read(anchor.der);
    if (!facts) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("certificate {} of the CA file: {}", i + 1, facts.error().context));
    }
    anchor.facts = *facts;
    trust.anchors_.push_back(std::move(anchor));
  }
  return trust;
}

std::vector<std::string> Trust::remarks() const {
  std::vector<std::string> remarks;
  for (std::size_t i = 0; i < anchors_.size(); ++i) {
    const CertificateFacts& facts = anchors_[i].facts;
    std::string why(facts.odd_names ? odd_name : weakness(facts.key));
    if (why.empty()) why = limitation(facts.key);
    if (why.empty() && !check_signer(facts)) why = "it is no CA certificate";
    if (why.empty() && facts.unknown_critical)
      why = "it has a critical extension that is not known";
    if (why.empty()) continue;
    remarks.push_back(
        fmt::format("certificate {}: {}; nothing that it signs is believed", i + 1, why));
  }
  return remarks;
}

std::vector<std::uint8_t> Trust::names(std::size_t bytes_max) const {
  std::vector<std::uint8_t> list;
  std::vector<Bytes> seen;
  for (const Anchor& anchor : anchors_) {
    const Bytes name = anchor.facts.subject;
    if (std::ranges::any_of(seen, [&](Bytes other) { return equal(other, name); })) continue;
    seen.push_back(name);
    if (list.size() + 2 + name.size() > bytes_max) return {};
    list.push_back(static_cast<std::uint8_t>(name.size() >> 8));
    list.push_back(static_cast<std::uint8_t>(name.size()));
    list.insert(list.end(), name.begin(), name.end());
  }
  return list;
}

// One search for a path through what a peer sent.
struct Trust::Search {
  const std::vector<Anchor>& anchors;
  Purpose purpose;
  WallTime now;
  std::vector<CertificateFacts> facts;          // of the chain, leaf first
  std::vector<const CertificateFacts*> path{};  // from the leaf up
  int candidates = 0;
  int signatures = 0;
  int cost = 0;
  // Of the last attempt, or of the last that we could not judge: the others do not speak for it.
  Refusal refusal{Kind::unknown_authority, "it was issued by a CA that is not trusted"};

  // Pairs that were checked already: several paths may share a link.
  struct Link {
    const CertificateFacts* certificate;
    const CertificateFacts* signer;
    bool good;
  };
  std::vector<Link> links{};

  void remember(Refusal last) {
    if (last.kind == Kind::not_judged || refusal.kind != Kind::not_judged)
      refusal = std::move(last);
  }

  bool out_of_limits() const {
    return candidates > candidates_max || signatures > signatures_max || cost > signatures_cost_max;
  }

  // Depth first: the trusted ones that may have signed the last of `path`, then those that the peer
  // sent.
  std::optional<WallTime> extend() {
    const CertificateFacts& last = *path.back();
    for (const bool trusted : {true, false}) {
      for (int rank = 0; rank < 3; ++rank) {
        const std::size_t count = trusted ? anchors.size() : facts.size();
        for (std::size_t i = trusted ? 0 : 1; i < count; ++i) {
          const CertificateFacts& signer = trusted ? anchors[i].facts : facts[i];
          if (!equal(signer.subject, last.issuer) || implausibility(last, signer) != rank) continue;
          if (auto found = consider(signer, trusted)) return found;
          if (out_of_limits()) return std::nullopt;
        }
      }
    }
    return std::nullopt;
  }

  std::optional<WallTime> consider(const CertificateFacts& signer, bool trusted) {
    if (++candidates > candidates_max) {
      remember({Kind::untrusted, "the chain has too many possible paths"});
      return std::nullopt;
    }
    if (is_on_path(signer)) return std::nullopt;
    if (auto fine = check_link(signer, trusted); !fine) {
      remember(std::move(fine.error()));
      return std::nullopt;
    }
    path.push_back(&signer);
    std::optional<WallTime> found;
    if (!trusted) {
      found = extend();
    } else if (auto fine = check_path(); fine) {
      found = *fine;
    } else {
      remember(std::move(fine.error()));
    }
    path.pop_back();
    return found;
  }

  // As crypto/x509 does it: the alternative names belong to the holder, too.
  bool is_on_path(const CertificateFacts& signer) const {
    for (const CertificateFacts* other : path) {
      if (!same_holder(signer, *other)) continue;
      if (!signer.has_alternative_names && !other->has_alternative_names) return true;
      if (signer.has_alternative_names != other->has_alternative_names) return false;
      if (equal(signer.alternative_names, other->alternative_names)) return true;
    }
    return false;
  }

  std::expected<void, Refusal> check_link(const CertificateFacts& signer, bool trusted) {
    if (auto fine = check_signer(signer); !fine) return fine;
    // An X.509 version 1 certificate signs as a trusted one alone.
    if (!trusted && !signer.ca) {
      return refuse(Kind::untrusted, "a certificate was signed by one that is no CA");
    }
    if (const std::string_view weak = weakness(signer.key); !weak.empty()) {
      return refuse(Kind::untrusted, fmt::format("a CA's certificate: {}", weak));
    }
    if (const std::string_view limit = limitation(signer.key); !limit.empty()) {
      return refuse(Kind::not_judged, fmt::format("a CA's certificate: {}", limit));
    }
    if (signer.odd_names) return refuse(Kind::not_judged, std::string(odd_name));
    if (auto fine = check_signature(*path.back(), signer); !fine) return fine;
    return check_validity(signer, path.size(), now);
  }

  std::expected<void, Refusal> check_signature(const CertificateFacts& certificate,
                                               const CertificateFacts& signer) {
    auto link = std::ranges::find_if(links, [&](const Link& other) {
      return other.certificate == &certificate && other.signer == &signer;
    });
    if (link == links.end()) {
      cost += cost_of(signer.key);
      if (++signatures > signatures_max || cost > signatures_cost_max) {
        return refuse(Kind::not_judged, "the chain has too many possible paths");
      }
      links.push_back({&certificate, &signer, is_signed_by(certificate, signer.key)});
      link = links.end() - 1;
    }
    if (!link->good) {
      return refuse(Kind::unknown_authority, "a signature is not that of a CA that is trusted");
    }
    return {};
  }

  // What holds for a whole path. Extended key usages nest: one that excludes the purpose excludes
  // it for everything below.
  std::expected<WallTime, Refusal> check_path() const {
    WallTime not_after = path.front()->not_after;
    for (const CertificateFacts* one : path) {
      const bool usable =
          purpose == Purpose::client ? one->usable_for_client() : one->usable_for_server();
      if (!usable)
        return refuse(Kind::untrusted, "an extended key usage does not allow this purpose");
      not_after = std::min(not_after, one->not_after);
    }
    for (std::size_t i = 0; i < path.size(); ++i) {
      // The trusted certificate's own policies do not count.
      if (i + 1 < path.size() && path[i]->policy_rules) {
        return refuse(Kind::not_judged, "a certificate makes rules about policies");
      }
      for (std::size_t above = i + 1; above < path.size(); ++above) {
        switch (judge_names(*path[i], *path[above])) {
          case NameVerdict::permitted: break;
          case NameVerdict::excluded:
            return refuse(Kind::untrusted, "a CA may not issue a certificate for one of its names");
          case NameVerdict::not_judged:
            return refuse(Kind::not_judged,
                          "a CA restricts names, and one of the certificate's cannot be compared");
        }
      }
    }
    return not_after;
  }
};

std::expected<WallTime, Refusal> Trust::verify(std::span<const Bytes> chain, Purpose purpose,
                                               WallTime now) const {
  if (chain.empty()) return refuse(Kind::untrusted, "there is no certificate");
  if (chain.size() > chain_certificates_max) {
    return refuse(Kind::not_judged, "the chain has too many certificates");
  }
  Search search{.anchors = anchors_, .purpose = purpose, .now = now, .facts = {}};
  for (const Bytes der : chain) {
    const auto facts = read(der);
    if (!facts) return refuse(Kind::not_judged, facts.error().context);
    if (facts->odd_names) return refuse(Kind::not_judged, std::string(odd_name));
    search.facts.push_back(*facts);
  }
  const CertificateFacts& leaf = search.facts.front();
  // Such a key proves no possession: a server would have ended the handshake, whoever signed it.
  std::string_view why = weakness(leaf.key);
  if (why.empty()) why = limitation(leaf.key);
  if (!why.empty()) return refuse(Kind::not_judged, std::string(why));
  if (auto fine = check_validity(leaf, 0, now); !fine) return std::unexpected(fine.error());
  search.path.push_back(&leaf);
  const bool trusted_itself = std::ranges::any_of(
      anchors_, [&](const Anchor& anchor) { return equal(anchor.facts.whole, leaf.whole); });
  std::optional<WallTime> not_after;
  if (trusted_itself) {
    if (auto fine = search.check_path(); fine) {
      not_after = *fine;
    } else {
      search.remember(std::move(fine.error()));
    }
  } else {
    not_after = search.extend();
  }
  if (!not_after) return std::unexpected(search.refusal);
  // Kills copies of a CA's certificate independently of their signature. Servers may show one.
  if (purpose == Purpose::client && leaf.ca)
    return refuse(Kind::not_judged, "a CA certificate is no certificate of a peer");
  return *not_after;
}

}  // namespace sluice::tls
