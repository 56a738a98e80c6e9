// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 by the project's own codec, which others than the proxy's tests hold to the standard.
#include "client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sluice/base/check.h"

namespace sluice::attack {
namespace {

// What is written ahead of the socket.
constexpr std::size_t unsent_bytes_max = 256 * 1024;

}  // namespace

Client::Client(Loop& loop, const Destination& destination, Handler& handler)
    : handler_(handler), call_(loop, destination, *this) {
  ended_ = call_.ended();
}

bool Client::can_ask() const {
  return !ended_ && session_ && session_->settings_received() && session_->can_open_stream();
}

void Client::ask(const Request& request, std::uint64_t tag) {
  http::RequestHead head;
  head.method = request.method;
  head.scheme = "https";
  head.authority = "kubernetes";
  head.path = request.path;
  if (!request.token.empty()) head.fields.add("authorization", "Bearer " + request.token);
  if (!request.body.empty()) {
    head.fields.add("content-type", "application/json");
    head.fields.add("content-length", std::to_string(request.body.size()));
  }
  const auto id = session_->submit_request(head, !request.body.empty(), tag);
  CHECK(id.has_value());  // can_ask()
  Stream& stream = streams_[*id];
  stream.tag = tag;
  stream.body = request.body;
  stream.reads = request.reads;
}

void Client::reset(std::uint64_t tag) {
  const auto found = std::ranges::find_if(
      streams_, [tag](const auto& stream) { return stream.second.tag == tag; });
  if (found == streams_.end() || ended_) return;
  session_->reset_stream(found->first, http2::ErrorCode::cancel);
}

void Client::flush() {
  if (ended_ || !session_) return;
  std::array<std::uint8_t, 16384> batch;
  while (call_.unsent_bytes() < unsent_bytes_max) {
    const std::size_t bytes = session_->collect(batch);
    if (bytes == 0) break;
    call_.send(as_text(Bytes(batch).first(bytes)));
  }
  call_.flush();
}

void Client::on_established() {
  http2::SessionOptions options;
  options.server = false;
  options.stream_window_bytes = 1024 * 1024;
  options.connection_window_bytes = 64 * 1024 * 1024;
  session_.emplace(*this, options, Instant{Clock::now().time_since_epoch()});
  flush();
}

void Client::on_plain(Bytes bytes) {
  if (ended_) return;
  const auto fed = session_->feed(bytes, Instant{Clock::now().time_since_epoch()});
  if (!fed) return on_end("HTTP/2: " + fed.error().context);
  flush();
}

void Client::on_end(std::string_view why) {
  if (ended_) return;
  ended_ = true;
  why_ = why;
  for (auto& [id, stream] : streams_) {
    Outcome& outcome = stream.outcome;
    if (!outcome.whole) outcome.why = fmt::format("connection: {}", why);
    handler_.on_outcome(stream.tag, outcome);
  }
  streams_.clear();
}

void Client::on_response(http2::StreamRef ref, http::ResponseHead&& head, bool) {
  const auto found = streams_.find(ref.id);
  if (found == streams_.end() || head.status < 200) return;
  found->second.outcome.status = head.status;
  handler_.on_head(ref.tag, head.status);
}

void Client::on_data(http2::StreamRef ref, Bytes data) {
  const auto found = streams_.find(ref.id);
  if (found == streams_.end() || found->second.reads) session_->consume(ref.id, data.size());
  if (found != streams_.end()) handler_.on_bytes(ref.tag);
}

void Client::on_end_of_stream(http2::StreamRef ref) {
  const auto found = streams_.find(ref.id);
  if (found != streams_.end()) found->second.outcome.whole = true;
}

void Client::on_stream_closed(http2::StreamRef ref, http2::ErrorCode code, bool) {
  const auto found = streams_.find(ref.id);
  if (found == streams_.end()) return;
  const Stream stream = std::move(found->second);
  streams_.erase(found);
  Outcome outcome = stream.outcome;
  if (!outcome.whole) {
    outcome.why = fmt::format("RST_STREAM {}", static_cast<std::uint32_t>(code));
    outcome.not_executed = code == http2::ErrorCode::refused_stream;
  }
  handler_.on_outcome(stream.tag, outcome);
}

http2::BodyResult Client::on_body_wanted(http2::StreamRef ref, MutableBytes room) {
  Stream& stream = streams_.at(ref.id);
  const std::size_t bytes = std::min(stream.body.size() - stream.sent, room.size());
  std::memcpy(room.data(), stream.body.data() + stream.sent, bytes);
  stream.sent += bytes;
  return {bytes, stream.sent == stream.body.size() ? http2::BodyStatus::finished
                                                   : http2::BodyStatus::more};
}

}  // namespace sluice::attack
