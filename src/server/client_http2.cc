// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 on a client's connection.
#include "client_http2.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "outline.h"
#include "sluice/base/check.h"

namespace sluice::server {
namespace {

// A stream of a connection by its number.
proxy::ClientStream name_of(http2::StreamId id) { return proxy::ClientStream{id}; }
http2::StreamId id_of(proxy::ClientStream stream) { return static_cast<http2::StreamId>(stream); }

}  // namespace

ClientHttp2::ClientHttp2(ClientProtocolOwner& owner, proxy::Proxy& proxy,
                         const proxy::ClientFacts& facts, const http2::SessionOptions& options,
                         metrics::Cells& cells, const ClientMetrics& metrics, Instant now)
    : owner_(owner),
      proxy_(proxy),
      facts_(facts),
      cells_(cells),
      metrics_(metrics),
      session_(*this, options, now),
      head_since_(now) {}

Result<void> ClientHttp2::receive(Bytes plain, Instant now) {
  auto fed = session_.feed(plain, now);
  watch_head(now);
  if (session_.can_go_on()) owner_.input_due();
  return fed;
}

// A head must be whole within its time, whatever else the connection does meanwhile.
void ClientHttp2::watch_head(Instant now) {
  if (!session_.settings_received()) return;
  if (!session_.receiving_head()) {
    head_since_.reset();
  } else if (!head_since_ || head_number_ != session_.heads_begun()) {
    head_since_ = now;
    head_number_ = session_.heads_begun();
  }
}

void ClientHttp2::plan_ends(const proxy::EndWindow& window) {
  for (const http2::StreamRef ref : session_.streams()) {
    proxy_.plan_end(SlotId::unpacked(ref.tag), window);
  }
}

void ClientHttp2::describe(Outline& outline) const {
  outline.add(2, session_.describe());
  for (const http2::StreamRef ref : session_.streams()) {
    if (outline.full()) return;
    outline.add(2, fmt::format("stream {} {}", ref.id, proxy_.describe(SlotId::unpacked(ref.tag))));
  }
}

// With NO_ERROR clients try again at once.
void ClientHttp2::say_last_word(std::string_view refusal) {
  session_.goaway_final(
      refusal.empty() ? http2::ErrorCode::no_error : http2::ErrorCode::enhance_your_calm, refusal);
}

void ClientHttp2::abandon() {
  requests_ = 0;
  for (const http2::StreamRef ref : session_.streams()) {
    proxy_.client_gone(SlotId::unpacked(ref.tag));
  }
}

std::string_view ClientHttp2::give_up() {
  if (broken()) cells_.add(metrics_.abuse.at(session_.abuse()));
  return to_string(session_.abuse());
}

// Another one says nothing more while the last is on its way, or the client answers none.
void ClientHttp2::ask_for_sign() {
  if (!std::exchange(asked_, true)) session_.ping(0);
}

// ---------------------------------------------------------------- from the session

void ClientHttp2::add(http2::StreamRef ref, SlotId exchange) {
  CHECK_EQ(ref.tag, std::uint64_t{0});  // a stream has one exchange
  CHECK_NE(exchange.packed(), std::uint64_t{0});
  session_.set_tag(ref.id, exchange.packed());
  ++requests_;
  cells_.add(metrics_.requests.at(Protocol::h2));
}

void ClientHttp2::on_request(http2::StreamRef ref, http::RequestHead&& head, bool end_of_stream) {
  owner_.request_begins();
  const bool misdirected = owner_.misdirected(head.authority);
  add(ref, proxy_.start(*this, name_of(ref.id), std::move(head), end_of_stream, misdirected));
}

void ClientHttp2::on_head_too_large(http2::StreamRef ref, http::RequestHead&& line) {
  add(ref, proxy_.refuse(*this, name_of(ref.id), std::move(line), 431,
                         proxy::ReplyReason::head_too_large,
                         "the request has too many header fields, or too large ones"));
}

void ClientHttp2::on_malformed(http2::StreamRef ref, http::RequestHead&& head,
                               std::string_view why) {
  const std::string message = "the request is malformed: " + std::string(why);
  if (ref.tag != 0) return proxy_.client_malformed(SlotId::unpacked(ref.tag), message);
  add(ref, proxy_.refuse(*this, name_of(ref.id), std::move(head), 400,
                         proxy::ReplyReason::malformed, message));
}

void ClientHttp2::on_data(http2::StreamRef ref, Bytes bytes) {
  if (!proxy_.client_body(SlotId::unpacked(ref.tag), bytes)) session_.consume(ref.id, bytes.size());
}

void ClientHttp2::on_end_of_stream(http2::StreamRef ref) {
  proxy_.client_end(SlotId::unpacked(ref.tag));
}

void ClientHttp2::on_stream_closed(http2::StreamRef ref, http2::ErrorCode, bool) {
  if (ref.tag != 0 && requests_ > 0) --requests_;
  proxy_.client_gone(SlotId::unpacked(ref.tag));
  if (requests_ == 0) owner_.requests_over();
}

http::BodyResult ClientHttp2::on_body_wanted(http2::StreamRef ref, MutableBytes room) {
  DCHECK(ref.tag != 0);
  return proxy_.client_body_wanted(SlotId::unpacked(ref.tag), room);
}

const http::Fields* ClientHttp2::on_trailers_wanted(http2::StreamRef ref) {
  return proxy_.trailers(SlotId::unpacked(ref.tag));
}

// ---------------------------------------------------------------- from the exchanges

void ClientHttp2::send_interim(proxy::ClientStream stream, const http::ResponseHead& head) {
  session_.submit_interim(id_of(stream), head);
  owner_.output_ready();
}

void ClientHttp2::send_response(proxy::ClientStream stream, const http::ResponseHead& head,
                                bool has_body) {
  session_.submit_response(id_of(stream), head, has_body);
  owner_.output_ready();
}

void ClientHttp2::resume_body(proxy::ClientStream stream) {
  session_.resume_body(id_of(stream));
  owner_.output_ready();
}

void ClientHttp2::credit(proxy::ClientStream stream, std::size_t bytes) {
  session_.consume(id_of(stream), bytes);
  if (session_.wants_output()) owner_.output_ready();
}

void ClientHttp2::grow_window(proxy::ClientStream stream, std::uint32_t bytes) {
  session_.grow_stream_window(id_of(stream), bytes);
  if (session_.wants_output()) owner_.output_ready();
}

void ClientHttp2::cut(proxy::ClientStream stream, proxy::Cut how) {
  reset(stream, how == proxy::Cut::stalled ? http2::ErrorCode::enhance_your_calm
                                           : http2::ErrorCode::internal_error);
}

void ClientHttp2::stop_upload(proxy::ClientStream stream) {
  reset(stream, http2::ErrorCode::no_error);
}

void ClientHttp2::reset(proxy::ClientStream stream, http2::ErrorCode code) {
  session_.reset_stream(id_of(stream), code);
  owner_.output_ready();
}

}  // namespace sluice::server
