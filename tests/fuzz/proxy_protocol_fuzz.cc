// SPDX-License-Identifier: GPL-3.0-or-later
// First bytes of a connection from a balancer. What they say must not depend on how they arrive,
// nothing behind a header may count, and what is not refused is small.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/net/proxy_protocol.h"

namespace {

using sluice::net::ProxyHeader;
using Status = ProxyHeader::Status;

void check_form(const ProxyHeader& header, sluice::Bytes input) {
  CHECK((header.status == Status::invalid) == !header.why.empty());
  CHECK(header.status == Status::complete || (!header.source && header.bytes == 0));
  CHECK(header.status == Status::complete || header.authority.empty());
  // A view into the header, and no further.
  CHECK(header.authority.empty() || (header.authority.data() > sluice::as_text(input).data() &&
                                     header.authority.data() + header.authority.size() <=
                                         sluice::as_text(input).data() + header.bytes));
  constexpr std::size_t most = 16 + sluice::net::proxy_block_bytes_max;
  if (header.status == Status::incomplete) CHECK(input.size() < most);
  if (header.status != Status::complete) return;
  CHECK(header.bytes > 0 && header.bytes <= input.size() && header.bytes <= most);
  if (header.source)
    CHECK(header.source->family() == AF_INET || header.source->family() == AF_INET6);
  const std::string_view text = sluice::as_text(input.first(header.bytes));
  if (!text.starts_with("PROXY ")) return;
  CHECK_LE(text.size(), sluice::net::proxy_line_bytes_max);
  CHECK(text.find_first_of("\r\n") + 2 == text.size() && text.ends_with("\r\n"));
  // The same client, written canonically, is read as the same.
  if (!header.source) return;
  const bool v6 = header.source->family() == AF_INET6;
  const std::string host = header.source->host();
  const std::string line = std::string(v6 ? "PROXY TCP6 " : "PROXY TCP4 ") + host + " " + host +
                           " " + std::to_string(header.source->port()) + " 1\r\n";
  const ProxyHeader again = sluice::net::read_proxy_header(sluice::as_bytes(line));
  CHECK(again.status == Status::complete && again.source == header.source);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const sluice::Bytes input(data, size);
  const ProxyHeader whole = sluice::net::read_proxy_header(input);
  check_form(whole, input);

  // Every prefix, of long inputs some and those about the header's end: each in memory of its own
  // size, so that reading on is seen.
  const std::size_t step = std::max<std::size_t>(1, size / 64);
  std::vector<std::size_t> prefixes;
  for (std::size_t prefix = 0; prefix < size; prefix += step) prefixes.push_back(prefix);
  if (whole.status == Status::complete) {
    prefixes.push_back(whole.bytes - 1);
    prefixes.push_back(whole.bytes);
  }
  for (const std::size_t prefix : prefixes) {
    const std::vector<std::uint8_t> bytes(data, data + prefix);
    const ProxyHeader part = sluice::net::read_proxy_header(bytes);
    check_form(part, bytes);
    switch (part.status) {
      case Status::complete:
        CHECK(whole.status == Status::complete && whole.bytes == part.bytes);
        CHECK(whole.source == part.source && whole.authority == part.authority);
        break;
      case Status::incomplete:
        CHECK(whole.status != Status::complete || prefix < whole.bytes);
        break;
      case Status::invalid: CHECK(whole.status == Status::invalid && whole.why == part.why); break;
    }
  }
  return 0;
}
