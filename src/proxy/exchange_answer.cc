// SPDX-License-Identifier: GPL-3.0-or-later
// The answer of an exchange: what its head says of the backend, and its way to the client.
#include <algorithm>
#include <utility>

#include "answer_verdict.h"
#include "exchange.h"
#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"
#include "sluice/kubernetes/answering_server.h"
#include "sluice/observability/log.h"
#include "stream_failure.h"

namespace sluice::proxy {
namespace {

using backend::StreamEnd;
using kubernetes::RequestClass;
using observability::EndedBy;
using What = Deadline::What;

// The rest of a short answer comes with its head, as good as always.
constexpr Duration rest_wait = std::chrono::milliseconds(200);
// An API server's timeoutSeconds begins before its head has come here.
constexpr Duration timeout_slack = std::chrono::milliseconds(200);

}  // namespace

void Exchange::on_response(http::ResponseHead&& head, bool end_of_stream) {
  if (switches(head)) return begin_tunnel(std::move(head));
  if (head.status < 200) return on_interim(std::move(head));
  CHECK(!begun());
  CHECK(dispatch_.counted());
  shared_.parts.cells.observe(metrics().head_seconds,
                              static_cast<std::uint64_t>((now() - record_.started).count()));
  unanswered_.release();
  const Verdict verdict = judge_head(head, plan_, head.status == 404 && others_by_version() != 0);
  if (verdict == Verdict::identity_refused) return identity_refused();
  if (verdict == Verdict::forward) {
    dispatch_.answer_began(plan_, head, upload_.is_complete() ? upload_.last_byte() : now());
  }
  learn_credential(head);
  answer_.take_head(std::move(head), end_of_stream);
  if (verdict == Verdict::hold_back) return set_state(State::judging);
  if (!end_of_stream && may_be_brief(answer_.head(), plan_)) {
    set_state(State::judging);
    return deadline_.set(What::rest, now() + rest_wait);
  }
  if (may_lack_history()) return hold_watch();
  forward_head();
}

void Exchange::identity_refused() {
  CHECK(vouches(plan_.pool));
  CHECK(dispatch_.attempts().any());
  shared_.count(metrics().identity_refusals);
  shared_.parts.events.on_identity_refused(dispatch_.attempts().backend());
  if (go_elsewhere(ReplayCause::identity_refused, "identity refused")) return;
  unanswered(ReplyReason::identity_refused, Retry::not_executed,
             "no API server takes the identity that this gateway vouches for");
}

// 101 does not exist in HTTP/2 (RFC 9113 section 8.6); the others are passed on.
void Exchange::on_interim(http::ResponseHead&& head) {
  if (!answer_.take_interim(head)) {
    return backend_failed(
        {StreamEnd::Cause::reset, Retry::never, "the backend sends interim answers without end"});
  }
  if (head.status == 101 || begun()) return;
  http::remove_connection_fields(head.fields);
  client_->send_interim(client_stream_, head);
}

void Exchange::learn_credential(const http::ResponseHead& head) {
  TokenProofs& proofs = shared_.proofs;
  switch (judge_token(head, head_.method, plan_)) {
    case TokenVerdict::proven:
      client_->prove();
      client_->last_token().note_proof();
      if (plan_.standing == backend::Standing::proven && !proofs.any_doubted()) return;
      if (const std::uint64_t network = client_->facts().keys.network;
          proofs.prove(plan_.token, network)) {
        shared_.parts.events.on_token_change({plan_.token, network, true});
      }
      return;
    case TokenVerdict::refused:
      if (proofs.refuse(plan_.token)) shared_.parts.events.on_token_change({plan_.token});
      return;
    case TokenVerdict::nothing: return;
  }
}

void Exchange::forward_head() {
  CHECK(client_ != nullptr);
  CHECK_GE(answer_.head().status, 200);
  set_state(State::forwarding);
  deadline_.cancel();  // --request-timeout: the answer has begun
  upload_.body().release();
  http::ResponseHead& head = answer_.head();
  http::remove_connection_fields(head.fields);
  shared_.count(metrics().responses.at(std::clamp(head.status / 100, 1, 5) - 1));
  remember_source();
  // The end of a watch is held back, and with it END_STREAM.
  if (is_established_watch()) answer_.end_later();
  client_->send_response(client_stream_, head, !answer_.head_only());
  if (!kubernetes::has_deadline(request_class()) && head.status < 300) {
    client_->be_patient(client_stream_);
  }
  if (is_established_watch()) {
    begin_watch();
  } else if (request_class() == RequestClass::long_running_other) {
    dispatch_.settle();
  }
  forget_heads();
}

// From here on nothing is sent again, and the log wants little. Who asks for much and takes no
// answer makes us hold no more than that.
void Exchange::forget_heads() {
  head_.fields.keep_only("user-agent", told_bytes_max);
  if (head_.path.size() > told_path_bytes_max) {
    plan_.info.detach();
    head_.path.resize(told_path_bytes_max);
    head_.path.shrink_to_fit();
  }
  answer_.forget_head(told_bytes_max);
  own_bytes_.set(fixed_bytes() + held_bytes());
}

void Exchange::on_response_body(Bytes bytes) {
  if (state_ == State::finishing) return;
  DCHECK(answer_.head().status != 0);
  answer_.body().append(bytes);
  if (state_ == State::holding) return look_at_first_event();
  if (state_ == State::judging) {
    // Behind a whole window nothing comes before some of it has left.
    const std::size_t held_max =
        std::min<std::size_t>(brief_bytes_max, shared_.options.stream_window_bytes - 1);
    if (answer_.body().pending() <= held_max) return;
    forward_head();
  }
  client_->resume_body(client_stream_);
}

void Exchange::on_response_trailers(http::Fields&& trailers) {
  answer_.take_trailers(std::move(trailers));
}

http::BodyResult Exchange::on_client_body_wanted(MutableBytes room) {
  DCHECK(client_ != nullptr);
  BodyFlow& body = answer_.body();
  const BodyFlow::Pulled pulled = body.pull(room);
  if (pulled.bytes > 0) {
    watch_.rule.on_bytes(pulled.bytes, now());
    dispatch_.stream().consume(pulled.credit);
    if (is_tunnel()) count_tunnel(TunnelWay::to_client, pulled.bytes);
    const bool grows = state_ != State::finishing && state_ != State::tunnel;
    const std::uint32_t window = grows ? body.grow_window(now()) : 0;
    if (window > 0) dispatch_.stream().grow_window(window);
  }
  if (state_ == State::ending && body.pending() == 0 && watch_may_end()) watch_ended();
  if (state_ == State::tunnel && body.pending() == 0) {
    tunnel_.answered = tunnel_.answer_end != http::BodyStatus::more;
    return {pulled.bytes, tunnel_.answer_end};
  }
  if (state_ != State::finishing || body.pending() > 0) {
    return {pulled.bytes, http::BodyStatus::more};
  }
  answer_handed_over();
  const bool cut = tunnel_.answer_end == http::BodyStatus::cut;
  return {pulled.bytes, cut ? http::BodyStatus::cut : http::BodyStatus::finished};
}

// All of the answer lies in the client's session.
void Exchange::answer_handed_over() {
  CHECK_EQ(answer_.body().pending(), std::size_t{0});
  if (upload_.is_complete()) return;
  upload_.answer_is_out();
  deadline_.set(What::upload_end, now() + Upload::end_wait);
}

// The answer is whole; the rest of the upload is not needed (RFC 9113 section 8.1).
void Exchange::stop_upload() {
  CHECK(!upload_.is_complete());
  deadline_.cancel();
  client_->stop_upload(client_stream_);
}

void Exchange::answer_complete() {
  deadline_.cancel();
  set_state(State::finishing);
  dispatch_.answered(plan_, answer_.body().passed() + answer_.body().pending() <= brief_bytes_max);
  // What came of an upload that nobody wants any more takes up neither memory nor its client's
  // window.
  if (const std::size_t credit = upload_.body().drop()) client_->credit(client_stream_, credit);
  if (answer_.head_only()) answer_handed_over();
  client_->resume_body(client_stream_);
}

// It was held back, and is whole.
void Exchange::judge() {
  CHECK(dispatch_.attempts().any());
  CHECK_EQ(answer_.body().passed(), std::uint64_t{0});
  const bool telling = answer_.head().status >= 400 && answer_.body().pending() <= judged_bytes_max;
  switch (telling ? judge_whole(answer_.head(), answer_.body().peek(), plan_) : Finding::nothing) {
    case Finding::nothing: break;
    case Finding::draining:
      if (leave_draining()) return;
      break;
    case Finding::stale:
      if (leave_stale()) return;
      break;
    case Finding::unknown_path:
      if (move(ReplayCause::unknown_path, others_by_version())) return;
      break;
    case Finding::initializing:
      if (move(ReplayCause::initializing, ~balance::BackendMask{0})) return;
      break;
  }
  forward_head();
  answer_complete();
}

// False: its answer is the client's.
bool Exchange::leave_draining() {
  shared_.count(metrics().drain_answers);
  // Where another server may have made the answer it is worth a replay and a probe, and no more.
  if (!kubernetes::may_be_answered_by_another(plan_.info)) {
    shared_.choice.note_drain(dispatch_.attempts().backend(), now());
  }
  shared_.parts.events.on_drain_answer(dispatch_.attempts().backend());
  if (go_elsewhere(ReplayCause::drain_answer, "drain answer")) return true;
  if (!kubernetes::is_watch(request_class())) return false;
  // A 503 would make a reflector list again; client-go waits and watches again on a 429.
  unanswered(ReplyReason::no_backend, Retry::not_executed, "all API servers are shutting down");
  return true;
}

void Exchange::on_stream_ended(const StreamEnd& end) {
  if (state_ == State::finishing) return;
  if (state_ == State::tunnel) return tunnel_stream_ended(end);
  if (state_ == State::holding) forward_held();
  if (end.cause != StreamEnd::Cause::completed) return backend_failed(end);
  if (state_ == State::judging) return judge();
  if (state_ == State::waiting) {
    return backend_failed(
        {StreamEnd::Cause::reset, Retry::never, "the backend ended its stream without an answer"});
  }
  if (!is_established_watch()) return answer_complete();
  leave_backend();
  const std::optional<std::int64_t>& asked = plan_.info.timeout_seconds;
  const double lasted = to_seconds(watch_.rule.age(now()) + timeout_slack);
  if (asked && *asked > 0 && lasted >= static_cast<double>(*asked)) watch_.rule.ended_as_asked();
  end_watch(WatchEnd::backend_ended, watch_.rule.earliest(shared_.options.watch_end));
}

void Exchange::backend_failed(const StreamEnd& end) {
  const StreamFailure failure = explain(end);
  const bool lost = end.cause == StreamEnd::Cause::connection_lost;
  if (begun()) {
    // Who watches from nothing, and has not been shown everything yet, would never know.
    if (is_established_watch() && !watch_.rule.lacks_objects()) {
      leave_backend();
      return end_soon(WatchEnd::backend_lost);
    }
    // A truncated answer must not look whole.
    record_.reason = end.context;
    return cut(Cut::truncated, failure.ended_by);
  }
  dispatch_.attempts().failed(failure.reason);
  if (lost) dispatch_.lost(plan_);
  if (end.cause == StreamEnd::Cause::refused) dispatch_.attempts().refused();
  // Its head came, and its client knows nothing of that.
  const bool headed = state_ == State::judging;
  const Retry known = headed ? Retry::never : end.retry;
  const Retry may_be_sent = headed && lost ? Retry::idempotent : known;
  if (replay(may_be_sent, failure.replay, end.context) != Outcome::impossible) return;
  if (end.cause == StreamEnd::Cause::too_large) {
    log::warning("an answer was not passed on", {{"why", end.context}, {"path", plan_.info.path}});
  }
  unanswered(failure.reason, known, failure.message);
}

}  // namespace sluice::proxy
