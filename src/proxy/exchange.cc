// SPDX-License-Identifier: GPL-3.0-or-later
// A request and its response.
#include "exchange.h"

#include <string_view>
#include <utility>

#include "admission.h"
#include "holdings.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;
using observability::EndedBy;
using What = Deadline::What;

}  // namespace

Exchange::Exchange(ExchangeOwner& owner, Shared& shared)
    : owner_(owner),
      shared_(shared),
      dispatch_(*this, shared),
      deadline_(shared.parts.reactor.timers(), io::Timer::bind<&Exchange::deadline_passed>(this)),
      upload_(shared.blocks, shared.budget),
      answer_(shared.blocks, shared.budget),
      own_bytes_(shared.budget.requests()),
      own_connection_(shared.budget.own_connections()) {}

Exchange::~Exchange() {
  CHECK(state_ == State::idle || state_ == State::finished);
  CHECK(client_ == nullptr);
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
  shared_.resources.count(Mistake::exchange);
  owner_.exchange_broken(id_);
}

void Exchange::break_off() {
  if (state_ != State::finished) cut(Cut::truncated, EndedBy::local_reply);
}

// ---------------------------------------------------------------- the request

void Exchange::begin(SlotId id, ClientSide& client, ClientStream stream, http::RequestHead&& head) {
  if (state_ == State::finished) set_state(State::idle);
  CHECK(client_ == nullptr);
  CHECK(!deadline_.waits());
  CHECK_EQ(own_bytes_.bytes(), std::size_t{0});
  CHECK(!unanswered_.held());
  id_ = id;
  client_ = &client;
  client_stream_ = stream;
  std::swap(head_, head);  // whoever reads heads gets the memory of the last one
  own_bytes_.add(fixed_bytes() + head_.fields.list_bytes());
  upload_.begin(shared_.options, now());
  answer_.begin(shared_.options, now());
  plan_ = {};
  dispatch_.begin();
  watch_ = {};
  tunnel_ = {};
  record_ = {.started = now()};
  if (shared_.parts.access_log != nullptr) {
    record_.wall_started = shared_.parts.reactor.ring().wall_now_exactly();
    record_.client = client.facts().peer;
    record_.protocol = client.facts().protocol;
  }
  set_state(State::waiting);
}

void Exchange::start(bool request_complete, bool misdirected) {
  CHECK(client_ != nullptr);
  CHECK(!dispatch_.attempts().any());
  if (request_complete) upload_.complete(now());
  if (misdirected) {
    return refuse(421, ReplyReason::misdirected,
                  "the request names another cluster than its connection does");
  }
  auto admitted = admit(plan_, head_, *client_, shared_);
  if (!admitted) {
    record_.reason = admitted.error().why;
    if (admitted.error().account != nullptr) charge(*admitted.error().account);
    return reply(admitted.error().reason, std::move(admitted.error().reply));
  }
  if (plan_.standing == backend::Standing::proven) client_->prove();
  if (shared_.parts.access_log != nullptr) record_.user = plan_.user;
  unanswered_ = std::move(admitted->unanswered);
  tunnel_.lease = std::move(admitted->tunnel);
  charge(*admitted->account);
  if (!request_complete) upload_.body().keep_for_replay(shared_.options.replay_body_bytes);
  arm_deadline();
  const std::optional<Preference> preferred = prefer();
  send_to_a_backend();
  if (preferred) count_preferred(*preferred);
}

// From here on it is known whose it is.
void Exchange::charge(ClientAccount& account) {
  account_ = AccountRef(account);
  own_bytes_.charge(account);
  own_connection_.charge(account);
  upload_.body().charge(account);
  answer_.body().charge(account);
}

// Nothing is known of it but its connection.
void Exchange::charge_connection() {
  const Holdings::Owner owner = owner_of(client_->facts());
  charge(*shared_.accounts.open(owner.client, owner.network, owner.proven).get());
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
  if (shared_.parts.backends.hibernates()) {
    const auto retry_after = static_cast<int>(5 + shared_.random.below(10));
    reply(ReplyReason::hibernates,
          make_local_reply(503, "the cluster has no API servers for now", retry_after));
    return Outcome::answered;
  }
  if (dispatch_.send(plan_, upload_.may_have_body())) return Outcome::travels;
  unanswered(dispatch_.attempts().last_failure(), Retry::not_executed,
             "no backend can take the request");
  return Outcome::answered;
}

void Exchange::on_client_body(Bytes bytes) {
  DCHECK(client_ != nullptr);
  record_.bytes_in += bytes.size();
  if (state_ == State::ending || state_ == State::finishing) {
    client_->credit(client_stream_, bytes.size());  // nobody wants the rest
    if (!upload_.ignore(bytes.size(), now()) && upload_may_end()) stop_upload();
    return;
  }
  if (upload_.is_broken()) return;  // and its window stays as it is
  upload_.append(bytes, now());
  dispatch_.stream().resume_body();
}

void Exchange::on_client_end() {
  upload_.complete(now());
  if (upload_may_end()) deadline_.cancel();  // it did
  dispatch_.stream().resume_body();
}

void Exchange::on_client_malformed(std::string_view why) {
  if (begun()) {
    record_.reason = to_string(ReplyReason::malformed);
    return upload_.break_off();
  }
  reply(ReplyReason::malformed, make_local_reply(400, why, 0));
}

http::BodyResult Exchange::on_request_body_wanted(MutableBytes room) {
  DCHECK(client_ != nullptr);
  const Upload::Step step = upload_.pull(room, now());
  if (step.credit > 0) client_->credit(client_stream_, step.credit);
  if (step.window > 0) client_->grow_window(client_stream_, step.window);
  if (is_tunnel()) {
    count_tunnel(TunnelWay::to_backend, step.sent.bytes);
    weigh_tunnel();
  }
  return step.sent;
}

