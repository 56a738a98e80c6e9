// SPDX-License-Identifier: GPL-3.0-or-later
// PROXY headers of both versions. What cannot become one any more is refused at its first wrong
// byte (section 2.1); addresses are read only when the whole header is there.
#include "sluice/net/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/base/crc32c.h"

namespace sluice::net {
namespace {

using Status = ProxyHeader::Status;

constexpr std::string_view line_begin = "PROXY ";
constexpr std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);

ProxyHeader invalid(std::string_view why) {
  return {.status = Status::invalid, .bytes = 0, .source = {}, .authority = {}, .why = why};
}

ProxyHeader complete(std::size_t bytes, std::optional<io::Address> source,
                     std::string_view authority = {}) {
  return {.status = Status::complete,
          .bytes = bytes,
          .source = source,
          .authority = authority,
          .why = {}};
}

// Whether one of the two is the beginning of the other.
bool agree(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  return a.substr(0, common) == b.substr(0, common);
}

// --- version 1 ---------------------------------------------------------------------------------

// What a line says behind its first word.
struct Line {
  std::string_view protocol, source, destination, source_port, destination_port;
};

// Separated by exactly one blank each.
std::optional<Line> split(std::string_view text) {
  Line line;
  for (std::string_view* word : {&line.protocol, &line.source, &line.destination, &line.source_port,
                                 &line.destination_port}) {
    const bool last = word == &line.destination_port;
    const std::size_t blank = text.find(' ');
    if ((blank == std::string_view::npos) != last) return std::nullopt;
    *word = text.substr(0, blank);
    if (!last) text.remove_prefix(blank + 1);
  }
  return line;
}

// Decimal, 0 to 65535, no zero before another digit.
std::optional<std::uint16_t> read_port(std::string_view text) {
  std::uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const bool led_by_zero = text.size() > 1 && text.front() == '0';
  if (text.empty() || led_by_zero || !std::ranges::all_of(text, ascii::is_digit)) return {};
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || stop != end) return {};
  return port;
}

std::optional<io::Address> read_address(std::string_view text, int family, std::uint16_t port) {
  std::array<std::uint8_t, sizeof(in6_addr)> ip{};
  const std::size_t bytes = family == AF_INET6 ? sizeof(in6_addr) : sizeof(in_addr);
  // inet_pton takes no zeros before a digit, no short forms, and one double colon at most.
  if (text.contains('\0')) return {};
  if (::inet_pton(family, std::string(text).c_str(), ip.data()) != 1) return {};
  const io::Address address = io::Address::from_ip(Bytes(ip).first(bytes), port);
  // A dotted end only in addresses that are commonly printed so (RFC 5952 section 5).
  if (text.contains('.') && !address.host().contains('.')) return {};
  return address;
}

ProxyHeader read_addresses(std::string_view text, std::size_t bytes) {
  const std::optional<Line> line = split(text);
  if (!line) return invalid("not one protocol, two addresses and two ports");
  if (line->protocol != "TCP4" && line->protocol != "TCP6") return invalid("an unknown protocol");
  const int family = line->protocol == "TCP6" ? AF_INET6 : AF_INET;
  const std::optional<std::uint16_t> source_port = read_port(line->source_port);
  const std::optional<std::uint16_t> destination_port = read_port(line->destination_port);
  if (!source_port || !destination_port) return invalid("a port that is none");
  const auto source = read_address(line->source, family, *source_port);
  const auto destination = read_address(line->destination, family, *destination_port);
  if (!source || !destination) return invalid("an address that is none of its protocol");
  return complete(bytes, source);
}

ProxyHeader read_line(std::string_view text) {
  const std::string_view line = text.substr(0, proxy_line_bytes_max);
  const bool full = line.size() == proxy_line_bytes_max;
  const std::size_t end = line.find_first_of("\r\n");
  if (end == std::string_view::npos || (line[end] == '\r' && end + 1 == line.size())) {
    return full ? invalid("a line without an end") : ProxyHeader{};
  }
  if (!line.substr(end).starts_with("\r\n")) return invalid("an end of line that is no CRLF");
  const std::size_t bytes = end + 2;
  const std::string_view content = line.substr(line_begin.size(), end - line_begin.size());
  // Whatever it says besides is ignored.
  if (content == "UNKNOWN" || content.starts_with("UNKNOWN ")) return complete(bytes, {});
  return read_addresses(content, bytes);
}

// --- version 2 ---------------------------------------------------------------------------------

constexpr std::size_t prefix_bytes = 16;
constexpr std::uint8_t version_2 = 2;
enum Command : std::uint8_t { local = 0, proxy = 1 };
enum Family : std::uint8_t { unspecified = 0, inet = 1, inet6 = 2, local_socket = 3 };
enum Protocol : std::uint8_t { stream = 1, datagram = 2 };
constexpr std::uint8_t type_authority = 2;
constexpr std::uint8_t type_crc32c = 3;
constexpr std::size_t value_head_bytes = 3;

