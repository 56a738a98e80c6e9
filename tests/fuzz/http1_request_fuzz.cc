// SPDX-License-Identifier: GPL-3.0-or-later
// A request that asks for a tunnel, written from any parts and read back by our own reader: either
// nothing is written, or exactly these parts are read, in their order, and nothing else. The input
// is lines: method, authority, path, protocol, then names and values in turn.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"
#include "sluice/http1/session.h"
#include "sluice/http1/upgrade.h"

namespace {

using namespace sluice;
using namespace sluice::http1;

class Writer final : public UpgradeHandler {
 public:
  void on_interim(http::ResponseHead&&) override { CHECK(false); }
  void on_answer(http::ResponseHead&&, bool) override { CHECK(false); }
  void on_data(Bytes) override { CHECK(false); }
  void on_end(bool) override { CHECK(false); }
  http::BodyResult on_body_wanted(MutableBytes) override { return {0, http::BodyStatus::finished}; }
  std::string collect() {
    std::string out;
    std::vector<std::uint8_t> batch(16384);
    while (const std::size_t n = upgrade.collect(batch)) out += as_text(Bytes(batch).first(n));
    return out;
  }
  Upgrade upgrade{*this, {}};
};

class Reader final : public SessionHandler {
 public:
  void on_request(const Request& request, http::RequestHead&& its_head) override {
    CHECK(request.id == 1);
    head = std::move(its_head);
    whole = request.end_of_stream;
  }
  void on_head_too_large(RequestId, http::RequestHead&&) override { refused = true; }
  void on_malformed(RequestId, http::RequestHead&&, Refusal) override { refused = true; }
  void on_data(RequestId, Bytes) override { CHECK(false); }
  void on_end_of_stream(RequestId) override {}
  void on_tunnel_ended(RequestId, bool) override { CHECK(false); }
  void on_closed(RequestId, bool) override {}
  http::BodyResult on_body_wanted(RequestId, MutableBytes) override { return {}; }

  http::RequestHead head;
  bool whole = false;
  bool refused = false;
  Session session{*this, {.header_fields_max = 1 << 20, .header_list_bytes_max = 1 << 24}};
};

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// What our reader refuses beyond what is written: nobody's request gets here with it.
bool reads_further(const http::RequestHead& head) {
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    const std::string_view name = head.fields[i].name;
    if (name == "expect" || name == "http2-settings" || name == "content_length" ||
        name == "transfer_encoding" || name == "trailer") {
      return false;
    }
  }
  return head.method == "GET" || head.method == "POST";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = as_text(Bytes(data, size));
  http::RequestHead head;
  head.method = take_line(text);
  head.authority = take_line(text);
  head.path = take_line(text);
  head.protocol = take_line(text);
  while (!text.empty()) {
    const std::string_view name = take_line(text);
    std::string lower(name);
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    head.fields.add(lower, take_line(text));
  }
  for (const bool has_body : {false, true}) {
    Writer writer;
    if (!writer.upgrade.begin(head, has_body)) continue;
    const std::string written = writer.collect();
    CHECK(writer.upgrade.output() == Upgrade::Output::held);
    if (!reads_further(head)) continue;
    Reader reader;
    reader.session.feed(as_bytes(written));
    CHECK(!reader.refused && reader.session.held_bytes() == 0);
    CHECK(reader.head.method == head.method && reader.head.path == head.path);
    CHECK(reader.head.authority == head.authority && reader.head.protocol == head.protocol);
    CHECK(reader.whole == !has_body);
    // Ours come first.
    std::size_t at = 2;
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      const http::Field field = head.fields[i];
      if (http::is_connection_field(field.name)) continue;
      CHECK(at < reader.head.fields.size());
      const http::Field read = reader.head.fields[at++];
      std::string_view value = field.value;
      while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
        value.remove_prefix(1);
      while (!value.empty() && (value.back() == ' ' || value.back() == '\t'))
        value.remove_suffix(1);
      CHECK(read.name == field.name && read.value == value);
    }
    CHECK(at == reader.head.fields.size());
  }
  return 0;
}
