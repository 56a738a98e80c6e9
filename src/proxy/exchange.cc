// SPDX-License-Identifier: GPL-3.0-or-later
// A request and its response.
#include "sluice/proxy/exchange.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"
#include "sluice/kubernetes/drain_answer.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

using backend::PoolKind;
using backend::StreamEnd;
using kubernetes::RequestClass;
using observability::EndedBy;

// The annotation of the bookmark that ends the initial events of a watch-list, in JSON and in
// protobuf alike (k8s.io/apimachinery pkg/apis/meta/v1 InitialEventsAnnotationKey).
constexpr std::string_view initial_events_end = "k8s.io/initial-events-end";

// How long a compressed watch-list counts as work; what a few thousand objects take.
constexpr Duration encoded_initial_events = std::chrono::seconds(3);

// How often a request may be refused (GOAWAY, REFUSED_STREAM) before that counts as a try.
constexpr std::uint32_t refusals_max = 10;

// What a client must take within --client-stall-timeout of what waits for it, in bytes.
constexpr std::uint64_t progress_bytes_min = 1024;

// Interim heads (1xx) of one exchange, each counted with what it takes to queue it. They are not
// flow-controlled: without an end they would pile up before a client that does not read.
constexpr std::size_t interim_bytes_max = 64 * 1024;
constexpr std::size_t interim_overhead = 1024;

// Reasons of ProxyMetrics::replays.
enum ReplayCause : std::uint8_t {
  not_executed,
  lost_before_answer,
  drain_answer,
  identity_refused
};

balance::RequestClass balance_class(RequestClass request_class) {
  switch (request_class) {
    case RequestClass::short_read: return balance::RequestClass::read;
    case RequestClass::short_write: return balance::RequestClass::write;
    case RequestClass::list: return balance::RequestClass::list;
    case RequestClass::watch: return balance::RequestClass::watch;
    case RequestClass::watch_list: return balance::RequestClass::watch_list;
    case RequestClass::long_running_other: return balance::RequestClass::long_running;
  }
  return balance::RequestClass::read;
}

// Every request that passed API Priority and Fairness carries its UIDs in the answer
// (k8s.io/apiserver pkg/server/filters/priority-and-fairness.go): an answer without them comes from
// a filter before it.
bool passed_flow_control(const http::ResponseHead& head) {
  return head.fields.contains("x-kubernetes-pf-flowschema-uid") ||
         head.fields.contains("x-kubernetes-pf-prioritylevel-uid");
}

}  // namespace

Exchange::Exchange(Proxy& proxy)
    : proxy_(proxy),
      stream_(*this),
      request_body_(proxy.blocks_),
      response_body_(proxy.blocks_),
      timer_(io::Timer::bind<&Exchange::timer_fired>(this)) {}

Exchange::~Exchange() { CHECK(state_ == State::idle || state_ == State::finished); }

// Back to `idle`, keeping memory that is warm.
void Exchange::reuse() {
  CHECK(state_ == State::finished);
  CHECK(client_ == nullptr);
  state_ = State::idle;
  id_ = {};
  client_stream_ = 0;
  stream_.cancel(http2::ErrorCode::cancel);
  load_.release();
  head_.clear();
  info_ = {};
  bearer_ = anonymous_ = false;
  refusals_ = 0;
  interim_bytes_ = 0;
  request_complete_ = false;
  request_body_.clear();
  credited_ = 0;
  backend_ = SIZE_MAX;
  tried_ = 0;
  tries_ = 0;
  response_.clear();
  trailers_.clear();
  response_body_.clear();
  head_forwarded_ = answer_complete_ = false;
  initial_events_ = false;
  marker_tail_.clear();
  bytes_in_ = bytes_out_ = progress_bytes_ = 0;
  ended_by_ = EndedBy::completed;
  reason_.clear();
  user_.clear();
  timer_.cancel();
}

void Exchange::set_state(State state) {
  DCHECK(state_ != State::finished);
  state_ = state;
}

// ---------------------------------------------------------------- the request

