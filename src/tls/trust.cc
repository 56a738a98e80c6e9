// SPDX-License-Identifier: GPL-3.0-or-later
#include "trust.h"

#include <fmt/format.h>

#include <algorithm>

#include "clock.h"
#include "library.h"
#include "sluice/base/check.h"
#include "sluice/tls/context.h"

namespace sluice::tls {

namespace {

// Signatures that one chain may make us check: bounds what a peer can cost us with many
// certificates of one name.
constexpr int signature_checks_max = 12;

struct ManagerDeleter {
  void operator()(WOLFSSL_CERT_MANAGER* manager) const { wolfSSL_CertManagerFree(manager); }
};
using Manager = std::unique_ptr<WOLFSSL_CERT_MANAGER, ManagerDeleter>;

int add_signer(WOLFSSL_CERT_MANAGER* manager, Bytes der) {
  // Dates are checked whenever a path is: a trusted certificate that has expired must not keep us
  // from starting.
  return wolfSSL_CertManagerLoadCABuffer_ex(manager, der.data(), static_cast<long>(der.size()),
                                            WOLFSSL_FILETYPE_ASN1, 0,
                                            WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
}

int check_signature(WOLFSSL_CERT_MANAGER* manager, Bytes der) {
  return wolfSSL_CertManagerVerifyBuffer(manager, der.data(), static_cast<long>(der.size()),
                                         WOLFSSL_FILETYPE_ASN1);
}

// A store that knows `der` alone; null when the library does not take it.
Manager manager_for(Bytes der, int* code = nullptr) {
  Manager manager(wolfSSL_CertManagerNew());
  CHECK(manager != nullptr);
  const int added = add_signer(manager.get(), der);
  if (code != nullptr) *code = added;
  return added == WOLFSSL_SUCCESS ? std::move(manager) : nullptr;
}

bool equal(Bytes a, Bytes b) { return std::ranges::equal(a, b); }

std::unexpected<Error> refuse(std::string why) { return fail(ErrorKind::tls, std::move(why)); }

// What holds for every certificate that signs another one (RFC 5280 section 6.1.4).
Result<void> check_signer(const CertificateFacts& facts, std::size_t intermediates_below) {
  if (facts.version != 3 || !facts.ca)
    return refuse("a certificate was signed by one that is no CA");
  if (facts.key_usage && !facts.may_sign_certificates) {
    return refuse("a certificate was signed by a CA whose key usage does not allow it");
  }
  if (facts.path_length && intermediates_below > *facts.path_length) {
    return refuse("the chain is longer than its CA allows");
  }
  return {};
}

// What holds for every certificate of a path. Extended key usages nest: one that excludes the
// purpose excludes it for everything below.
Result<void> check_any(const CertificateFacts& facts, Trust::Purpose purpose, WallTime now) {
  if (now < facts.not_before) return refuse("a certificate is not valid yet");
  if (now > facts.not_after) return refuse("a certificate has expired");
  const bool usable =
      purpose == Trust::Purpose::client ? facts.usable_for_client() : facts.usable_for_server();
  if (!usable) return refuse("an extended key usage does not allow this purpose");
  return {};
}

}  // namespace

struct Trust::Anchor {
  Der der;
  CertificateFacts facts;  // views into der, whose bytes do not move
  Manager manager;
};

Trust::Trust() = default;
Trust::Trust(Trust&&) noexcept = default;
Trust& Trust::operator=(Trust&&) noexcept = default;
Trust::~Trust() = default;

std::size_t Trust::size() const { return anchors_.size(); }

Result<Trust> Trust::create(std::string_view ca_pem) {
  if (auto started = initialize(); !started) return std::unexpected(started.error());
  auto certificates = certificates_of_pem(ca_pem);
  if (!certificates) return std::unexpected(certificates.error());
  Trust trust;
  for (std::size_t i = 0; i < certificates->size(); ++i) {
    Anchor anchor;
    anchor.der = std::move((*certificates)[i]);
    const auto facts = read_certificate_facts(anchor.der);
    if (!facts) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("certificate {} of the CA file: {}", i + 1, facts.error().context));
    }
    anchor.facts = *facts;
    if (const auto signer = check_signer(anchor.facts, 0); !signer) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("certificate {} of the CA file is no CA certificate", i + 1));
    }
    int code = 0;
    anchor.manager = manager_for(anchor.der, &code);
    if (anchor.manager == nullptr) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("certificate {} of the CA file: {}", i + 1, library_error(code)));
    }
    trust.anchors_.push_back(std::move(anchor));
  }
  return trust;
}

