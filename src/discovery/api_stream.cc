// SPDX-License-Identifier: GPL-3.0-or-later
// A connection, a session, one stream.
#include "api_stream.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::discovery {

ApiStream::~ApiStream() { CHECK(connection_ == nullptr); }

void ApiStream::get(const Server& server, http::RequestHead head) {
  CHECK(!busy_ && !stopping_);
  const bool same =
      server.address == server_.address && server.name == server_.name && server.tls == server_.tls;
  server_ = server;
  head_ = std::move(head);
  stream_ = 0;
  busy_ = true;
  heard_last_ = transport_.reactor().now();
  if (connection_ == nullptr) return open();
  // One that is on its way out makes room first: on_closed opens the next.
  if (!same || leaving_) return leave();
  if (connection_->established()) submit();
}

void ApiStream::open() {
  leaving_ = false;
  connection_ = std::make_unique<net::Connection>(transport_, *this);
  http2::SessionOptions options;
  options.server = false;
  http2_ = std::make_unique<http2::Session>(*this, options, transport_.reactor().now());
  connection_->connect(server_.address, server_.tls, server_.name);
}

void ApiStream::submit() {
  const auto id = http2_->submit_request(head_, false, 1);
  if (!id) return leave();
  stream_ = *id;
  connection_->mark_dirty();
}

void ApiStream::leave() {
  leaving_ = true;
  if (connection_ != nullptr) connection_->terminate();
}

void ApiStream::over(Result<void> how) {
  if (!std::exchange(busy_, false)) return;
  stream_ = 0;
  handler_.on_over(std::move(how));
}

void ApiStream::give_up() {
  busy_ = false;
  stream_ = 0;
  leave();
}

void ApiStream::ping() {
  if (http2_ == nullptr || leaving_ || !connection_->established()) return;
  http2_->ping(0);
  connection_->mark_dirty();
}

void ApiStream::terminate() {
  stopping_ = true;
  give_up();
}

void ApiStream::on_established() {
  heard_last_ = transport_.reactor().now();
  connection_->mark_dirty();
  if (busy_) submit();
}

void ApiStream::on_receive(Bytes plain) {
  heard_last_ = transport_.reactor().now();
  if (leaving_ && !busy_) return;
  if (const auto fed = http2_->feed(plain, heard_last_); !fed) {
    leave();
    return over(std::unexpected(fed.error()));
  }
  if (http2_->wants_output()) connection_->mark_dirty();
}

std::size_t ApiStream::on_collect(MutableBytes batch) { return http2_->collect(batch); }

void ApiStream::on_end(const Error& error) {
  leaving_ = true;
  over(std::unexpected(error));
}

void ApiStream::on_closed() {
  http2_.reset();
  connection_.reset();
  if (busy_ && !stopping_) open();
}

void ApiStream::on_response(http2::StreamRef ref, http::ResponseHead&& head, bool) {
  if (ref.id == stream_ && head.status >= 200) handler_.on_status(head.status);
}

void ApiStream::on_data(http2::StreamRef ref, Bytes bytes) {
  http2_->consume(ref.id, bytes.size());
  if (ref.id != stream_ || !busy_) return;
  if (!handler_.on_body(as_text(bytes))) give_up();
}

void ApiStream::on_end_of_stream(http2::StreamRef ref) {
  if (ref.id == stream_) over({});
}

void ApiStream::on_stream_closed(http2::StreamRef ref, http2::ErrorCode, bool) {
  if (ref.id != stream_) return;
  over(fail(ErrorKind::reset, "the request was reset", Side::backend));
}

void ApiStream::on_output_ready() {
  if (connection_ != nullptr) connection_->mark_dirty();
}

}  // namespace sluice::discovery