void Exchange::start(ClientSide& client, http2::StreamId stream, http::RequestHead&& head,
                     bool end_of_stream) {
  CHECK(state_ == State::idle);
  client_ = &client;
  client_stream_ = stream;
  head_ = std::move(head);
  request_complete_ = end_of_stream;
  head_bytes_ = head_.fields.list_bytes();
  proxy_.head_bytes_ += head_bytes_;
  started_ = last_forwarded_ = progress_since_ = now();
  request_window_.begin(proxy_.options_.stream_window_bytes, started_);
  response_window_.begin(proxy_.options_.stream_window_bytes, started_);
  if (proxy_.parts_.access_log != nullptr) {
    wall_started_ = std::chrono::system_clock::now();
    client_address_ = client.facts().peer;
  }
  set_state(State::waiting);
  if (!admit() || !identify()) return;
  rewrite();
  if (!request_complete_) request_body_.retain();
  if (kubernetes::has_deadline(class_) && proxy_.options_.request_timeout > Duration::zero()) {
    proxy_.parts_.reactor.timers().set(timer_, started_ + proxy_.options_.request_timeout);
  }
  send_to_a_backend();
}

void Exchange::refuse(ClientSide& client, http2::StreamId stream, int code, ReplyReason reason,
                      std::string_view message) {
  client_ = &client;
  client_stream_ = stream;
  started_ = last_forwarded_ = progress_since_ = now();
  set_state(State::waiting);
  reply(reason, make_local_reply(code, message, 0));
}

bool Exchange::admit() {
  if (const auto path = kubernetes::check_path(head_.path); !path) {
    reply(ReplyReason::bad_path, make_local_reply(400, path.error().context, 0));
    return false;
  }
  if (head_.method == "CONNECT") {
    reply(ReplyReason::bad_method, make_local_reply(405, "CONNECT is not served here", 0));
    return false;
  }
  info_ = kubernetes::parse_request_info(head_.method, head_.path);
  class_ = kubernetes::classify(info_);
  if (kubernetes::is_watch(class_)) client_->set_urgent(client_stream_);
  // Only a watch that asks for it gets the bookmark that ends its initial events.
  initial_events_ = info_.is_watch() && info_.send_initial_events == true;
  if (proxy_.committed_bytes() > proxy_.options_.body_bytes_per_worker) {
    unanswered(ReplyReason::overloaded, Retry::not_executed,
               "the proxy holds too many bytes for its clients");
    return false;
  }
  return true;
}

// Decides for whom the request travels, and with that on which kind of connection.
bool Exchange::identify() {
  const ClientFacts& facts = client_->facts();
  // A certificate that has expired on a live connection is no identity any more, as at an API
  // server, which verifies it on every request.
  const bool identified = proxy_.options_.vouches_for_identity && facts.identity.has_value() &&
                          proxy_.parts_.reactor.ring().wall_now() <= facts.identity_not_after;
  http::remove_connection_fields(head_.fields);
  const kubernetes::Credential credential = kubernetes::classify_credential(head_.fields);
  bearer_ = credential.kind == kubernetes::CredentialKind::bearer;
  anonymous_ = !identified && credential.kind == kubernetes::CredentialKind::none;
  if (identified) {
    bearer_ = false;
    kind_ =
        kubernetes::is_anonymous(*facts.identity) ? PoolKind::suspect_identity : PoolKind::identity;
    user_ = facts.identity->user;
  } else if (bearer_) {
    token_ = proxy_.proofs_.hash(credential.token);
    kind_ = proxy_.proofs_.proven(token_) ? PoolKind::bearer : PoolKind::suspect;
  } else {
    kind_ = PoolKind::suspect;
    const bool presented =
        facts.identity.has_value() || facts.why_not != kubernetes::NoIdentity::no_certificate;
    if (presented && credential.kind == kubernetes::CredentialKind::none) {
      // An API server that saw this certificate would not take the request for an anonymous one.
      const kubernetes::NoIdentity why =
          facts.identity ? kubernetes::NoIdentity::expired : facts.why_not;
      reason_ = kubernetes::to_string(why);
      reply(ReplyReason::unauthenticated, make_local_reply(401, "Unauthorized", 0));
      return false;
    }
  }
  const kubernetes::Sanitized dropped =
      proxy_.parts_.identity_fields.sanitize(head_.fields, identified);
  if (dropped.identity_fields > 0) {
    proxy_.parts_.cells.add(proxy_.parts_.metrics.identity_fields_dropped, dropped.identity_fields);
  }
  return true;
}