// One search for a path through what a peer sent.
struct Trust::Search {
  const std::vector<Anchor>& anchors;
  std::span<const Bytes> chain;
  std::vector<CertificateFacts> facts;  // of `chain`
  Purpose purpose;
  WallTime now;
  std::vector<std::size_t> path = {0};  // indexes into `chain`, leaf first
  int signature_checks = 0;
  // Of the attempt that came furthest: what is worth a log line.
  Error error{ErrorKind::tls, Side::self, Retry::never,
              "it was issued by a CA that is not trusted"};

  // Depth first: an anchor that may have signed the last of `path`, else one of the presented.
  Result<WallTime> extend() {
    const CertificateFacts& last = facts[path.back()];
    for (const Anchor& anchor : anchors) {
      if (!equal(anchor.facts.subject, last.issuer)) continue;
      auto verified = check_path(anchor);
      if (verified) return verified;
      error = verified.error();
    }
    if (path.size() > path_intermediates_max) return std::unexpected(error);
    for (std::size_t i = 1; i < chain.size(); ++i) {
      if (std::ranges::find(path, i) != path.end()) continue;
      if (!equal(facts[i].subject, last.issuer)) continue;
      if (auto fine = check_signer(facts[i], path.size() - 1); !fine) {
        error = fine.error();
        continue;
      }
      path.push_back(i);
      auto verified = extend();
      path.pop_back();
      if (verified || signature_checks > signature_checks_max) return verified;
    }
    return std::unexpected(error);
  }

  Result<WallTime> check_path(const Anchor& anchor) {
    WallTime not_after = anchor.facts.not_after;
    if (auto fine = check_signer(anchor.facts, path.size() - 1); !fine) {
      return std::unexpected(fine.error());
    }
    if (auto fine = check_any(anchor.facts, purpose, now); !fine)
      return std::unexpected(fine.error());
    for (const std::size_t i : path) {
      if (auto fine = check_any(facts[i], purpose, now); !fine)
        return std::unexpected(fine.error());
      not_after = std::min(not_after, facts[i].not_after);
    }
    signature_checks += static_cast<int>(path.size());
    if (signature_checks > signature_checks_max)
      return refuse("the chain has too many possible paths");
    const int code = check_signatures(anchor);
    if (code != WOLFSSL_SUCCESS) return refuse(library_error(code));
    return not_after;
  }

  // From the anchor down, so that each signer is known by the time it is needed.
  int check_signatures(const Anchor& anchor) const {
    const Bytes leaf = chain[0];
    if (path.size() == 1) return check_signature(anchor.manager.get(), leaf);
    const Manager manager = manager_for(anchor.der);
    if (manager == nullptr) return ASN_NO_SIGNER_E;
    for (std::size_t place = path.size(); place-- > 1;) {
      const Bytes signer = chain[path[place]];
      int code = check_signature(manager.get(), signer);
      if (code == WOLFSSL_SUCCESS) code = add_signer(manager.get(), signer);
      if (code != WOLFSSL_SUCCESS) return code;
    }
    return check_signature(manager.get(), leaf);
  }
};

Result<WallTime> Trust::verify(std::span<const Bytes> chain, Purpose purpose, WallTime now) const {
  if (chain.empty()) return refuse("there is no certificate");
  if (chain.size() > chain_certificates_max) return refuse("the chain has too many certificates");
  Search search{.anchors = anchors_, .chain = chain, .facts = {}, .purpose = purpose, .now = now};
  for (const Bytes der : chain) {
    const auto facts = read_certificate_facts(der);
    if (!facts) return refuse(facts.error().context);
    search.facts.push_back(*facts);
  }
  const CertificateFacts& leaf = search.facts[0];
  if (leaf.version != 3) return refuse("the certificate is not of version 3");
  // Kills copies of a CA's certificate independently of their signature.
  if (leaf.ca) return refuse("a CA certificate is no certificate of a peer");
  if (auto fine = check_any(leaf, purpose, now); !fine) return std::unexpected(fine.error());
  const JudgedAt judged(now);
  return search.extend();
}

}  // namespace sluice::tls
