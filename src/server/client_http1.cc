// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/1.1 on a client's connection.
#include "client_http1.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "outline.h"
#include "sluice/base/check.h"

namespace sluice::server {
namespace {

using http1::Refusal;
using http1::RequestId;
using proxy::ReplyReason;

proxy::ClientStream name_of(RequestId id) { return proxy::ClientStream{id}; }
RequestId id_of(proxy::ClientStream stream) { return static_cast<RequestId>(stream); }

http1::SessionOptions options_of(const http2::SessionOptions& limits) {
  return {.header_fields_max = limits.header_fields_max,
          .header_list_bytes_max = limits.header_list_bytes_max,
          .window_bytes = limits.stream_window_bytes};
}

constexpr int switching_protocols = 101;

// Of whom HTTP/1.0 names nobody: HTTP/2 must name somebody.
constexpr std::string_view nameless_authority = "kubernetes";

ReplyReason reason_of(Refusal why) {
  switch (why) {
    case Refusal::method:
    case Refusal::connect: return ReplyReason::bad_method;
    case Refusal::head_too_large: return ReplyReason::head_too_large;
    default: return ReplyReason::malformed;
  }
}

std::string message_of(Refusal why) {
  return "the request is refused: " + std::string(http1::sentence(why));
}

}  // namespace

ClientHttp1::ClientHttp1(ClientProtocolOwner& owner, proxy::Proxy& proxy,
                         const proxy::ClientFacts& facts, const http2::SessionOptions& limits,
                         metrics::Cells& cells, const ClientMetrics& metrics, Instant now)
    : owner_(owner),
      proxy_(proxy),
      facts_(facts),
      cells_(cells),
      metrics_(metrics),
      session_(*this, options_of(limits)),
      head_since_(now) {}

Result<void> ClientHttp1::receive(Bytes plain, Instant now) {
  session_.feed(plain);
  watch_head(now);
  go_on();
  return {};
}

std::size_t ClientHttp1::collect(MutableBytes batch) {
  const std::size_t bytes = session_.collect(batch);
  go_on();
  return bytes;
}

// What is held is looked at outside of whatever has made that possible: an exchange may be in the
// middle of something.
void ClientHttp1::go_on() {
  if (session_.can_go_on()) owner_.input_due();
}

// A head must be whole within its time; the first one, within that of the connection.
void ClientHttp1::watch_head(Instant now) {
  if (session_.receiving_head()) {
    const RequestId number = session_.last_request() + 1;
    if (!head_since_ || head_number_ != number) head_since_ = now;
    head_number_ = number;
  } else if (session_.last_request() > 0) {
    head_since_.reset();
  }
}

void ClientHttp1::plan_ends(const proxy::EndWindow& window) {
  if (open_) proxy_.plan_end(exchange_, window);
}

void ClientHttp1::describe(Outline& outline) const {
  outline.add(2, session_.describe());
  if (!open_) return;
  outline.add(2, fmt::format("request {} {}", session_.last_request(), proxy_.describe(exchange_)));
}

void ClientHttp1::abandon() {
  if (std::exchange(open_, false)) proxy_.client_gone(exchange_);
}

// ---------------------------------------------------------------- from the session

void ClientHttp1::begin(SlotId exchange) {
  CHECK(!open_);
  exchange_ = exchange;
  open_ = true;
  cells_.add(metrics_.requests.at(Protocol::http1));
}

void ClientHttp1::on_request(const http1::Request& request, http::RequestHead&& head) {
  owner_.request_begins();
  const bool misdirected = owner_.misdirected(head.authority);
  if (head.authority.empty()) head.authority = nameless_authority;
  if (!head.protocol.empty()) owner_.may_switch();
  begin(proxy_.start(*this, name_of(request.id), std::move(head), request.end_of_stream,
                     misdirected));
}

void ClientHttp1::on_head_too_large(RequestId id, http::RequestHead&& head) {
  on_malformed(id, std::move(head), Refusal::head_too_large);
}

void ClientHttp1::on_malformed(RequestId id, http::RequestHead&& head, Refusal why) {
  cells_.add(metrics_.http1_refused.at(why));
  if (open_) return proxy_.client_malformed(exchange_, message_of(why));
  begin(proxy_.refuse(*this, name_of(id), std::move(head), http1::status_of(why), reason_of(why),
                      message_of(why)));
}

void ClientHttp1::on_data(RequestId id, Bytes bytes) {
  if (!proxy_.client_body(exchange_, bytes)) session_.consume(id, bytes.size());
}

void ClientHttp1::on_end_of_stream(RequestId) { proxy_.client_end(exchange_); }

void ClientHttp1::on_tunnel_ended(RequestId, bool in_order) {
  proxy_.client_tunnel_end(exchange_, in_order);
}

void ClientHttp1::on_closed(RequestId, bool) {
  if (!open_) return;  // abandoned
  open_ = false;
  proxy_.client_gone(exchange_);
  owner_.requests_over();
}

http::BodyResult ClientHttp1::on_body_wanted(RequestId, MutableBytes room) {
  return proxy_.client_body_wanted(exchange_, room);
}

// ---------------------------------------------------------------- from the exchange

void ClientHttp1::send_interim(proxy::ClientStream stream, const http::ResponseHead& head) {
  session_.submit_interim(id_of(stream), head);
  owner_.output_ready();
}

void ClientHttp1::send_response(proxy::ClientStream stream, const http::ResponseHead& head,
                                bool has_body) {
  session_.submit_response(id_of(stream), head, has_body);
  if (head.status == switching_protocols) {
    switched_ = true;
    cells_.add(metrics_.requests.at(Protocol::tunnel));
    owner_.switched();
    go_on();
  }
  owner_.output_ready();
}

void ClientHttp1::resume_body(proxy::ClientStream stream) {
  session_.resume_body(id_of(stream));
  owner_.output_ready();
}

void ClientHttp1::credit(proxy::ClientStream stream, std::size_t bytes) {
  session_.consume(id_of(stream), bytes);
  go_on();
}

void ClientHttp1::grow_window(proxy::ClientStream stream, std::uint32_t bytes) {
  session_.grow_window(id_of(stream), bytes);
  go_on();
}

void ClientHttp1::cut(proxy::ClientStream stream, proxy::Cut) {
  session_.cut(id_of(stream));
  owner_.output_ready();
}

void ClientHttp1::stop_upload(proxy::ClientStream stream) {
  session_.stop_upload(id_of(stream));
  owner_.output_ready();
}

}  // namespace sluice::server
