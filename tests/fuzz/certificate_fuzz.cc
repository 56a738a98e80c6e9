// SPDX-License-Identifier: GPL-3.0-or-later
// Certificates and subjects made of any bytes. An identity that comes out must be able to travel in
// fields: nothing empty, no control bytes, no outer spaces, within its bound.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/identity.h"

namespace {

void check_value(std::string_view value) {
  CHECK(!value.empty());
  CHECK(!value.starts_with(' ') && !value.ends_with(' '));
  CHECK(std::none_of(value.begin(), value.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }));
}

void check_identity(const sluice::kubernetes::Identity& identity) {
  check_value(identity.user);
  if (!identity.uid.empty()) check_value(identity.uid);
  std::size_t bytes = identity.user.size() + identity.uid.size();
  for (const auto& group : identity.groups) {
    check_value(group);
    bytes += group.size();
  }
  CHECK_LE(bytes, sluice::kubernetes::subject_bytes_max);
  CHECK_EQ(identity.credential_id.size(), std::size_t{11 + 64});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  using namespace sluice::kubernetes;
  const Bytes input{data, size};
  constexpr std::array<std::uint8_t, 32> digest{};

  const Result<CertificateFacts> facts = read_certificate(input);
  if (facts) {
    CHECK_LE(facts->subject.size(), size);
    CHECK(facts->subject.empty() || (facts->subject.data() >= data &&
                                     facts->subject.data() + facts->subject.size() <= data + size));
    CHECK_EQ(check_validity(*facts, facts->not_after + 1).has_value(), true);
  }
  const auto leaf = identity_of_certificate(input, digest);
  if (leaf) {
    CHECK(facts.has_value());
    CHECK(!facts->is_authority && facts->extended_key_usage != ExtendedKeyUsage::other);
    check_identity(*leaf);
  }
  // The same bytes as a bare subject, which reaches the name walker at once.
  if (const auto identity = identity_of_subject(input, digest)) check_identity(*identity);
  return 0;
}
