// SPDX-License-Identifier: GPL-3.0-or-later
// X.509 as a kube-apiserver sees it: what a client's certificate says and which CA stands behind
// it. Made with libcrypto, which the proxy does not use: the two cannot share a mistake.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"

struct x509_store_st;

namespace sluice::apisim {

using DerChain = std::vector<std::vector<std::uint8_t>>;  // leaf first

struct CertificateFacts {
  std::string common_name;                 // the last one, as Go reads it
  std::vector<std::string> organizations;  // all, in their order
  std::vector<std::string> uids;           // OID 1.3.6.1.4.1.57683.2
  std::string credential_id;               // "X509SHA256=" and the hex digest of the leaf
  WallTime not_after{};
};

Result<CertificateFacts> read_certificate(const std::vector<std::uint8_t>& der);

// A bundle of certificates that are trusted.
class CertificatePool {
 public:
  static Result<CertificatePool> parse(std::string_view pem);

  // Nothing when `chain` verifies for client authentication at `now`; else why not.
  Result<void> verify(const DerChain& chain, WallTime now) const;

 private:
  std::shared_ptr<x509_store_st> store_;
};

}  // namespace sluice::apisim