void Exchange::rewrite() {
  const ClientFacts& facts = client_->facts();
  kubernetes::IdentityFields::append_forwarded_for(facts.address, head_.fields);
  if (vouches(kind_)) proxy_.parts_.identity_fields.append(*facts.identity, head_.fields);
}

bool Exchange::send_to_a_backend() {
  DCHECK(state_ == State::waiting);
  backend::BackendSet& backends = proxy_.parts_.backends;
  backends.warm_up(kind_);
  const std::uint64_t usable = backends.usable(kind_, proxy_.parts_.board.draining());
  const balance::RequestClass request = balance_class(class_);
  const auto picked =
      proxy_.picker_.pick(proxy_.load_.view(now()), usable, request, proxy_.random_, tried_);
  if (!picked || (tried_ & balance::mask_of(*picked)) != 0) {
    unanswered(tries_ == 0 ? ReplyReason::no_backend : ReplyReason::backend_lost,
               Retry::not_executed, "no backend can take the request");
    return false;
  }
  backend_ = *picked;
  tried_ |= balance::mask_of(backend_);
  ++tries_;
  const balance::CostQuestion question{request, info_.api_group, info_.resource,
                                       info_.namespace_name};
  load_ = proxy_.load_.assign(backend_, request, proxy_.estimate_.units(question));
  proxy_.parts_.cells.add(proxy_.parts_.metrics.requests.at(class_, backend_));
  backends.pool(backend_, kind_)
      ->open(stream_, !request_complete_ || request_body_.appended() > 0, anonymous_);
  return true;
}

void Exchange::on_client_body(Bytes bytes) {
  bytes_in_ += bytes.size();
  if (state_ == State::ending || state_ == State::finishing || answer_complete_) {
    client_->consume(client_stream_, bytes.size());  // nobody wants the rest
    return;
  }
  request_body_.append(bytes);
  if (request_body_.retained()) {
    proxy_.retained_bytes_ += bytes.size();
    if (request_body_.appended() > proxy_.options_.replay_body_bytes ||
        proxy_.retained_bytes_ > proxy_.options_.replay_body_bytes_per_worker) {
      proxy_.retained_bytes_ -= request_body_.appended();
      request_body_.release();
    }
  }
  stream_.resume_body();
}

void Exchange::on_client_end() {
  request_complete_ = true;
  stream_.resume_body();
}

http2::BodyResult Exchange::on_request_body_wanted(MutableBytes room) {
  const std::size_t bytes = request_body_.pull(room);
  const std::uint64_t pulled = request_body_.pulled();
  if (pulled > credited_) {
    // A replayed body was credited the first time.
    if (client_ != nullptr) client_->consume(client_stream_, pulled - credited_);
    credited_ = pulled;
    if (!request_complete_ && request_body_.pending() == 0 && request_window_.due(pulled, now()) &&
        client_ != nullptr && proxy_.lend(request_window_)) {
      client_->grow_window(client_stream_, request_window_.window());
    }
  }
  const bool finished = request_complete_ && request_body_.pending() == 0;
  return {bytes, finished ? http2::BodyStatus::finished : http2::BodyStatus::more};
}

// A backend that was not tried yet.
bool Exchange::another_backend() const {
  const std::uint64_t usable = proxy_.parts_.backends.usable(
      kind_, proxy_.parts_.board.draining() | balance::mask_of(backend_));
  return (usable & ~tried_) != 0;
}

// Whether the request now travels to another backend; if not, it may have been answered instead
// (head_forwarded_). `retry` says what is known of its execution.
bool Exchange::replay(Retry retry, std::string_view why) {
  if (retry == Retry::never || head_forwarded_) return false;
  if (retry == Retry::idempotent && !kubernetes::may_replay_when_lost(class_)) return false;
  const bool body_is_whole = request_body_.pulled() == 0 || request_body_.retained();
  if (!body_is_whole || tries_ >= proxy_.options_.tries_max ||
      !proxy_.take_replay_token(is_suspect(kind_))) {
    return false;
  }
  if (request_body_.retained()) request_body_.rewind();
  response_.clear();
  response_body_.clear();
  stream_.cancel(http2::ErrorCode::cancel);
  load_.release();
  log::debug("replaying a request", {{"why", why}, {"tries", tries_}});
  set_state(State::waiting);
  return send_to_a_backend();
}

