// SPDX-License-Identifier: GPL-3.0-or-later
// Certificates and subjects made of any bytes. An identity that comes out must be able to travel in
// fields: nothing empty, no control bytes, no outer spaces, within its bound.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/x509/certificate_facts.h"

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

  const auto facts = x509::read_certificate_facts(input);
  if (facts) {
    for (const Bytes part : {facts->issuer, facts->subject, facts->signed_part, facts->key.info,
                             facts->signature, facts->alternative_names}) {
      CHECK(part.empty() || (part.data() >= data && part.data() + part.size() <= data + size));
    }
  }
  const auto leaf = identity_of_certificate(input, digest);
  if (leaf) {
    CHECK(facts.has_value());
    CHECK(!facts->ca && facts->usable_for_client());
    check_identity(*leaf);
  }
  // The same bytes as those of a subject, which reaches the name walker at once.
  if (size > 0xffff) return 0;
  std::vector<std::uint8_t> subject = {0x30};
  if (size > 0xff) {
    subject.insert(subject.end(), {0x82, static_cast<std::uint8_t>(size >> 8)});
  } else if (size >= 0x80) {
    subject.push_back(0x81);
  }
  subject.push_back(static_cast<std::uint8_t>(size));
  subject.insert(subject.end(), data, data + size);
  if (const auto identity = identity_of_subject(subject, digest)) check_identity(*identity);
  return 0;
}