// What its backend did not execute may go to one that it has not seen.
bool Exchange::go_elsewhere(ReplayCause cause, std::string_view why) {
  // Of an upgrade, what was written once is not written again, whatever came of it.
  if (request_class() == RequestClass::upgrade) return false;
  return dispatch_.another(plan_) && replay(Retry::not_executed, cause, why) != Outcome::impossible;
}

Outcome Exchange::replay(Retry known, ReplayCause cause, std::string_view why) {
  if (begun() || !dispatch_.attempts().may_go_on(known, request_class(), upload_.body().whole(),
                                                 shared_.options.tries_max)) {
    return Outcome::impossible;
  }
  using Share = ReplayBudget::Share;
  const Share share = dispatch_.attempts().moved() ? Share::answered
                      : is_suspect(plan_.pool)     ? Share::suspect
                                                   : Share::honest;
  if (!shared_.replays.take(share)) {
    shared_.count(metrics().replay_budget_exhausted);
    return Outcome::impossible;
  }
  return send_again(cause, why);
}

// What came of it is forgotten.
Outcome Exchange::send_again(ReplayCause cause, std::string_view why) {
  CHECK(!begun());
  if (waits_for_rest()) arm_deadline();  // for whoever answers in its place
  upload_.body().rewind();
  answer_.forget();
  leave_backend();
  log::debug("replaying a request", {{"why", why}, {"tries", dispatch_.attempts().count()}});
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
  // Refusals that nobody reads are held as well.
  if (account_.get() == nullptr) charge_connection();
  unanswered_.release();
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
  dispatch_.leave();
  watch_.rule.source_ended();
}

// ---------------------------------------------------------------- the end

void Exchange::deadline_passed() {
  switch (deadline_.passed()) {
    case What::answer: CHECK(!begun()); return answer_overdue();
    case What::first_event: return forward_held();
    case What::rest: CHECK(state_ == State::judging); return forward_head();
    case What::first_burst: CHECK(state_ == State::forwarding); return look_at_first_burst();
    case What::watch_end: CHECK(state_ == State::ending); return watch_end_due();
    case What::upload_end: CHECK(state_ == State::finishing); return stop_upload();
  }
}

void Exchange::answer_overdue() {
  if (now() < upload_.last_byte() + shared_.options.request_timeout) return arm_deadline();
  dispatch_.given_up(plan_);
  unanswered(ReplyReason::timeout, given_up(), "the API server did not answer in time");
}

Retry Exchange::given_up() const {
  const bool sent = dispatch_.stream().state() == backend::BackendStream::State::open;
  return upload_.body().untouched() && !sent ? Retry::not_executed : Retry::never;
}

std::size_t Exchange::charged_bytes() const {
  return own_bytes_.bytes() + upload_.body().charged_bytes() + answer_.body().charged_bytes() +
         own_connection_.bytes();
}

bool Exchange::may_make_room() const {
  return client_ != nullptr && !is_never_shed(plan_, client_->facts());
}

void Exchange::make_room() {
  record_.reason = "its client holds most of what the proxy may hold";
  shared_.count(metrics().made_room);
  if (begun()) return cut(Cut::stalled, EndedBy::client_stalled);
  unanswered(ReplyReason::overloaded, given_up(), record_.reason);
}

// A watch or a log that nobody reads (a pager in front of kubectl) may stand still for as long as
// its reader likes, unless memory is short: an API server would keep it, too.
bool Exchange::look_for_stall() {
  if (is_tunnel()) weigh_tunnel();
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
  if (state_ == State::tunnel) return tunnel_left();
  if (state_ != State::finishing || answer_.body().pending() > 0) {
    record_.ended_by = EndedBy::client_reset;
  }
  if (owed_by_backend()) dispatch_.given_up(plan_);
  finish();
}

// Neither its client nor we keep the answer from going on.
bool Exchange::owed_by_backend() const {
  if (state_ == State::waiting || state_ == State::judging) return upload_.is_complete();
  const bool list = request_class() == RequestClass::list;
  return state_ == State::forwarding && !list && answer_.body().pending() == 0;
}

void Exchange::finish() {
  CHECK(client_ != nullptr);  // it ends once
  const ProxyParts& parts = shared_.parts;
  if (is_tunnel()) --shared_.tunnels;
  leave_backend();
  deadline_.cancel();
  client_ = nullptr;
  shared_.count(metrics().request_body_bytes, record_.bytes_in);
  shared_.count(metrics().response_body_bytes, answer_.body().passed());
  shared_.governor.charge_bytes(plan_.client, record_.bytes_in + answer_.body().passed());
  if (parts.access_log != nullptr) parts.access_log->write(parts.worker, access_record(view()));
  upload_.body().end();
  answer_.body().end();
  own_bytes_.release();
  own_connection_.release();
  unanswered_.release();
  tunnel_.lease.release();
  account_.reset();
  CHECK(dispatch_.idle());
  CHECK_EQ(answer_.body().pending(), std::size_t{0});
  CHECK_EQ(upload_.body().pending(), std::size_t{0});
  set_state(State::finished);
  owner_.exchange_finished(id_);
}

ExchangeView Exchange::view() const {
  return {.cluster = shared_.parts.cluster,
          .record = record_,
          .head = head_,
          .plan = plan_,
          .attempts = dispatch_.attempts(),
          .backend = dispatch_.backend_name(),
          .answer = begun() ? &answer_.head() : nullptr,
          .bytes_out = answer_.body().passed(),
          .now = now()};
}

std::size_t Exchange::held_bytes() const {
  return head_.held_bytes() + answer_.held_bytes() + record_.held_bytes();
}

}  // namespace sluice::proxy
