// SPDX-License-Identifier: GPL-3.0-or-later
// One probe at a time over HTTP/2.
#include "probe_connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::backend {
namespace {
constexpr std::size_t answer_bytes_max = 64 * 1024;
constexpr std::size_t date_bytes_max = 64;
}  // namespace

ProbeConnection::ProbeConnection(net::Transport& transport, const Endpoint& endpoint,
                                 std::shared_ptr<const tls::ClientContext> context)
    : transport_(transport),
      endpoint_(endpoint),
      context_(std::move(context)),
      timer_(io::Timer::bind<&ProbeConnection::timed_out>(this)) {}

ProbeConnection::~ProbeConnection() { CHECK(connection_ == nullptr); }

void ProbeConnection::use(std::shared_ptr<const tls::ClientContext> context) {
  if (context_ == context) return;
  context_ = std::move(context);
  if (connection_ == nullptr) return;
  if (busy()) return close_after();
  leaving_ = true;
  connection_->close();
}

void ProbeConnection::request(http::RequestHead head, std::string body, Duration timeout, Done done,
                              OnBody on_body) {
  CHECK(!busy());
  head_ = std::move(head);
  body_ = std::move(body);
  body_sent_ = 0;
  stream_ = 0;
  answer_ = {};
  done_ = std::move(done);
  on_body_ = std::move(on_body);
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), timeout);
  if (connection_ == nullptr) return open();
  // A connection that is on its way out makes room first: on_closed opens the next.
  if (leaving_ || http2_ == nullptr) return;
  if (connection_->established()) submit();
}

void ProbeConnection::open() {
  leaving_ = false;
  connection_ = std::make_unique<net::Connection>(transport_, *this);
  http2::SessionOptions options;
  options.server = false;
  http2_ = std::make_unique<http2::Session>(*this, options, transport_.reactor().now());
  connection_->connect(endpoint_.address, context_, endpoint_.server_name);
}

void ProbeConnection::submit() {
  const auto id = http2_->submit_request(head_, !body_.empty(), 1);
  if (!id) {
    leaving_ = true;
    connection_->terminate();
    return;
  }
  stream_ = *id;
  connection_->mark_dirty();
}

void ProbeConnection::finish(Result<ProbeAnswer> answer) {
  timer_.cancel();
  if (close_after_ && connection_ != nullptr) {
    leaving_ = true;
    connection_->close();
  }
  close_after_ = false;
  if (done_) std::exchange(done_, nullptr)(std::move(answer));
}

void ProbeConnection::timed_out() {
  leaving_ = true;
  if (connection_ != nullptr) connection_->terminate();
  finish(fail(ErrorKind::timeout, "no answer in time", Side::backend));
}

void ProbeConnection::terminate() {
  stopping_ = true;
  timer_.cancel();
  done_ = nullptr;
  if (connection_ != nullptr) connection_->terminate();
}

void ProbeConnection::on_established() {
  connection_->mark_dirty();
  if (busy()) submit();
}

void ProbeConnection::on_receive(Bytes plain) {
  if (const auto fed = http2_->feed(plain, transport_.reactor().now()); !fed) {
    leaving_ = true;
    connection_->close();
    return finish(std::unexpected(fed.error()));
  }
  if (http2_->wants_output()) connection_->mark_dirty();
  if (leaving_ && !busy()) connection_->close();
}

std::size_t ProbeConnection::on_collect(MutableBytes batch) { return http2_->collect(batch); }

void ProbeConnection::on_end(const Error& error) {
  leaving_ = true;
  if (busy()) finish(std::unexpected(error));
}

void ProbeConnection::on_closed() {
  http2_.reset();
  connection_.reset();
  if (busy() && !stopping_) open();
}

void ProbeConnection::on_response(http2::StreamRef, http::ResponseHead&& head, bool) {
  answer_.status = head.status;
  answer_.date = head.fields.find("date").value_or("").substr(0, date_bytes_max);
}

void ProbeConnection::on_data(http2::StreamRef ref, Bytes bytes) {
  if (on_body_ && ref.id == stream_ && busy() && !on_body_(as_text(bytes))) return;
  http2_->consume(ref.id, bytes.size());
  if (on_body_) return;
  if (answer_.body.size() + bytes.size() <= answer_bytes_max) answer_.body.append(as_text(bytes));
}

void ProbeConnection::on_end_of_stream(http2::StreamRef ref) {
  if (ref.id == stream_) finish(std::move(answer_));
}

void ProbeConnection::on_stream_closed(http2::StreamRef ref, http2::ErrorCode, bool) {
  if (ref.id != stream_ || !busy()) return;
  finish(fail(ErrorKind::reset, "the stream of the probe was reset", Side::backend));
}

http2::BodyResult ProbeConnection::on_body_wanted(http2::StreamRef, MutableBytes room) {
  const std::size_t n = std::min(room.size(), body_.size() - body_sent_);
  std::memcpy(room.data(), body_.data() + body_sent_, n);
  body_sent_ += n;
  return {n, body_sent_ == body_.size() ? http2::BodyStatus::finished : http2::BodyStatus::more};
}

void ProbeConnection::on_output_ready() {
  if (connection_ != nullptr) connection_->mark_dirty();
}

}  // namespace sluice::backend
