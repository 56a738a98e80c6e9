// SPDX-License-Identifier: GPL-3.0-or-later
// A session against any bytes, in both roles. The first byte of the input chooses role and cuts,
// the second how the owner reacts; the rest is what the peer sends (after a preface, unless told
// not to). Beyond not crashing: events come in the order that session.h promises, what is sent
// consists of whole frames, flow control is obeyed, and an error ends with GOAWAY.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/http2/session.h"

namespace {

using namespace sluice;
using namespace sluice::http2;

constexpr Instant start{};

class Owner : public SessionHandler {
 public:
  Owner(const SessionOptions& options, std::uint8_t habits)
      : session(*this, options, start), server_(options.server), habits_(habits) {}

  void on_request(StreamRef ref, http::RequestHead&& head, bool) override {
    CHECK(server_);
    CHECK(streams_.emplace(ref.id, Seen::head).second);
    CHECK(!head.method.empty() && !head.path.empty() && !head.authority.empty());
    CHECK(head.method != "CONNECT");
    check(head.fields);
    taken = std::move(head);
    react(ref.id);
  }
  void on_head_too_large(StreamRef ref, http::RequestHead&&) override {
    CHECK(server_);
    CHECK(streams_.emplace(ref.id, Seen::head).second);
    answered_.insert({ref.id, true});
    http::ResponseHead answer;
    answer.status = 431;
    session.submit_response(ref.id, answer, false);
  }
  void on_malformed(StreamRef ref, http::RequestHead&&, std::string_view why) override {
    CHECK(server_);
    CHECK(!why.empty());
    streams_.emplace(ref.id, Seen::head);  // or it was a request until now
    react(ref.id);
  }
  void on_response(StreamRef ref, http::ResponseHead&& head, bool) override {
    CHECK(!server_);
    CHECK(at(ref) == Seen::nothing);
    CHECK(head.status >= 100 && head.status <= 999 && head.status != 101);
    check(head.fields);
    if (head.status >= 200) at(ref) = Seen::head;
    react(ref.id);
  }
  void on_data(StreamRef ref, Bytes bytes) override {
    CHECK(at(ref) == Seen::head);
    CHECK(!bytes.empty());
    received += bytes.size();
    if ((habits_ & 1) != 0) session.consume(ref.id, bytes.size());
    react(ref.id);
  }
  void on_trailers(StreamRef ref, http::Fields&& fields) override {
    CHECK(at(ref) == Seen::head);
    at(ref) = Seen::trailers;
    check(fields, true);
  }
  void on_end_of_stream(StreamRef ref) override {
    CHECK(at(ref) == Seen::head || at(ref) == Seen::trailers);
    at(ref) = Seen::end;
  }
  void on_stream_closed(StreamRef ref, ErrorCode, bool) override {
    CHECK(streams_.erase(ref.id) == 1);
  }
  BodyResult on_body_wanted(StreamRef ref, MutableBytes room) override {
    CHECK(!room.empty() && room.size() <= 16375);
    CHECK(streams_.contains(ref.id));
    turn_ = turn_ * 5 + 3;
    std::size_t n = turn_ % 4 == 0 ? room.size() : turn_ % (room.size() + 1);
    if ((habits_ & 2) != 0) n = 0;
    std::memset(room.data(), 'b', n);
    if ((turn_ & 16) != 0) session.reset_stream(ref.id, ErrorCode::cancel);
    return {n, (turn_ & 32) != 0 ? BodyStatus::finished : BodyStatus::more};
  }
  const http::Fields* on_trailers_wanted(StreamRef) override {
    return (habits_ & 4) != 0 ? &trailers : nullptr;
  }

  void open(std::size_t requests) {
    http::RequestHead head;
    head.method = "POST";
    head.scheme = "https";
    head.authority = "k";
    head.path = "/";
    for (std::size_t i = 0; i < requests; ++i) {
      const Result<StreamId> id = session.submit_request(head, i % 2 == 0, i);
      if (id) streams_.emplace(*id, Seen::nothing);
    }
  }

  Session session;
  http::RequestHead taken;
  http::Fields trailers;
  std::size_t received = 0;

 private:
  enum class Seen { nothing, head, trailers, end };