void Exchange::unanswered(ReplyReason reason, Retry retry, std::string_view message) {
  reply(reason, make_unanswered_reply(class_, reason, retry, message, proxy_.random_));
}

void Exchange::reply(ReplyReason reason, LocalReply&& reply) {
  DCHECK(!head_forwarded_);
  proxy_.parts_.cells.add(proxy_.parts_.metrics.local_replies.at(reason));
  if (reason_.empty()) reason_ = to_string(reason);
  ended_by_ = EndedBy::local_reply;
  stream_.cancel(http2::ErrorCode::cancel);
  load_.release();
  response_ = std::move(reply.head);
  response_body_.clear();
  response_body_.append(as_bytes(reply.body));
  class_ = RequestClass::short_read;  // whatever it was: this answer is whole
  initial_events_ = false;
  forward_head();
  answer_complete();
}

// ---------------------------------------------------------------- the response

bool Exchange::identity_was_refused(const http::ResponseHead& head) const {
  return vouches(kind_) && head.status == 401 && !passed_flow_control(head) &&
         (class_ != RequestClass::long_running_other);
}

void Exchange::learn_credential(int status) {
  if (!bearer_) return;
  if (status == 401) {
    proxy_.proofs_.drop(token_);
  } else if (kind_ == PoolKind::suspect && status != 429 && status < 500) {
    // Only an answer from behind authentication proves anything.
    proxy_.proofs_.add(token_);
  }
}

void Exchange::on_response(http::ResponseHead&& head, bool) {
  if (head.status < 200) {
    interim_bytes_ += head.fields.list_bytes() + interim_overhead;
    if (interim_bytes_ > interim_bytes_max) {
      return backend_failed({StreamEnd::Cause::reset, http2::ErrorCode::enhance_your_calm,
                             Retry::never, "the backend sends interim answers without end"});
    }
    // 101 does not exist in HTTP/2 (RFC 9113 section 8.6); the others are passed on.
    if (head.status != 101 && client_ != nullptr && !head_forwarded_) {
      http::remove_connection_fields(head.fields);
      client_->send_interim(client_stream_, head);
    }
    return;
  }
  proxy_.parts_.cells.observe(proxy_.parts_.metrics.head_seconds,
                              static_cast<std::uint64_t>((now() - started_).count()));
  if (identity_was_refused(head)) {
    proxy_.parts_.cells.add(proxy_.parts_.metrics.identity_refusals);
    proxy_.parts_.events.on_identity_refused(backend_);
    if (another_backend() && replay(Retry::not_executed, "identity refused")) {
      proxy_.parts_.cells.add(proxy_.parts_.metrics.replays.at(ReplayCause::identity_refused));
      return;
    }
    if (head_forwarded_) return;
    return unanswered(ReplyReason::identity_refused, Retry::not_executed,
                      "no API server takes the identity that this gateway vouches for");
  }
  learn_credential(head.status);
  response_ = std::move(head);
  if (kubernetes::may_be_drain_answer(response_, class_)) {
    set_state(State::judging);
    return;
  }
  forward_head();
}

void Exchange::forward_head() {
  head_forwarded_ = true;
  set_state(State::forwarding);
  if (request_body_.retained()) {
    proxy_.retained_bytes_ -= request_body_.appended();
    request_body_.release();
  }
  http::remove_connection_fields(response_.fields);
  // A resumed watch has cost what it costs to start; from here on it only counts as open.
  if (!kubernetes::has_deadline(class_) && !initial_events_) load_.settle();
  last_forwarded_ = now();
  if (initial_events_ && response_.fields.contains("content-encoding")) {
    // The mark of the end cannot be seen. Such a watch ends like any other, and is taken to have
    // cost what it costs to start after a while.
    initial_events_ = false;
    proxy_.parts_.reactor.timers().set(timer_, last_forwarded_ + encoded_initial_events);
  }
  proxy_.parts_.cells.add(
      proxy_.parts_.metrics.responses.at(std::clamp(response_.status / 100, 1, 5) - 1));
  client_->send_response(client_stream_, response_, true);
}

