// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a chain of certificates leads to one of the certificates that we trust. The rules are
// those of crypto/x509 of Go (verify.go), because they decide who a client is to an API server:
// paths are built from names, key identifiers only say where to look first, superfluous
// certificates do not matter, several trusted ones may share a name. tests/kubernetes/oracle holds
// the two against each other.
//
// Trusted certificates never change, and what a peer sends never joins them, not even verified: a
// store that learns from one peer what it believes of another is how forged identities come about.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pem.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::tls {

// More certificates than that in a chain are refused unread.
constexpr std::size_t chain_certificates_max = 16;
// Signatures that one chain may make us check; a search of Go's looks at 100 possible signers.
constexpr int signatures_max = 16;
// And what they may cost together: anybody may show certificates with the dearest keys that there
// are, and a handshake is judged in one piece. A chain of three under RSA keys of 8192 bits is 27.
constexpr int signatures_cost_max = 48;
constexpr int candidates_max = 100;

class Trust {
 public:
  enum class Purpose : std::uint8_t { client, server };

  // Why a chain is not believed.
  struct Refusal {
    enum class Kind : std::uint8_t {
      untrusted,          // an API server does not believe it, either
      expired,            // likewise
      unknown_authority,  // likewise
      not_judged,  // an API server might believe it, and it is we who cannot judge it, or will not
    };
    Kind kind = Kind::untrusted;
    std::string why;
  };

  static Result<Trust> create(std::string_view ca_pem);

  // `chain`: leaf first. The value is the earliest end of validity on the path that was found, the
  // trusted certificate's included.
  std::expected<WallTime, Refusal> verify(std::span<const Bytes> chain, Purpose purpose,
                                          WallTime now) const;

  // Trusted certificates that nothing can be believed by, a sentence each.
  std::vector<std::string> remarks() const;
  // The names of all of them, each with its length in two bytes, as a CertificateRequest lists them
  // (RFC 8446 section 4.2.4); none when they would take more than `bytes_max`.
  std::vector<std::uint8_t> names(std::size_t bytes_max) const;

  std::size_t size() const { return anchors_.size(); }

 private:
  struct Search;
  struct Anchor {
    Der der;
    x509::CertificateFacts facts;  // views into der, whose bytes do not move
  };
  Trust() = default;
  std::vector<Anchor> anchors_;
};

}  // namespace sluice::tls
