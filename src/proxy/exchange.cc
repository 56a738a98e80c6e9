// SPDX-License-Identifier: GPL-3.0-or-later
// A request and its response.
#include "exchange.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "answer_verdict.h"
#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"
#include "sluice/observability/log.h"
#include "stream_failure.h"

namespace sluice::proxy {
namespace {

using backend::StreamEnd;
using kubernetes::RequestClass;
using observability::EndedBy;
using What = Deadline::What;

}  // namespace

Exchange::Exchange(ExchangeOwner& owner, Shared& shared)
    : owner_(owner),
      shared_(shared),
      stream_(*this),
      deadline_(shared.parts.reactor.timers(), io::Timer::bind<&Exchange::deadline_passed>(this)),
      upload_(shared.blocks, shared.budget),
      answer_(shared.blocks, shared.budget),
      heads_(shared.budget.heads()) {}

Exchange::~Exchange() {
  CHECK(state_ == State::idle || state_ == State::finished);
  CHECK(client_ == nullptr);
  CHECK(!load_);
}

void Exchange::set_state(State state) {
  if (exchange_transitions.refuse("exchange", state_, state)) [[unlikely]]
    return wrong_transition(state);
  state_ = state;
}

// A mistake of ours. Who uses the proxy meanwhile loses one exchange by it, not all.
void Exchange::wrong_transition(State state) {
  log::error("an exchange is ended by a mistake of this program",
             {{"state", to_string(state_)}, {"next", to_string(state)}});
  shared_.count(metrics().wrong_transitions);
  owner_.exchange_broken(id_);
}

void Exchange::break_off() {
  if (state_ != State::finished) cut(Cut::truncated, EndedBy::local_reply);
}

// ---------------------------------------------------------------- the request

void Exchange::begin(SlotId id, ClientSide& client, ClientStream stream, http::RequestHead&& head) {
  if (state_ == State::finished) set_state(State::idle);
  CHECK(client_ == nullptr);
  CHECK(stream_.state() == backend::BackendStream::State::idle);
  CHECK(!load_);
  CHECK(!deadline_.waits());
  CHECK_EQ(heads_.bytes(), std::size_t{0});
  id_ = id;
  client_ = &client;
  client_stream_ = stream;
  head_ = std::move(head);
  heads_.add(head_.fields.list_bytes());
  upload_.begin(shared_.options, now());
  answer_.begin(shared_.options, now());
  plan_ = {};
  attempts_ = {};
  watch_ = {};
  record_ = {.started = now()};
  if (shared_.parts.access_log != nullptr) {
    record_.wall_started = shared_.parts.reactor.ring().wall_now_exactly();
    record_.client = client.facts().peer;
  }
  set_state(State::waiting);
}

void Exchange::start(bool request_complete) {
  CHECK(client_ != nullptr);
  CHECK(!attempts_.any());
  if (request_complete) upload_.complete(now());
  const auto refused = [this](const Refusal& why) {
    record_.reason = why.why;
    reply(why.reason, make_local_reply(why.code, why.message, 0));
  };
  auto plan = plan_request(head_);
  if (!plan) return refused(plan.error());
  plan_ = std::move(*plan);
  if (shared_.budget.used_up()) {
    return unanswered(ReplyReason::overloaded, Retry::not_executed,
                      "the proxy holds too many bytes for its clients");
  }
  const ProxyParts& parts = shared_.parts;
  const auto planned = plan_identity(
      plan_, head_, client_->facts(), {shared_.options.vouches_for_identity, parts.identity_fields},
      shared_.proofs, client_->last_token(), parts.reactor.ring().wall_now());
  if (!planned) return refused(planned.error());
  if (parts.access_log != nullptr) record_.user = plan_.user;
  if (plan_.identity_fields_dropped > 0) {
    shared_.count(metrics().identity_fields_dropped, plan_.identity_fields_dropped);
  }
  ClientAccount& account = shared_.accounts.open(plan_.client, client_->last_account());
  if (shared_.budget.used_up_by(account) && !is_never_shed(plan_, client_->facts())) {
    return unanswered(ReplyReason::client_overloads, Retry::not_executed,
                      "the proxy holds too many bytes for this client already");
  }
  charge(account);
  if (!request_complete) upload_.body().keep_for_replay(shared_.options.replay_body_bytes);
  arm_deadline();
  send_to_a_backend();
}

// From here on it is known whose it is.
void Exchange::charge(ClientAccount& account) {
  account_ = AccountRef(account);
  heads_.charge(account);
  upload_.body().charge(account);
  answer_.body().charge(account);
}

void Exchange::refuse(int code, ReplyReason reason, std::string_view message) {
  reply(reason, make_local_reply(code, message, 0));
}

void Exchange::arm_deadline() {
  const auto due =
      answer_due(request_class(), upload_.last_byte(), shared_.options.request_timeout);
  if (due) deadline_.set(What::answer, *due);
}

Outcome Exchange::send_to_a_backend() {
  CHECK(!begun());
  CHECK(stream_.state() == backend::BackendStream::State::idle);
  CHECK(!load_);
  backend::BackendSet& backends = shared_.parts.backends;
  backends.warm_up(plan_.pool);
  auto choice =
      shared_.choice.choose(plan_.pool, request_class(), plan_.info, attempts_.tried(), now());
  if (!choice) {
    unanswered(attempts_.last_failure(), Retry::not_executed, "no backend can take the request");
    return Outcome::answered;
  }
  attempts_.begin(choice->backend);
  load_ = std::move(choice->load);
  shared_.count(metrics().requests.at(request_class(), choice->backend));
  CHECK(load_);
  backends.open(stream_, choice->backend, plan_.pool,
                {.has_body = upload_.may_have_body(),
                 .ends_connection = plan_.anonymous,
                 .client = plan_.client,
                 .standing = plan_.standing});
  return Outcome::travels;
}

void Exchange::on_client_body(Bytes bytes) {
  DCHECK(client_ != nullptr);
  record_.bytes_in += bytes.size();
  if (state_ == State::ending || state_ == State::finishing) {
    client_->credit(client_stream_, bytes.size());  // nobody wants the rest
    if (!upload_.ignore(bytes.size(), now()) && upload_may_end()) stop_upload();
    return;
  }
  upload_.append(bytes, now());
  stream_.resume_body();
}

void Exchange::on_client_end() {
  upload_.complete(now());
  if (upload_may_end()) deadline_.cancel();  // it did
  stream_.resume_body();
}

void Exchange::on_client_malformed(std::string_view why) {
  if (begun()) {
    record_.reason = to_string(ReplyReason::malformed);
    return;
  }
  reply(ReplyReason::malformed, make_local_reply(400, why, 0));
}

http::BodyResult Exchange::on_request_body_wanted(MutableBytes room) {
  DCHECK(client_ != nullptr);
  const Upload::Step step = upload_.pull(room, now());
  if (step.credit > 0) client_->credit(client_stream_, step.credit);
  if (step.window > 0) client_->grow_window(client_stream_, step.window);
  return step.sent;
}

// What its backend did not execute may go to one that it has not seen.
bool Exchange::go_elsewhere(ReplayCause cause, std::string_view why) {
  return shared_.choice.another(plan_.pool, attempts_.tried(), attempts_.backend()) &&
         replay(Retry::not_executed, cause, why) != Outcome::impossible;
}

Outcome Exchange::replay(Retry known, ReplayCause cause, std::string_view why) {
  if (begun() || !attempts_.may_go_on(known, request_class(), upload_.body().whole(),
                                      shared_.options.tries_max)) {
    return Outcome::impossible;
  }
  if (!shared_.replays.take(is_suspect(plan_.pool))) {
    shared_.count(metrics().replay_budget_exhausted);
    return Outcome::impossible;
  }
  upload_.body().rewind();
  answer_.forget();
  leave_backend();
  log::debug("replaying a request", {{"why", why}, {"tries", attempts_.count()}});
  set_state(State::waiting);
  const Outcome outcome = send_to_a_backend();
  if (outcome == Outcome::travels) shared_.count(metrics().replays.at(cause));
  return outcome;
}

void Exchange::unanswered(ReplyReason reason, Retry known, std::string_view message) {
  reply(reason, make_unanswered_reply(request_class(), reason, known, message, shared_.random));
}

void Exchange::reply(ReplyReason reason, LocalReply&& reply) {
  CHECK(!begun());
  CHECK(client_ != nullptr);
  shared_.count(metrics().local_replies.at(reason));
  if (record_.reason.empty()) record_.reason = to_string(reason);
  record_.ended_by = EndedBy::local_reply;
  leave_backend();
  CHECK_GE(reply.head.status, 400);
  answer_.become(std::move(reply), head_.method == "HEAD");
  plan_.request_class = RequestClass::short_read;  // whatever it was: this answer is whole
  forward_head();
  answer_complete();
}

void Exchange::leave_backend() {
  stream_.cancel();
  load_.release();
  watch_.rule.source_ended();
}

// ---------------------------------------------------------------- the answer

void Exchange::on_response(http::ResponseHead&& head, bool end_of_stream) {
  if (head.status < 200) return on_interim(std::move(head));
  CHECK(!begun());
  CHECK(load_);
  shared_.parts.cells.observe(metrics().head_seconds,
                              static_cast<std::uint64_t>((now() - record_.started).count()));
  const Verdict verdict = judge_head(head, plan_);
  if (verdict == Verdict::identity_refused) return identity_refused();
  learn_credential(head);
  answer_.take_head(std::move(head), end_of_stream);
  if (verdict == Verdict::hold_back) return set_state(State::judging);
  forward_head();
}

void Exchange::identity_refused() {
  CHECK(vouches(plan_.pool));
  CHECK(attempts_.any());
  shared_.count(metrics().identity_refusals);
  shared_.parts.events.on_identity_refused(attempts_.backend());
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
      if (plan_.standing == backend::Standing::proven && !proofs.any_doubted()) return;
      return proofs.prove(plan_.token, client_->facts().keys.network);
    case TokenVerdict::refused: return proofs.refuse(plan_.token);
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
  // The end of a watch is held back, and with it END_STREAM.
  if (is_established_watch()) answer_.end_later();
  client_->send_response(client_stream_, head, !answer_.head_only());
  if (is_established_watch()) {
    begin_watch();
  } else if (request_class() == RequestClass::long_running_other) {
    load_.settle();
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
  heads_.set(head_.held_bytes() + answer_.held_bytes());
}

void Exchange::on_response_body(Bytes bytes) {
  if (state_ == State::finishing) return;
  DCHECK(answer_.head().status != 0);
  answer_.body().append(bytes);
  if (state_ == State::judging) {
    if (!answer_.too_long_to_judge()) return;
    forward_head();  // longer than any drain answer
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
    stream_.consume(pulled.credit);
    const std::uint32_t window = state_ == State::finishing ? 0 : body.grow_window(now());
    if (window > 0) stream_.grow_window(window);
  }
  if (state_ == State::ending && body.pending() == 0 && watch_may_end()) watch_ended();
  if (state_ != State::finishing || body.pending() > 0) {
    return {pulled.bytes, http::BodyStatus::more};
  }
  answer_handed_over();
  return {pulled.bytes, http::BodyStatus::finished};
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
  load_.release();
  // What came of an upload that nobody wants any more takes up neither memory nor its client's
  // window.
  if (const std::size_t credit = upload_.body().drop()) client_->credit(client_stream_, credit);
  if (answer_.head_only()) answer_handed_over();
  client_->resume_body(client_stream_);
}

void Exchange::judge() {
  CHECK(attempts_.any());
  CHECK_EQ(answer_.body().passed(), std::uint64_t{0});
  if (answer_.is_drain_answer(request_class())) {
    shared_.count(metrics().drain_answers);
    shared_.parts.events.on_drain_answer(attempts_.backend());
    if (go_elsewhere(ReplayCause::drain_answer, "drain answer")) return;
    if (kubernetes::is_watch(request_class())) {
      // A 503 would make a reflector list again; client-go waits and watches again on a 429.
      return unanswered(ReplyReason::no_backend, Retry::not_executed,
                        "all API servers are shutting down");
    }
  }
  forward_head();
  answer_complete();
}

void Exchange::on_stream_ended(const StreamEnd& end) {
  if (state_ == State::finishing) return;
  if (end.cause != StreamEnd::Cause::completed) return backend_failed(end);
  if (state_ == State::judging) return judge();
  if (state_ == State::waiting) {
    return backend_failed(
        {StreamEnd::Cause::reset, Retry::never, "the backend ended its stream without an answer"});
  }
  if (!is_established_watch()) return answer_complete();
  leave_backend();
  end_watch(WatchEnd::backend_ended, watch_.rule.earliest(shared_.options.watch_end));
}

void Exchange::backend_failed(const StreamEnd& end) {
  const StreamFailure failure = explain(end);
  if (begun()) {
    if (is_established_watch()) {
      leave_backend();
      return end_soon(WatchEnd::backend_lost);
    }
    // A truncated answer must not look whole.
    record_.reason = end.context;
    return cut(Cut::truncated, failure.ended_by);
  }
  attempts_.failed(failure.reason);
  if (end.cause == StreamEnd::Cause::refused) attempts_.refused();
  if (replay(end.retry, failure.replay, end.context) != Outcome::impossible) return;
  if (end.cause == StreamEnd::Cause::too_large) {
    log::warning("an answer was not passed on", {{"why", end.context}, {"path", plan_.info.path}});
  }
  unanswered(failure.reason, end.retry, failure.message);
}

// ---------------------------------------------------------------- the end

void Exchange::deadline_passed() {
  switch (deadline_.passed()) {
    case What::answer: CHECK(!begun()); return answer_overdue();
    case What::first_burst: CHECK(state_ == State::forwarding); return look_at_first_burst();
    case What::watch_end: CHECK(state_ == State::ending); return watch_end_due();
    case What::upload_end: CHECK(state_ == State::finishing); return stop_upload();
  }
}

void Exchange::answer_overdue() {
  if (now() < upload_.last_byte() + shared_.options.request_timeout) return arm_deadline();
  unanswered(ReplyReason::timeout,
             upload_.body().untouched() && stream_.state() != backend::BackendStream::State::open
                 ? Retry::not_executed
                 : Retry::never,
             "the API server did not answer in time");
}

// A watch or a log that nobody reads (a pager in front of kubectl) may stand still for as long as
// its reader likes, unless memory is short: an API server would keep it, too.
bool Exchange::look_for_stall() {
  if (!answer_.stands_still(begun(), now(), shared_.options.client_stall_timeout)) return false;
  const bool patient = !kubernetes::has_deadline(request_class());
  if (patient && !shared_.budget.short_of_memory()) return true;
  shared_.count(metrics().stalled_ended.at(patient ? 1 : 0));
  cut(Cut::stalled, EndedBy::client_stalled);
  return false;
}

void Exchange::cut(Cut how, EndedBy ended_by) {
  CHECK(client_ != nullptr);
  record_.ended_by = ended_by;
  client_->cut(client_stream_, how);
  finish();
}

void Exchange::client_gone() {
  if (state_ == State::finished) return;
  if (state_ != State::finishing || answer_.body().pending() > 0) {
    record_.ended_by = EndedBy::client_reset;
  }
  finish();
}

void Exchange::finish() {
  CHECK(client_ != nullptr);  // it ends once
  const ProxyParts& parts = shared_.parts;
  leave_backend();
  deadline_.cancel();
  client_ = nullptr;
  shared_.count(metrics().request_body_bytes, record_.bytes_in);
  shared_.count(metrics().response_body_bytes, answer_.body().passed());
  if (parts.access_log != nullptr) parts.access_log->write(parts.worker, access_record(view()));
  upload_.body().end();
  answer_.body().end();
  heads_.release();
  account_.reset();
  CHECK(stream_.state() == backend::BackendStream::State::idle);
  CHECK(!load_);
  CHECK_EQ(answer_.body().pending(), std::size_t{0});
  CHECK_EQ(upload_.body().pending(), std::size_t{0});
  set_state(State::finished);
  owner_.exchange_finished(id_);
}

ExchangeView Exchange::view() const {
  std::string_view backend;
  if (attempts_.any()) backend = shared_.parts.backends.endpoint(attempts_.backend()).name;
  return {.record = record_,
          .head = head_,
          .plan = plan_,
          .attempts = attempts_,
          .backend = backend,
          .answer = begun() ? &answer_.head() : nullptr,
          .bytes_out = answer_.body().passed(),
          .now = now()};
}

std::size_t Exchange::held_bytes() const {
  return head_.held_bytes() + answer_.held_bytes() + record_.held_bytes();
}

}  // namespace sluice::proxy