void Exchange::on_response_body(Bytes bytes) {
  if (state_ == State::judging) {
    response_body_.append(bytes);
    if (response_body_.pending() > kubernetes::drain_answer_bytes_max) {
      forward_head();  // longer than any drain answer
      client_->resume_body(client_stream_);
    }
    return;
  }
  forward_body(bytes);
}

void Exchange::forward_body(Bytes bytes) {
  if (client_ == nullptr) return;
  if (initial_events_) watch_for_initial_events_end(bytes);
  response_body_.append(bytes);
  client_->resume_body(client_stream_);
}

void Exchange::watch_for_initial_events_end(Bytes bytes) {
  const std::size_t keep = initial_events_end.size() - 1;
  std::string seam = marker_tail_;
  seam.append(as_text(bytes.first(std::min(bytes.size(), keep))));
  if (seam.find(initial_events_end) == std::string::npos &&
      memmem(bytes.data(), bytes.size(), initial_events_end.data(), initial_events_end.size()) ==
          nullptr) {
    marker_tail_ = bytes.size() >= keep ? std::string(as_text(bytes.last(keep)))
                                        : seam.substr(seam.size() - std::min(seam.size(), keep));
    return;
  }
  initial_events_ = false;
  marker_tail_.clear();
  load_.settle();
}

void Exchange::on_response_trailers(http::Fields&& trailers) { trailers_ = std::move(trailers); }

http2::BodyResult Exchange::on_client_body_wanted(MutableBytes room) {
  if (state_ == State::finished) return {0, http2::BodyStatus::finished};
  const std::size_t bytes = response_body_.pull(room);
  if (bytes > 0) {
    bytes_out_ += bytes;
    last_forwarded_ = now();
    stream_.consume(bytes);
    if (!answer_complete_ && response_body_.pending() == 0 &&
        response_window_.due(bytes_out_, now()) && proxy_.lend(response_window_)) {
      stream_.grow_window(response_window_.window());
    }
  }
  if (!answer_complete_ || response_body_.pending() > 0) return {bytes, http2::BodyStatus::more};
  if (!request_complete_) {
    // The answer is whole; the rest of the upload is not needed (RFC 9113 section 8.1).
    client_->reset(client_stream_, http2::ErrorCode::no_error);
  }
  return {bytes, http2::BodyStatus::finished};
}

bool Exchange::is_established_watch() const {
  return kubernetes::is_watch(class_) && head_forwarded_ && response_.status == 200;
}

void Exchange::answer_complete() {
  answer_complete_ = true;
  timer_.cancel();
  if (state_ != State::finishing) set_state(State::finishing);
  load_.release();
  if (client_ != nullptr) client_->resume_body(client_stream_);
}

void Exchange::judge() {
  std::string body(response_body_.pending(), '\0');
  MutableBytes room(reinterpret_cast<std::uint8_t*>(body.data()), body.size());
  response_body_.pull(room);
  if (kubernetes::is_drain_answer(response_, body, class_)) {
    proxy_.parts_.cells.add(proxy_.parts_.metrics.drain_answers);
    proxy_.parts_.events.on_drain_answer(backend_);
    http::ResponseHead held = std::move(response_);
    response_ = {};
    if (another_backend() && replay(Retry::not_executed, "drain answer")) {
      proxy_.parts_.cells.add(proxy_.parts_.metrics.replays.at(ReplayCause::drain_answer));
      return;
    }
    if (head_forwarded_) return;  // the replay was answered by ourselves
    response_ = std::move(held);
    if (class_ == RequestClass::watch || class_ == RequestClass::watch_list) {
      // A 503 would make a reflector list again; client-go waits and watches again on a 429.
      return unanswered(ReplyReason::no_backend, Retry::not_executed,
                        "all API servers are shutting down");
    }
  }
  forward_head();
  response_body_.append(as_bytes(body));
  answer_complete();
}

