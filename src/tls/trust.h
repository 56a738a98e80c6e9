// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a chain of certificates leads to one of the certificates that we trust. Paths are built
// from names as API servers build them (superfluous certificates do not matter, several trusted
// ones may share a name); each link is then checked by the library and by ourselves.
//
// Each trusted certificate has a certificate store of its own, which never changes. What a peer
// sends never enters it, not even verified: a store that learns from one peer what it believes of
// another is how forged identities come about.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "certificate_facts.h"
#include "pem.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"

namespace sluice::tls {

// More certificates than that in a chain are refused unread.
constexpr std::size_t chain_certificates_max = 9;
// Intermediates on one path.
constexpr std::size_t path_intermediates_max = 4;

class Trust {
 public:
  enum class Purpose : std::uint8_t { client, server };

  static Result<Trust> create(std::string_view ca_pem);
  Trust(Trust&&) noexcept;
  Trust& operator=(Trust&&) noexcept;
  ~Trust();

  // `chain`: leaf first. The value is the earliest end of validity on the path that was found, the
  // trusted certificate's included.
  Result<WallTime> verify(std::span<const Bytes> chain, Purpose purpose, WallTime now) const;

  std::size_t size() const;

 private:
  struct Anchor;
  struct Search;
  Trust();
  std::vector<Anchor> anchors_;
};

}  // namespace sluice::tls
