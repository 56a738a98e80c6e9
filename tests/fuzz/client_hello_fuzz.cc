// SPDX-License-Identifier: GPL-3.0-or-later
// First bytes of a connection. What the parser says must not depend on how the bytes arrived: a
// prefix is never complete with another name, and once invalid stays invalid.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/tls/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using sluice::tls::ClientHello;
  using Status = ClientHello::Status;
  const sluice::Bytes input(data, size);
  const ClientHello whole = sluice::tls::peek_client_hello(input);
  CHECK(whole.server_name.empty() || whole.status == Status::complete);
  CHECK_LE(whole.server_name.size(), 255U);
  for (const char c : whole.server_name) {
    CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' ||
          c == ':');
  }
  CHECK(size > 0 || whole.status == Status::incomplete);
  CHECK(size <= sluice::tls::client_hello_bytes_max || whole.status != Status::incomplete);

  // Every prefix, of long inputs some: each in memory of its own size, so that reading on is seen.
  const std::size_t step = std::max<std::size_t>(1, size / 64);
  for (std::size_t prefix = 0; prefix < size; prefix += step) {
    const std::vector<std::uint8_t> bytes(data, data + prefix);
    const ClientHello part = sluice::tls::peek_client_hello(bytes);
    if (part.status == Status::complete) {
      CHECK(whole.status == Status::complete);
      CHECK(part.server_name == whole.server_name);
    } else if (part.status == Status::invalid) {
      CHECK(whole.status == Status::invalid);
    }
  }
  return 0;
}