std::size_t number(Bytes bytes, std::size_t at, std::size_t size) {
  std::size_t value = 0;
  for (const std::uint8_t byte : bytes.subspan(at, size)) value = value << 8 | byte;
  return value;
}

// The size of both addresses with their ports; nothing where it is not defined.
std::size_t address_bytes(std::uint8_t family, std::uint8_t protocol) {
  if (protocol != stream && protocol != datagram) return 0;
  switch (family) {
    case inet: return 2 * (sizeof(in_addr) + 2);
    case inet6: return 2 * (sizeof(in6_addr) + 2);
    case local_socket: return std::size_t{2} * 108;
    default: return 0;
  }
}

io::Address source_address(Bytes block, std::uint8_t family) {
  const std::size_t bytes = family == inet6 ? sizeof(in6_addr) : sizeof(in_addr);
  return io::Address::from_ip(block.first(bytes),
                              static_cast<std::uint16_t>(number(block, 2 * bytes, 2)));
}

struct Values {
  std::optional<Bytes> authority;
  std::optional<Bytes> checksum;
};

// From `at` to the end of the header; nothing when they are malformed. Of two of a kind nobody
// could say which one counts.
std::optional<Values> read_values(Bytes header, std::size_t at) {
  Values values;
  while (at < header.size()) {
    if (header.size() - at < value_head_bytes) return {};
    const std::uint8_t type = header[at];
    const std::size_t size = number(header, at + 1, 2);
    at += value_head_bytes;
    if (size > header.size() - at) return {};
    const Bytes value = header.subspan(at, size);
    if (type == type_authority && std::exchange(values.authority, value)) return {};
    if (type == type_crc32c) {
      if (size != sizeof(std::uint32_t) || std::exchange(values.checksum, value)) return {};
    }
    at += size;
  }
  return values;
}

// One over all of the header, with itself as zeros.
bool is_checksum(Bytes checksum, Bytes header) {
  const auto at = static_cast<std::size_t>(checksum.data() - header.data());
  Crc32c crc;
  crc.add(header.first(at));
  crc.add(std::array<std::uint8_t, sizeof(std::uint32_t)>{});
  crc.add(header.subspan(at + checksum.size()));
  return crc.value() == number(checksum, 0, checksum.size());
}

ProxyHeader read_block(Bytes header, std::uint8_t command, std::uint8_t family,
                       std::uint8_t protocol) {
  const std::size_t addresses = address_bytes(family, protocol);
  const bool names_somebody = command == proxy && addresses > 0;
  const std::size_t values_at = prefix_bytes + addresses;
  if (values_at > header.size()) {
    return names_somebody ? invalid("too short for its addresses") : complete(header.size(), {});
  }
  const std::optional<Values> values = read_values(header, values_at);
  // Who names nobody may fill the block with anything; it is discarded.
  if (!values && names_somebody) return invalid("a value that is malformed");
  if (values && values->checksum && !is_checksum(*values->checksum, header)) {
    return invalid("a wrong checksum");
  }
  if (!names_somebody) return complete(header.size(), {});
  const std::string_view authority = as_text(values->authority.value_or(Bytes{}));
  const bool tcp = protocol == stream && (family == inet || family == inet6);
  if (!tcp) return complete(header.size(), {}, authority);
  return complete(header.size(), source_address(header.subspan(prefix_bytes), family), authority);
}

ProxyHeader read_binary(Bytes bytes) {
  std::size_t at = signature.size();
  if (bytes.size() <= at) return {};
  const std::uint8_t command = bytes[at] & 0x0f;
  if (bytes[at] >> 4 != version_2) return invalid("another version");
  if (command != local && command != proxy) return invalid("an unknown command");
  if (bytes.size() <= ++at) return {};
  const std::uint8_t family = bytes[at] >> 4;
  const std::uint8_t protocol = bytes[at] & 0x0f;
  if (command == proxy && (family > local_socket || protocol > datagram)) {
    return invalid("an unknown family or protocol");
  }
  if (bytes.size() < prefix_bytes) return {};
  const std::size_t length = number(bytes, ++at, 2);
  if (length > proxy_block_bytes_max) return invalid("too long");
  if (bytes.size() < prefix_bytes + length) return {};
  return read_block(bytes.first(prefix_bytes + length), command, family, protocol);
}

}  // namespace

ProxyHeader read_proxy_header(Bytes bytes) {
  const std::string_view text = as_text(bytes);
  if (agree(text, line_begin)) return read_line(text);
  if (agree(text, signature)) return read_binary(bytes);
  return invalid("neither version begins so");
}

}  // namespace sluice::net