  Seen& at(StreamRef ref) {
    const auto found = streams_.find(ref.id);
    CHECK(found != streams_.end());
    return found->second;
  }
  void react(StreamId id) {
    turn_ = turn_ * 7 + 1;
    const std::uint32_t choice = (turn_ >> 3) % 8;
    if (server_ && choice < 4 && answered_.insert({id, true}).second) {
      http::ResponseHead answer;
      if (choice == 3) {
        answer.status = 103;
        session.submit_interim(id, answer);
      }
      answer.status = 200;
      answer.fields.add("x-long", std::string(turn_ % 3 * 9000, 'v'));
      session.submit_response(id, answer, choice != 2);
    }
    if (choice == 4) session.reset_stream(id, ErrorCode::no_error);
    if (choice == 5) session.reset_stream(id, ErrorCode::internal_error);
    if (choice == 6) session.resume_body(id);
    if (turn_ % 97 == 0) session.goaway_notice();
    if (turn_ % 397 == 0) session.goaway_final();
    if (turn_ % 31 == 0) session.ping(turn_);
    if (turn_ % 41 == 0) session.grow_stream_window(id, 100'000);
  }
  static void check(const http::Fields& fields, bool trailers = false) {
    CHECK(fields.size() <= 4096 && fields.list_bytes() <= 256 * 1024);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const http::Field field = fields[i];
      CHECK(!field.name.empty() && !field.name.starts_with(':'));
      CHECK(field.name != "connection" && field.name != "transfer-encoding");
      CHECK(field.name != "host" || trailers);
      CHECK(std::ranges::none_of(field.name, [](char c) { return c >= 'A' && c <= 'Z'; }));
      CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos);
    }
  }

  const bool server_;
  const std::uint8_t habits_;
  std::uint32_t turn_ = 1;
  std::map<StreamId, Seen> streams_;
  std::map<StreamId, bool> answered_;
};

// Follows what the session sends: whole frames of allowed sizes.
class Output {
 public:
  explicit Output(bool magic) : skip_(magic ? 24 : 0) {}

  void append(Bytes bytes) {
    for (const std::uint8_t byte : bytes) {
      if (skip_ > 0) {
        --skip_;
        continue;
      }
      header_[have_++] = byte;
      if (have_ < 9) continue;
      have_ = 0;
      skip_ = (std::size_t{header_[0]} << 16) | (std::size_t{header_[1]} << 8) | header_[2];
      last_type = header_[3];
      CHECK(skip_ <= 16384);
      if (last_type == 0) CHECK(skip_ <= 16375);
      CHECK(last_type <= 9 && last_type != 5);
    }
  }
  bool whole() const { return skip_ == 0 && have_ == 0; }

  std::uint8_t last_type = 0xff;

 private:
  std::size_t skip_;
  std::size_t have_ = 0;
  std::uint8_t header_[9] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t shape = data[0];
  const std::uint8_t habits = data[1];
  const Bytes input(data + 2, size - 2);

  CodecMemory memory;
  SessionOptions options;
  options.memory = &memory;
  options.server = (shape & 1) == 0;
  // Small limits, so that a short input can break them.
  if ((shape & 2) != 0) {
    options.header_fields_max = 8;
    options.header_list_bytes_max = 1024;
    options.max_concurrent_streams = 4;
  }
  Owner owner(options, habits);
  owner.trailers.add("x-trailer", "t");
  Output output(!options.server);
  std::vector<std::uint8_t> batch((shape & 4) != 0 ? 100 : 16384);
  const auto collect = [&] {
    for (int i = 0; i < 64; ++i) {
      const std::size_t n = owner.session.collect(batch);
      if (n == 0) break;
      output.append(Bytes(batch).first(n));
    }
  };

  bool failed = false;
  if ((shape & 8) == 0) {
    static constexpr std::uint8_t settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    if (options.server) {
      failed |= !owner.session.feed(as_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), start);
    }
    failed |= !owner.session.feed(settings, start);
    CHECK(!failed);
  }
  if (!options.server) owner.open(1 + (habits >> 4));
  collect();

  const std::size_t step = (shape & 16) != 0 ? 1 + (shape >> 5) : std::max<std::size_t>(size, 1);
  Instant now = start;
  for (std::size_t at = 0; at < input.size() && !failed; at += step) {
    now += std::chrono::milliseconds(1);
    failed = !owner.session.feed(input.subspan(at, std::min(step, input.size() - at)), now);
    if ((habits & 8) == 0) collect();
  }
  if (failed) CHECK(!owner.session.feed(as_bytes("x"), now));
  for (int i = 0; i < 4; ++i) collect();
  if (failed) {
    CHECK(owner.session.abuse() != AbuseKind::none);
    // What is open when a budget is exceeded can still be answered.
    if (owner.session.abuse() == AbuseKind::protocol || owner.session.open_streams() == 0) {
      CHECK(owner.session.finished());
    }
    if (owner.session.abuse() == AbuseKind::protocol) CHECK(output.last_type == 7);
  }
  if (!owner.session.wants_output()) CHECK(output.whole());
  CHECK(!owner.session.describe().empty());
  return 0;
}
