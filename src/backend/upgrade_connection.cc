// SPDX-License-Identifier: GPL-3.0-or-later
// One request's own connection.
#include "upgrade_connection.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::backend {

UpgradeConnection::UpgradeConnection(UpgradeOwner& owner, const UpgradeParts& parts)
    : owner_(owner),
      parts_(parts),
      connection_(parts.transport, *this),
      upgrade_(*this, parts.options.heads) {}

UpgradeConnection::~UpgradeConnection() {
  CHECK(state_ == State::ending);
  CHECK(stream_ == nullptr);
}

void UpgradeConnection::set_state(State state) {
  if (transitions.refuse("upgrade connection", state_, state)) [[unlikely]] {
    log::error("a backend connection is ended by a mistake of this program",
               {{"backend", name()},
                {"state", static_cast<int>(state_)},
                {"next", static_cast<int>(state)}});
    connection_.transport().count_wrong_transition();
    return connection_.terminate();
  }
  state_ = state;
}

void UpgradeConnection::open(BackendStream& stream) {
  CHECK(stream_ == nullptr);
  stream_ = &stream;
  stream.open_on(*this);
  connection_.connect(parts_.endpoint.address, parts_.context, parts_.endpoint.server_name);
}

void UpgradeConnection::terminate() { connection_.terminate(); }

// The stream is nobody's from here on; what is left of the connection ends.
BackendStream& UpgradeConnection::leave_stream() {
  CHECK(stream_ != nullptr);
  const bool connecting = state_ == State::connecting;
  set_state(State::ending);
  if (connecting) owner_.connect_over(nullptr);
  return *std::exchange(stream_, nullptr);
}

void UpgradeConnection::cancel(BackendStream& stream) {
  CHECK(&stream == stream_);
  leave_stream().let_go();
  connection_.terminate();
}

void UpgradeConnection::conclude(BackendStream& stream, bool in_order) {
  CHECK(&stream == stream_);
  leave_stream().let_go();
  if (!in_order) connection_.end_output(false);
  connection_.close();
}

std::size_t UpgradeConnection::held_bytes(const BackendStream&) const {
  return connection_.held_bytes();
}

void UpgradeConnection::consume(BackendStream& stream, std::size_t bytes) {
  DCHECK(&stream == stream_);
  CHECK_LE(bytes, ahead_bytes_);
  ahead_bytes_ -= bytes;
  // Not with every few bytes: to stop and to go on cost something.
  if (connection_.receiving_paused() && ahead_bytes_ <= parts_.options.window_bytes / 2) {
    connection_.resume_receiving();
  }
}

void UpgradeConnection::resume_body(BackendStream& stream) {
  DCHECK(&stream == stream_);
  upgrade_.resume_body();
  if (upgrade_.wants_output()) connection_.mark_dirty();
}

// ---------------------------------------------------------------- from the connection

void UpgradeConnection::on_established() {
  if (stream_ == nullptr) return;
  // Who does not know ALPN speaks HTTP/1.1.
  const std::string_view agreed = connection_.engine()->alpn();
  if (!agreed.empty() && agreed != "http/1.1") {
    lose({ErrorKind::protocol, Side::backend, Retry::not_executed,
          name() + " does not speak HTTP/1.1"});
    return connection_.terminate();
  }
  set_state(State::carrying);
  owner_.connect_over(nullptr);
  if (!upgrade_.begin(stream_->handler().request_head(), stream_->carriage().has_body)) {
    leave_stream().end({StreamEnd::Cause::reset, Retry::never,
                        "the request cannot be written without a doubt about what it says"});
    return connection_.close();
  }
  connection_.watch_peer();
  connection_.receive_in_pieces();
  connection_.hear_out();
  connection_.mark_dirty();
}

void UpgradeConnection::on_receive(Bytes plain) {
  if (state_ != State::carrying) return;
  if (const auto fed = upgrade_.feed(plain); !fed) {
    Error error = fed.error();
    error.context = name() + " sent " + error.context;
    lose(error);
    return connection_.terminate();
  }
  look_for_end();
}

std::size_t UpgradeConnection::on_collect(MutableBytes batch) {
  if (state_ != State::carrying) return 0;
  const std::size_t bytes = upgrade_.collect(batch);
  if (upgrade_.output() == http1::Upgrade::Output::ended) {
    connection_.end_output(upgrade_.ended_in_order());
    if (bytes == 0) look_for_end();
  }
  return bytes;
}

bool UpgradeConnection::on_peer_ended(bool in_order) {
  if (state_ != State::carrying) return false;
  if (const auto ended = upgrade_.peer_ended(in_order); !ended) {
    lose({ErrorKind::closed, Side::backend, Retry::never,
          name() + " sent " + ended.error().context});
    return false;
  }
  look_for_end();
  return true;
}

void UpgradeConnection::on_end(const Error& error) { lose(error); }

void UpgradeConnection::on_closed() {
  if (state_ != State::ending) {
    lose({ErrorKind::closed, Side::self, Retry::never, "the connection was closed"});
  }
  owner_.connection_closed(*this);  // destroys this
}

// Its request is not finished. A byte of it that was written may have been executed.
void UpgradeConnection::lose(const Error& error) {
  if (state_ == State::ending) return;
  const bool connecting = state_ == State::connecting;
  const bool written = upgrade_.written();
  set_state(State::ending);
  BackendStream& stream = *std::exchange(stream_, nullptr);
  if (connecting) {
    owner_.connect_over(&error);
  } else {
    owner_.connection_lost(error);
  }
  StreamEnd end{StreamEnd::Cause::connection_lost, Retry::never, error.context};
  if (!written) {
    end = {StreamEnd::Cause::not_connected, Retry::not_executed, error.context};
  } else if (error.kind == ErrorKind::limit) {
    end.cause = StreamEnd::Cause::too_large;
  } else if (error.kind == ErrorKind::protocol) {
    end.cause = StreamEnd::Cause::reset;
  }
  stream.end(end);
}

void UpgradeConnection::look_for_end() {
  if (state_ != State::carrying || !upgrade_.over()) return;
  // What it still sends, nobody wants; and what it was sent, is on its way.
  connection_.close();
  leave_stream().end({StreamEnd::Cause::completed, Retry::never, {}});
}

// ---------------------------------------------------------------- from the upgrade

void UpgradeConnection::on_interim(http::ResponseHead&& head) {
  if (stream_ != nullptr) stream_->handler().on_response(std::move(head), false);
}

void UpgradeConnection::on_answer(http::ResponseHead&& head, bool end) {
  if (stream_ == nullptr) return;
  stream_->carriage().answered = true;
  stream_->handler().on_response(std::move(head), end);
  connection_.mark_dirty();
}

void UpgradeConnection::on_data(Bytes bytes) {
  if (stream_ == nullptr) return;
  ahead_bytes_ += bytes.size();
  if (ahead_bytes_ >= parts_.options.window_bytes) connection_.pause_receiving();
  stream_->handler().on_response_body(bytes);
}

// That the stream is over is told when both directions are.
void UpgradeConnection::on_end(bool in_order) {
  using Output = http1::Upgrade::Output;
  const bool tunnel = upgrade_.output() == Output::tunnel || upgrade_.output() == Output::ended;
  if (stream_ != nullptr && tunnel) stream_->handler().on_tunnel_half_ended(in_order);
}

http::BodyResult UpgradeConnection::on_body_wanted(MutableBytes room) {
  if (stream_ == nullptr) return {0, http::BodyStatus::more};
  return stream_->handler().on_request_body_wanted(room);
}

}  // namespace sluice::backend
