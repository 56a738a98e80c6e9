// SPDX-License-Identifier: GPL-3.0-or-later
// Texts to addresses and names.
#include "sluice/discovery/target.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"

namespace sluice::discovery {
namespace {

constexpr std::size_t name_bytes_max = 253;
constexpr std::size_t label_bytes_max = 63;

bool is_label(std::string_view label) {
  const auto good = [](char c) { return ascii::is_alphanumeric(c) || c == '-' || c == '_'; };
  return !label.empty() && label.size() <= label_bytes_max && std::ranges::all_of(label, good) &&
         !label.starts_with('-') && !label.ends_with('-');
}

// A name whose last label is a number would be read as an address by somebody (RFC 3696 section 2).
bool is_name(std::string_view host) {
  if (host.empty() || host.size() > name_bytes_max) return false;
  std::string_view label;
  for (std::size_t at = 0; at <= host.size();) {
    const std::size_t dot = std::min(host.find('.', at), host.size());
    label = host.substr(at, dot - at);
    if (!is_label(label)) return false;
    at = dot + 1;
  }
  return std::ranges::any_of(label, ascii::is_letter);
}

// Everything before the last colon that is not an IPv6 address and has a letter in it.
bool looks_like_name(std::string_view text) {
  const std::string_view host = text.substr(0, text.rfind(':'));
  if (host.find(':') != std::string_view::npos || host.starts_with('[')) return false;
  return std::ranges::any_of(host, ascii::is_letter);
}

Result<Place> parse_name(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return fail(ErrorKind::invalid_argument,
                quote(text) + " has no port; write NAME:PORT, like api.example:6443");
  }
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0) {
    return fail(ErrorKind::invalid_argument,
                quote(text) + " has an impossible port; it goes from 1 to 65535");
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!is_name(host)) {
    return fail(ErrorKind::invalid_argument,
                quote(text) + " is no host name; write one like api.example:6443, or an address");
  }
  return Target{ascii::lowered(host), port};
}

}  // namespace

bool can_be_reached(const io::Address& address) {
  const Bytes ip = address.ip();
  if (ip.empty() || address.port() == 0) return false;
  if (ip.size() == 4) return ip[0] != 0 && ip[0] < 224;  // RFC 1122 section 3.2.1.3, RFC 1112
  if (ip[0] == 0xff) return false;                       // RFC 4291 section 2.7
  return std::ranges::any_of(ip, [](std::uint8_t byte) { return byte != 0; });
}

Result<Place> parse_place(std::string_view text) {
  if (looks_like_name(text)) return parse_name(text);
  const auto address = io::Address::parse(text);
  if (!address) return std::unexpected(address.error());
  if (can_be_reached(*address)) return *address;
  return fail(ErrorKind::invalid_argument,
              quote(text) + " can reach nothing; write an API server's own address and port");
}

Result<std::vector<Place>> parse_places(std::string_view text) {
  if (text.size() > file_bytes_max) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("it has more than {} bytes", file_bytes_max));
  }
  std::vector<Place> places;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    line = ascii::trim(line.substr(0, line.find('#')));
    if (line.ends_with('\r')) line = ascii::trim(line.substr(0, line.size() - 1));
    if (line.empty()) continue;
    auto place = parse_place(line);
    if (!place) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("line {}: {}", number, place.error().context));
    }
    if (std::ranges::find(places, *place) != places.end()) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("line {}: {} is there twice", number, quote(line)));
    }
    places.push_back(std::move(*place));
    if (places.size() <= places_max) continue;
    return fail(ErrorKind::invalid_argument,
                fmt::format("line {}: at most {} API servers are possible", number, places_max));
  }
  if (places.empty()) {
    return fail(ErrorKind::invalid_argument, "it names no API server");
  }
  return places;
}

}  // namespace sluice::discovery
