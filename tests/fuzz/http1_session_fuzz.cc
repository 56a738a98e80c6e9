// SPDX-License-Identifier: GPL-3.0-or-later
// A client's HTTP/1.1 connection against any bytes: fed whole, and cut everywhere with windows of a
// few bytes, the same happens, and the same is sent. The first byte of the input chooses limits and
// how the owner reacts; the rest is what the client sends. Beyond that: events come in the order
// that session.h promises, nothing comes behind a refusal, and an answer is sent for each request
// whose head was read.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http1/session.h"

namespace {

using namespace sluice;
using namespace sluice::http1;

class Owner final : public SessionHandler {
 public:
  Owner(const SessionOptions& options, std::uint8_t habits)
      : session(*this, options), habits_(habits) {}

  void on_request(const Request& request, http::RequestHead&& head) override {
    begin(request.id);
    CHECK(!head.method.empty() && head.path.starts_with('/') && head.scheme == "https");
    CHECK(head.method != "CONNECT");
    note(head.method + ' ' + head.authority + ' ' + head.path + ' ' + head.protocol);
    std::size_t lengths = 0;
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      const http::Field field = head.fields[i];
      CHECK(!field.name.empty() && field.name != "host");
      CHECK(std::ranges::none_of(field.name, [](char c) { return c >= 'A' && c <= 'Z'; }));
      CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
      if (field.name == "content-length" || field.name == "transfer-encoding") ++lengths;
      note(std::string(field.name) + '=' + std::string(field.value));
    }
    CHECK(lengths <= 1);
    CHECK(lengths == 1 || request.end_of_stream);
    complete_ = request.end_of_stream;
    if (complete_) answer();
  }
  void on_head_too_large(RequestId id, http::RequestHead&&) override {
    begin(id);
    refused_ = true;
    note("too large");
    answer();
  }
  void on_malformed(RequestId id, http::RequestHead&&, Refusal why) override {
    if (current_ != id) begin(id);
    CHECK(!complete_);
    refused_ = true;
    note(std::string(to_string(why)));
    answer();
  }
  void on_data(RequestId id, Bytes bytes) override {
    CHECK(id == current_ && !complete_ && !refused_ && !bytes.empty());
    events += as_text(bytes);
    session.consume(id, bytes.size());
  }
  void on_end_of_stream(RequestId id) override {
    CHECK(id == current_ && !complete_);
    complete_ = true;
    note("end");
    answer();
  }
  void on_tunnel_ended(RequestId, bool) override { CHECK(false); }
  void on_closed(RequestId id, bool whole) override {
    CHECK(id == current_ && whole);
    current_ = 0;
    note("closed");
  }
  http::BodyResult on_body_wanted(RequestId id, MutableBytes room) override {
    CHECK(id == current_ && !room.empty());
    const std::size_t n = std::min({room.size(), left_, std::size_t{100}});
    std::memset(room.data(), 'b', n);
    left_ -= n;
    return {n, left_ == 0 ? http::BodyStatus::finished : http::BodyStatus::more};
  }

  Session session;
  std::string events;

 private:
  void begin(RequestId id) {
    CHECK(current_ == 0 && id == session.last_request() && !refused_);
    current_ = id;
    complete_ = false;
  }
  void note(std::string_view event) {
    events += event;
    events += '\n';
  }
  void answer() {
    http::ResponseHead head;
    head.status = 200;
    left_ = (habits_ & 1) != 0 ? 150 : 0;
    if ((habits_ & 2) != 0) head.fields.add("content-length", std::to_string(left_));
    session.submit_response(current_, head, left_ > 0);
  }

  const std::uint8_t habits_;
  RequestId current_ = 0;
  std::size_t left_ = 0;
  bool complete_ = false;
  bool refused_ = false;
};

struct Told {
  std::string events;
  std::string sent;
  bool finished = false;
};

Told talk(Bytes input, const SessionOptions& options, std::uint8_t habits, std::size_t step) {
  Owner owner(options, habits);
  Told told;
  std::vector<std::uint8_t> batch(step == 1 ? 80 : 16384);
  const auto collect = [&] {
    while (const std::size_t n = owner.session.collect(batch)) {
      told.sent += as_text(Bytes(batch).first(n));
    }
    CHECK(!owner.session.wants_output());
  };
  for (std::size_t at = 0; at < input.size(); at += step) {
    owner.session.feed(input.subspan(at, std::min(step, input.size() - at)));
    collect();
    while (owner.session.can_go_on()) {
      owner.session.feed({});
      collect();
    }
  }
  CHECK(!owner.session.describe().empty());
  told.events = owner.events;
  told.finished = owner.session.finished();
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::uint8_t shape = data[0];
  const Bytes input(data + 1, size - 1);
  SessionOptions options;
  // Small limits, so that a short input can break them.
  if ((shape & 4) != 0) {
    options.header_fields_max = 6;
    options.header_list_bytes_max = 400;
  }
  const Told whole = talk(input, options, shape, std::max<std::size_t>(input.size(), 1));
  options.window_bytes = 3;
  const Told cut = talk(input, options, shape, 1);
  CHECK(whole.events == cut.events);
  CHECK(whole.finished == cut.finished);
  // Chunks of an answer follow the batches.
  if ((shape & 2) != 0) CHECK(whole.sent == cut.sent);
  return 0;
}
