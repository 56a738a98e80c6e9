// SPDX-License-Identifier: GPL-3.0-or-later
// Certificate chains made of any bytes, verified under a CA whose name, serial and key identifier
// the corpus knows: nobody has its key, so nothing but the corpus' own leaves may ever verify. The
// input is a list of certificates, each after its length in two bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "certificate_chain_ca.h"
#include "sluice/base/check.h"
#include "sluice/tls/context.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  static const bool started = tls::initialize().has_value();
  CHECK(started);
  std::vector<std::vector<std::uint8_t>> chain;
  for (std::size_t place = 0; place + 2 <= size && chain.size() < 12;) {
    const std::size_t length = static_cast<std::size_t>(data[place]) << 8 | data[place + 1];
    const std::size_t end = std::min(size, place + 2 + length);
    chain.emplace_back(data + place + 2, data + end);
    place = end;
  }
  const WallTime now{std::chrono::seconds{1767225600}};
  const auto verified = tls::verify_chain(chain, fuzz_ca_pem, now);
  if (verified) {
    const auto digest = tls::sha256(chain[0]);
    bool known = false;
    for (const auto& leaf : fuzz_leaf_digests) known = known || leaf == digest;
    CHECK(known);
  }
  return 0;
}