void Exchange::on_stream_ended(const StreamEnd& end) {
  if (state_ == State::finished) return;
  if (end.cause == StreamEnd::Cause::completed) {
    if (state_ == State::judging) return judge();
    if (!head_forwarded_)
      return backend_failed({StreamEnd::Cause::reset, end.code, Retry::never,
                             "the backend ended its stream without an answer"});
    if (is_established_watch())
      return end_watch(WatchEnd::backend_ended, last_forwarded_ + proxy_.options_.watch_end_delay);
    return answer_complete();
  }
  backend_failed(end);
}

void Exchange::backend_failed(const StreamEnd& end) {
  const bool lost = end.cause != StreamEnd::Cause::reset;
  if (head_forwarded_) {
    if (is_established_watch()) {
      const ProxyOptions& options = proxy_.options_;
      const Instant when =
          initial_events_ ? now() + proxy_.random_.between(options.watch_list_end_min,
                                                           options.watch_list_end_max)
                          : std::max(now(), last_forwarded_ + options.watch_end_delay) +
                                proxy_.random_.between(Duration::zero(), options.watch_end_jitter);
      return end_watch(WatchEnd::backend_lost, when);
    }
    // A truncated answer must not look whole.
    ended_by_ = lost ? EndedBy::backend_lost : EndedBy::backend_reset;
    reason_ = end.context;
    return cut(http2::ErrorCode::internal_error);
  }
  response_.clear();
  response_body_.clear();
  const auto cause = end.retry == Retry::not_executed ? ReplayCause::not_executed
                                                      : ReplayCause::lost_before_answer;
  if (end.cause == StreamEnd::Cause::refused && refusals_ < refusals_max) {
    // A GOAWAY says nothing against the backend: it is no try, and the backend may be picked again.
    ++refusals_;
    --tries_;
    tried_ &= ~balance::mask_of(backend_);
  }
  if (replay(end.retry, end.context)) {
    proxy_.parts_.cells.add(proxy_.parts_.metrics.replays.at(cause));
    return;
  }
  if (head_forwarded_) return;
  unanswered(
      lost ? ReplyReason::backend_lost : ReplyReason::backend_reset, end.retry,
      lost ? "the connection to the API server was lost" : "the API server reset the request");
}

// Ends the client's stream of a watch cleanly, at `when`: client-go then goes on from where it was.
void Exchange::end_watch(WatchEnd why, Instant when) {
  stream_.cancel(http2::ErrorCode::cancel);
  load_.release();
  watch_end_ = why;
  switch (why) {
    case WatchEnd::backend_ended: break;
    case WatchEnd::backend_lost: ended_by_ = EndedBy::backend_lost; break;
    case WatchEnd::retired:
    case WatchEnd::drain: ended_by_ = EndedBy::drain; break;
  }
  if (state_ != State::ending) set_state(State::ending);
  if (when <= now()) return timer_fired();
  proxy_.parts_.reactor.timers().set(timer_, when);
}

void Exchange::timer_fired() {
  switch (state_) {
    case State::ending:
      // Bytes may have gone out after the deadline was set.
      if (const Instant earliest = last_forwarded_ + proxy_.options_.watch_end_delay;
          !initial_events_ && now() < earliest) {
        proxy_.parts_.reactor.timers().set(timer_, earliest);
        return;
      }
      proxy_.parts_.cells.add(proxy_.parts_.metrics.watches_ended.at(watch_end_));
      return answer_complete();
    case State::waiting:
    case State::judging:
      return unanswered(
          ReplyReason::timeout,
          request_body_.pulled() == 0 && stream_.state() != backend::Stream::State::open
              ? Retry::not_executed
              : Retry::never,
          "the API server did not answer in time");
    case State::forwarding:
      if (!kubernetes::has_deadline(class_)) return load_.settle();
      ended_by_ = EndedBy::backend_lost;
      reason_ = "timeout";
      return cut(http2::ErrorCode::internal_error);
    case State::idle:
    case State::finishing:
    case State::finished: return;
  }
}

void Exchange::on_connection_retiring() {
  // Too many connections of one backend are draining: a watch that is past its initial events can
  // go on elsewhere at little cost.
  if (!is_established_watch() || initial_events_ || state_ != State::forwarding) return;
  end_watch(WatchEnd::retired,
            std::max(now(), last_forwarded_ + proxy_.options_.watch_end_delay) +
                proxy_.random_.between(Duration::zero(), proxy_.options_.watch_end_jitter));
}

