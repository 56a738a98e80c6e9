// SPDX-License-Identifier: GPL-3.0-or-later
// An exchange that is a tunnel: bytes both ways, until each direction has ended.
#include <utility>

#include "answer_verdict.h"
#include "exchange.h"
#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"

namespace sluice::proxy {
namespace {

using backend::StreamEnd;
using http::BodyStatus;
using kubernetes::RequestClass;
using observability::EndedBy;

constexpr int switching_protocols = 101;

}  // namespace

bool Exchange::switches(const http::ResponseHead& head) const {
  return head.status == switching_protocols && request_class() == RequestClass::upgrade &&
         state_ == State::waiting;
}

bool Exchange::is_tunnel() const { return answer_.head().status == switching_protocols; }

void Exchange::count_tunnel(TunnelWay way, std::size_t bytes) {
  shared_.count(metrics().tunnel_bytes.at(way), bytes);
}

// What a slow backend has not taken is held for the client, too.
void Exchange::weigh_tunnel() { own_connection_.set(dispatch_.stream().held_bytes()); }

// Whoever carries the request gives nobody a 101 before all of it has left.
void Exchange::begin_tunnel(http::ResponseHead&& head) {
  CHECK(client_ != nullptr);
  CHECK(dispatch_.counted());
  shared_.parts.cells.observe(metrics().head_seconds,
                              static_cast<std::uint64_t>((now() - record_.started).count()));
  unanswered_.release();
  learn_credential(head);
  answer_.take_head(std::move(head), false);
  deadline_.cancel();
  upload_.begin_tunnel();
  record_.protocol = "tunnel";
  ++shared_.tunnels;
  set_state(State::tunnel);
  shared_.count(metrics().responses.at(0));
  http::remove_connection_fields(answer_.head().fields);
  client_->send_response(client_stream_, answer_.head(), true);
  client_->be_patient(client_stream_);
  dispatch_.settle();
  forget_heads();
}

void Exchange::on_client_tunnel_end(bool in_order) {
  if (state_ != State::tunnel) return on_client_end();
  upload_.end_tunnel(in_order, now());
  dispatch_.stream().resume_body();
}

void Exchange::on_tunnel_half_ended(bool in_order) {
  CHECK(state_ == State::tunnel);
  tunnel_.answer_end = in_order ? BodyStatus::finished : BodyStatus::cut;
  client_->resume_body(client_stream_);
}

// Both directions are over, or the backend is gone: what it had said is passed on, and behind it an
// end that nobody has said: API servers reset what is still sent to them behind their last word,
// which is an exit code.
void Exchange::tunnel_stream_ended(const StreamEnd& end) {
  CHECK(state_ == State::tunnel);
  if (tunnel_.answer_end == BodyStatus::more) {
    record_.reason = end.context;
    record_.ended_by = EndedBy::backend_lost;
    tunnel_.answer_end = BodyStatus::cut;
  }
  end_answer();
}

void Exchange::end_answer() {
  answer_complete();
  if (tunnel_.answered) answer_handed_over();
}

// Concluded when nothing is left to be said in either direction.
void Exchange::tunnel_left() {
  const bool said = upload_.is_complete() && upload_.body().pending() == 0;
  if (said && tunnel_.answered) {
    dispatch_.conclude(upload_.is_in_order());
  } else {
    record_.ended_by = EndedBy::client_reset;
  }
  finish();
}

void Exchange::end_tunnel() {
  if (state_ != State::tunnel) return;
  record_.ended_by = EndedBy::drain;
  dispatch_.conclude(true);
  if (tunnel_.answer_end == BodyStatus::more) tunnel_.answer_end = BodyStatus::finished;
  end_answer();
}

}  // namespace sluice::proxy
