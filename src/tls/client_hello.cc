// SPDX-License-Identifier: GPL-3.0-or-later
// ClientHello (RFC 8446 section 4.1.2, RFC 5246 section 7.4.1.2) in records (section 5.1 of the
// former), with the server name of RFC 6066 section 3 and the protocols of RFC 7301 section 3.1.
// Nobody has proved anything when these bytes arrive: every length is checked, and what is not
// exactly of this form is invalid.
#include "sluice/tls/client_hello.h"

#include <algorithm>
#include <optional>

#include "client_hello_parser.h"
#include "sluice/base/ascii.h"

namespace sluice::tls {

namespace {

constexpr std::uint8_t content_handshake = 22;
constexpr std::uint8_t message_client_hello = 1;
constexpr std::uint8_t name_type_host = 0;
constexpr std::size_t record_header_bytes = 5;
constexpr std::size_t message_header_bytes = 4;
constexpr std::size_t record_bytes_max = 16384;
constexpr std::size_t server_name_bytes_max = 255;
constexpr unsigned extension_server_name = 0;
constexpr unsigned extension_alpn = 16;

using Status = ClientHello::Status;

// Reads integers and vectors off the front; after the first that does not fit everything is empty.
class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}
  bool failed() const { return failed_; }
  bool at_end() const { return rest_.empty(); }

  unsigned number(std::size_t bytes) {
    const Bytes digits = take(bytes);
    unsigned value = 0;
    for (const std::uint8_t digit : digits) value = value << 8 | digit;
    return value;
  }

  Bytes take(std::size_t bytes) {
    if (failed_ || rest_.size() < bytes) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    const Bytes taken = rest_.first(bytes);
    rest_ = rest_.subspan(bytes);
    return taken;
  }

  // A vector with a length of `length_bytes` before it.
  Bytes vector(std::size_t length_bytes, std::size_t min, std::size_t max) {
    const std::size_t size = number(length_bytes);
    if (size < min || size > max) failed_ = true;
    return take(size);
  }

 private:
  Bytes rest_;
  bool failed_ = false;
};

// The message without its header. It lies in `bytes` when it came in one record, else it is put
// together in `storage`.
struct Message {
  Status status = Status::incomplete;
  Bytes body;
};

Message find_message(Bytes bytes, std::vector<std::uint8_t>& storage) {
  constexpr Message invalid{Status::invalid, {}};
  Bytes collected;
  std::optional<std::size_t> needed;
  while (!bytes.empty()) {
    // What is here of the record's header must be right, so that nonsense is not waited for.
    if (bytes[0] != content_handshake) return invalid;
    if (bytes.size() > 1 && bytes[1] != 3) return invalid;
    if (bytes.size() < record_header_bytes) break;
    const std::size_t length = static_cast<std::size_t>(bytes[3]) << 8 | bytes[4];
    if (length == 0 || length > record_bytes_max) return invalid;
    const Bytes fragment =
        bytes.subspan(record_header_bytes, std::min(length, bytes.size() - record_header_bytes));
    bytes = bytes.subspan(record_header_bytes + fragment.size());
    if (collected.empty()) {
      collected = fragment;
    } else {
      if (storage.empty()) storage.assign(collected.begin(), collected.end());
      storage.insert(storage.end(), fragment.begin(), fragment.end());
      collected = storage;
    }
    if (!collected.empty() && collected[0] != message_client_hello) return invalid;
    if (!needed && collected.size() >= message_header_bytes) {
      needed = message_header_bytes + (static_cast<std::size_t>(collected[1]) << 16 |
                                       static_cast<std::size_t>(collected[2]) << 8 | collected[3]);
      if (*needed > client_hello_bytes_max) return invalid;
    }
    if (needed && collected.size() >= *needed) {
      return {Status::complete,
              collected.subspan(message_header_bytes, *needed - message_header_bytes)};
    }
    if (fragment.size() < length) break;
  }
  return {};
}