void Exchange::end_before(Instant until) {
  if (state_ == State::finishing || state_ == State::finished) return;
  if (!long_running()) return;
  if (!is_established_watch() || state_ == State::ending) return;
  const Instant earliest = std::max(now(), last_forwarded_ + proxy_.options_.watch_end_delay);
  end_watch(WatchEnd::drain,
            earliest < until ? earliest + proxy_.random_.between(Duration::zero(), until - earliest)
                             : earliest);
}

// Who reads a byte now and then makes no progress, either. A watch or a log that nobody reads (a
// pager in front of kubectl) may stand still for as long as its reader likes, unless memory is
// short: an API server would keep it, too.
Exchange::Progress Exchange::check_progress() {
  const bool waits_for_client =
      client_ != nullptr && head_forwarded_ && response_body_.pending() > 0;
  if (!waits_for_client || bytes_out_ - progress_bytes_ >= progress_bytes_min) {
    progress_bytes_ = bytes_out_;
    progress_since_ = now();
    return Progress::made;
  }
  if (now() - progress_since_ < proxy_.options_.client_stall_timeout) return Progress::made;
  const bool patient = long_running();
  if (patient && !proxy_.short_of_memory()) return Progress::stalled;
  proxy_.parts_.cells.add(proxy_.parts_.metrics.stalled_ended.at(patient ? 1 : 0));
  ended_by_ = EndedBy::client_stalled;
  response_body_.clear();
  cut(http2::ErrorCode::enhance_your_calm);
  return Progress::ended;
}

// ---------------------------------------------------------------- the end

void Exchange::cut(http2::ErrorCode code) {
  if (client_ != nullptr) client_->reset(client_stream_, code);
  client_ = nullptr;
  finish(ended_by_);
}

void Exchange::client_gone() {
  if (state_ == State::finished) return;
  client_ = nullptr;
  const bool complete = answer_complete_ && response_body_.pending() == 0;
  finish(complete ? ended_by_ : EndedBy::client_reset);
}

void Exchange::finish(EndedBy ended_by) {
  stream_.cancel(http2::ErrorCode::cancel);
  load_.release();
  timer_.cancel();
  if (request_body_.retained()) {
    proxy_.retained_bytes_ -= request_body_.appended();
    request_body_.release();
  }
  proxy_.head_bytes_ -= std::exchange(head_bytes_, 0);
  proxy_.lent_bytes_ -= request_window_.lent() + response_window_.lent();
  const ProxyParts& parts = proxy_.parts_;
  parts.cells.add(parts.metrics.request_body_bytes, bytes_in_);
  parts.cells.add(parts.metrics.response_body_bytes, bytes_out_);
  if (parts.access_log != nullptr) {
    observability::AccessRecord record;
    record.time = wall_started_;
    record.client = client_address_;
    record.user = user_;
    record.method = head_.method;
    record.path = head_.path;
    record.verb = info_.verb;
    record.api_group = info_.api_group;
    record.resource = info_.resource;
    record.subresource = info_.subresource;
    record.namespace_name = info_.namespace_name;
    record.name = info_.name;
    record.user_agent = head_.fields.find("user-agent").value_or("");
    record.audit_id = response_.fields.find("audit-id").value_or("");
    record.status = head_forwarded_ ? response_.status : 0;
    if (backend_ != SIZE_MAX) record.backend = parts.backends.endpoint(backend_).name;
    record.tries = static_cast<int>(tries_);
    record.bytes_in = bytes_in_;
    record.bytes_out = bytes_out_;
    record.duration = now() - started_;
    record.ended_by = ended_by;
    record.reason = reason_;
    record.watch = info_.is_watch();
    parts.access_log->write(parts.worker, record);
  }
  set_state(State::finished);
  proxy_.finished(*this);
}

std::string Exchange::describe() const {
  return "exchange state=" + std::to_string(static_cast<int>(state_)) +
         " class=" + std::string(kubernetes::to_string(class_)) +
         " tries=" + std::to_string(tries_) +
         " pending=" + std::to_string(response_body_.pending());
}

}  // namespace sluice::proxy