// Calls f(type, content) for each extension. False: malformed, or f said so.
template <class F>
bool for_each_extension(Bytes body, F&& f) {
  Reader hello(body);
  hello.take(2 + 32);      // legacy version, random
  hello.vector(1, 0, 32);  // legacy session id
  const Bytes suites = hello.vector(2, 2, 65534);
  hello.vector(1, 1, 255);  // legacy compression methods
  if (hello.failed() || suites.size() % 2 != 0) return false;
  if (hello.at_end()) return true;  // TLS 1.2 without extensions
  Reader extensions(hello.vector(2, 0, 65535));
  if (hello.failed() || !hello.at_end()) return false;
  while (!extensions.at_end()) {
    const unsigned type = extensions.number(2);
    const Bytes content = extensions.vector(2, 0, 65535);
    if (extensions.failed() || !f(type, content)) return false;
  }
  return true;
}

// Letters, digits and what else occurs in names that people give their servers; lower case, without
// the trailing dot. Empty when it is none of that.
std::string normalize(Bytes name) {
  std::string text;
  if (name.size() > server_name_bytes_max) return text;
  text.reserve(name.size());
  for (const std::uint8_t byte : name) {
    const char c = ascii::to_lower(static_cast<char>(byte));
    if (!ascii::is_alphanumeric(c) && c != '-' && c != '_' && c != '.' && c != ':') return {};
    text.push_back(c);
  }
  if (text.ends_with('.')) text.pop_back();
  return text.starts_with('.') || text.ends_with('.') ? std::string() : text;
}

// Exactly one host name: two leave open which one counts.
bool read_server_name(Bytes content, std::string& name) {
  Reader extension(content);
  Reader list(extension.vector(2, 1, 65535));
  if (extension.failed() || !extension.at_end()) return false;
  const unsigned type = list.number(1);
  const Bytes host = list.vector(2, 1, 65535);
  if (list.failed() || !list.at_end() || type != name_type_host) return false;
  name = normalize(host);
  return !name.empty();
}

// Whether a request of HTTP/1.x begins here; nothing when more bytes are needed to tell. The same
// beginnings as for Go's net/http (tlsRecordHeaderLooksLikeHTTP).
std::optional<bool> begins_like_http(std::string_view text) {
  for (const std::string_view beginning : {"GET /", "HEAD ", "POST ", "PUT /", "OPTIO"}) {
    if (text.starts_with(beginning)) return true;
    if (beginning.starts_with(text)) return std::nullopt;
  }
  return false;
}

}  // namespace

ClientHello peek_client_hello(Bytes bytes) {
  ClientHello hello;
  const std::optional<bool> http = begins_like_http(as_text(bytes));
  if (!http) return hello;
  if (*http) {
    hello.status = Status::plain_http;
    return hello;
  }
  std::vector<std::uint8_t> storage;
  const Message message = find_message(bytes, storage);
  hello.status = message.status;
  if (hello.status == Status::incomplete && bytes.size() > client_hello_bytes_max) {
    hello.status = Status::invalid;
  }
  if (hello.status != Status::complete) return hello;
  bool named = false;
  const bool good = for_each_extension(message.body, [&](unsigned type, Bytes content) {
    if (type != extension_server_name) return true;
    if (named) return false;
    named = true;
    return read_server_name(content, hello.server_name);
  });
  if (!good) {
    hello.status = Status::invalid;
    hello.server_name.clear();
  }
  return hello;
}

std::string_view first_offered_protocol(Bytes bytes, const std::vector<std::string>& ours) {
  std::vector<std::uint8_t> storage;
  const Message message = find_message(bytes, storage);
  std::size_t best = ours.size();
  if (message.status != Status::complete) return {};
  const bool good = for_each_extension(message.body, [&](unsigned type, Bytes content) {
    if (type != extension_alpn) return true;
    Reader extension(content);
    Reader list(extension.vector(2, 2, 65535));
    while (!list.at_end()) {
      const std::string_view protocol = as_text(list.vector(1, 1, 255));
      const auto place = static_cast<std::size_t>(std::ranges::find(ours, protocol) - ours.begin());
      best = std::min(best, place);
    }
    return !extension.failed() && extension.at_end() && !list.failed();
  });
  return good && best < ours.size() ? std::string_view(ours[best]) : std::string_view();
}

}  // namespace sluice::tls
