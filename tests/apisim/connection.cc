// SPDX-License-Identifier: GPL-3.0-or-later
// Requests on one connection, from their head to the last byte of the answer.
#include "connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "gzip.h"
#include "sluice/io/socket.h"

namespace sluice::apisim {

namespace {

constexpr std::size_t request_body_max = 3 * 1024 * 1024;
constexpr std::size_t frozen_input_max = 1024 * 1024;
constexpr std::size_t spare_exchanges_max = 64;
constexpr Duration close_after_last_stream = std::chrono::seconds(1);
// Shorter answers carry a Content-Length, as Go's server adds one to what fits its buffer.
constexpr std::size_t content_length_max = 4096;

constexpr std::string_view flow_schema_uid = "0d3a0d0e-3c5b-4b7e-9a55-3b0a3f3f6a01";
constexpr std::string_view priority_level_uid = "7b1f6f0c-5f6a-4c0e-8d55-9c2d5e7a1f02";
constexpr std::string_view shutting_down_text =
    "The apiserver is shutting down, please try again later.\n";

}  // namespace

void Exchange::timer_passed(void* exchange) {
  auto& its = *static_cast<Exchange*>(exchange);
  its.connection->timer_passed(its);
}

ClientConnection::ClientConnection(ApiServer& server, int descriptor, std::uint64_t number,
                                   const net::ContextSelector& select)
    : server_(server),
      descriptor_(descriptor),
      number_(number),
      connection_(server.transport(), *this),
      timer_(io::Timer::bind<&ClientConnection::connection_timer_passed>(this)) {
  connection_.accept(descriptor, select);
}

ClientConnection::~ClientConnection() {
  while (!exchanges_.empty()) release(exchanges_.front());
  while (Exchange* exchange = spare_.pop_front()) delete exchange;
}

Instant ClientConnection::now() const { return server_.transport().reactor().now(); }

// --- connection -------------------------------------------------------------------------------

void ClientConnection::on_established() {
  ++server_.counters.connections[static_cast<std::size_t>(peer().kind)];
  if (connection_.engine()->alpn() != "h2") {
    tunnel_ = std::make_unique<Tunnel>(server_, connection_, descriptor_, number_, peer());
    return;
  }
  http2::SessionOptions options;
  options.server = true;
  options.max_concurrent_streams = server_.settings().max_streams;
  // As k8s.io/apiserver pkg/server/secure_serving.go has them.
  options.stream_window_bytes = 256 * 1024;
  options.connection_window_bytes = 256 * 1024 * std::max(server_.settings().max_streams, 1U);
  options.header_list_bytes_max = 1024 * 1024;
  options.header_fields_max = 20'000;
  // Go's server limits neither, as long as its handlers keep up.
  options.resets_burst = 1'000'000;
  options.resets_per_second = 1'000'000;
  options.control_frames_burst = 10'000;
  options.control_frames_per_second = 10'000;
  options.outbound_queue_frames_max = 10'000;
  session_ = std::make_unique<http2::Session>(*this, options, now());
  connection_.mark_dirty();
  arm_idle_timer();
  if (server_.state() != ApiServer::State::serving &&
      server_.state() != ApiServer::State::delaying && !server_.drain_plan().retry_after) {
    goaway(GoawayCause::drain);
  }
}

void ClientConnection::on_receive(Bytes plain) {
  if (server_.frozen()) {
    if (frozen_input_.size() + plain.size() <= frozen_input_max) {
      frozen_input_.append(as_text(plain));
    }
    return;
  }
  feed(plain);
}

void ClientConnection::feed(Bytes plain) {
  if (tunnel_ && !ended_) return tunnel_->feed(plain);
  if (ended_ || !session_) return;
  const Result<void> fed = session_->feed(plain, now());
  if (ended_) return;  // a fault ended the connection
  connection_.mark_dirty();
  if (!fed) {
    ++server_.counters.protocol_errors;
    close();
  }
}

std::size_t ClientConnection::on_collect(MutableBytes batch) {
  if (tunnel_ && !server_.frozen()) return tunnel_->collect(batch);
  if (!session_ || server_.frozen()) return 0;
  return session_->collect(batch);
}

void ClientConnection::on_end(const Error&) { ended_ = true; }

bool ClientConnection::on_peer_ended(bool) {
  if (tunnel_ == nullptr) return false;
  tunnel_->peer_ended();
  return true;
}

void ClientConnection::on_closed() {
  ended_ = true;
  server_.connection_closed(*this);
  delete this;
}

void ClientConnection::on_output_ready() {
  if (!ended_) connection_.mark_dirty();
}

void ClientConnection::close() {
  if (ended_) return;
  ended_ = true;
  timer_.cancel();
  connection_.close();
}

void ClientConnection::reset() {
  const bool gone = connection_.state() == net::Connection::State::terminating ||
                    connection_.state() == net::Connection::State::closed;
  ended_ = true;
  timer_.cancel();
  if (gone) return;
  io::reset_on_close(descriptor_);
  connection_.terminate();
}

void ClientConnection::thaw() {
  if (ended_) return;
  const std::string input = std::move(frozen_input_);
  frozen_input_.clear();
  if (!input.empty()) feed(as_bytes(input));
  if (!ended_) connection_.mark_dirty();
}

void ClientConnection::goaway(GoawayCause cause) {
  if (said_goaway_ || ended_ || !session_) return;
  said_goaway_ = true;
  ++server_.counters.goaways[static_cast<std::size_t>(cause)];
  goaway_last_ = session_->last_peer_stream();
  session_->goaway_final();
  connection_.mark_dirty();
  arm_idle_timer();
}

void ClientConnection::arm_idle_timer() {
  if (ended_ || exchanges_open_ > 0) return;
  server_.transport().reactor().timers().set(
      timer_, now(), said_goaway_ ? close_after_last_stream : server_.settings().idle_timeout);
}

void ClientConnection::connection_timer_passed() {
  if (ended_ || exchanges_open_ > 0) return;
  if (said_goaway_) return close();
  goaway(GoawayCause::idle);
}

const PeerFacts& ClientConnection::peer() {
  const WallTime wall = server_.transport().reactor().ring().wall_now();
  if (wall >= peer_.valid_until) {
    peer_ = server_.shared().authenticator.examine(connection_.engine()->peer_certificate(), wall);
  }
  return peer_;
}

// --- streams ----------------------------------------------------------------------------------

Exchange& ClientConnection::open(http2::StreamId id) {
  Exchange* exchange = spare_.pop_front();
  if (exchange == nullptr) {
    exchange = new Exchange(*this);
  } else {
    --exchanges_spare_;
  }
  exchange->id = id;
  exchanges_.push_back(*exchange);
  ++exchanges_open_;
  session_->set_tag(id, reinterpret_cast<std::uint64_t>(exchange));
  return *exchange;
}

void ClientConnection::release(Exchange& exchange) {
  exchange.timer.cancel();
  if (exchange.in_flight) server_.count_in_flight(-1);
  if (exchange.watch != nullptr) {
    --server_.watches_open;
    --watches_;
  }
  exchange.unlink();
  --exchanges_open_;
  if (exchanges_spare_ < spare_exchanges_max) {
    exchange.state = Exchange::State::receiving;
    exchange.received = false;
    exchange.in_flight = false;
    exchange.anonymous = false;
    exchange.body.clear();
    exchange.record = 0;
    exchange.text.reset();
    exchange.text_sent = 0;
    exchange.stream.reset();
    exchange.gzipped = false;
    exchange.watch = nullptr;
    exchange.bookmarks = false;
    exchange.truncate_after = UINT64_MAX;
    exchange.bytes_sent = 0;
    spare_.push_back(exchange);
    ++exchanges_spare_;
  } else {
    delete &exchange;
  }
  if (exchanges_open_ == 0) arm_idle_timer();
}

void ClientConnection::on_request(http2::StreamRef stream, http::RequestHead&& head,
                                  bool end_of_stream) {
  if (ended_) return;
  if (said_goaway_ && stream.id > goaway_last_) {
    // Our GOAWAY has promised that this one is not executed.
    return session_->reset_stream(stream.id, http2::ErrorCode::refused_stream);
  }
  Exchange& exchange = open(stream.id);
  exchange.head = std::move(head);
  exchange.received = end_of_stream;
  begin(exchange);
}

void ClientConnection::on_head_too_large(http2::StreamRef stream, http::RequestHead&&) {
  if (ended_) return;
  http::ResponseHead head;
  head.status = 431;
  session_->submit_response(stream.id, head, false);
}

void ClientConnection::on_data(http2::StreamRef stream, Bytes data) {
  session_->consume(stream.id, data.size());
  Exchange* exchange = exchange_of(stream);
  if (exchange == nullptr || exchange->state != Exchange::State::receiving) return;
  if (exchange->body.size() + data.size() > request_body_max) {
    send(*exchange, Reply::of(body_too_large()), true);
    return;
  }
  exchange->body.append(as_text(data));
}

void ClientConnection::on_trailers(http2::StreamRef stream, http::Fields&& trailers) {
  if (const Exchange* exchange = exchange_of(stream)) {
    server_.record_trailers(exchange->record, std::move(trailers));
  }
}

void ClientConnection::on_end_of_stream(http2::StreamRef stream) {
  Exchange* exchange = exchange_of(stream);
  if (exchange == nullptr) return;
  exchange->received = true;
  if (exchange->state == Exchange::State::receiving) complete(*exchange);
}

void ClientConnection::on_stream_closed(http2::StreamRef stream, http2::ErrorCode, bool by_peer) {
  Exchange* exchange = exchange_of(stream);
  if (exchange == nullptr) return;
  if (by_peer) ++server_.counters.streams_reset_by_client;
  release(*exchange);
}

// The whole way of a request through the filters of a kube-apiserver, up to its handler.
void ClientConnection::begin(Exchange& exchange) {
  const http::RequestHead& head = exchange.head;
  Counters& counters = server_.counters;
  ++counters.requests_total;
  exchange.in_flight = true;
  server_.count_in_flight(+1);

  const BenchTexts::Entry* bench = head.method == "GET" ? server_.bench().find(head.path) : nullptr;
  std::optional<Request> request;
  if (bench == nullptr) request = Request::parse(head.method, head.path);
  const Verb verb = bench != nullptr ? bench->verb : request->verb;
  const Subject subject = bench != nullptr ? bench->subject : subject_of(*request);
  ++counters.requests[static_cast<std::size_t>(verb)][static_cast<std::size_t>(subject)];
  if (verb == Verb::list) ++counters.lists;
  if (verb == Verb::watch && request->query.flag("sendInitialEvents")) {
    ++counters.lists;
    ++counters.watch_lists;
  }

  // pkg/endpoints/filters/request_deadline.go: before authentication.
  if (request && has_bad_timeout(*request)) {
    return send(exchange, Reply::of(bad_request("invalid timeout specified in the request URL")),
                false);
  }
  const PeerFacts& facts = peer();
  ++counters.requests_by_peer[static_cast<std::size_t>(facts.kind)];
  const Authenticator& authenticator = server_.shared().authenticator;
  Authenticator::Verdict verdict;
  if (server_.shared().records_max > 0) {
    SeenRequest seen;
    Identity identity;
    verdict = authenticator.authenticate(head.fields, facts, &identity);
    seen.connection = number_;
    seen.peer = facts.kind;
    seen.user = std::move(identity.user);
    seen.head = head;
    exchange.record = server_.record(std::move(seen));
  } else {
    verdict = authenticator.authenticate(head.fields, facts, nullptr);
  }

  if (subject != Subject::probe) {
    if (server_.state() == ApiServer::State::draining && refuse_for_shutdown(exchange)) return;
    if (server_.chance(server_.settings().goaway_chance)) goaway(GoawayCause::chance);
  }
  switch (verdict) {
    case Authenticator::Verdict::unauthorized:
      goaway(GoawayCause::unauthorized);
      return send(exchange, Reply::of(unauthorized()), false);
    case Authenticator::Verdict::anonymous:
      goaway(GoawayCause::anonymous);
      exchange.anonymous = true;
      break;
    case Authenticator::Verdict::authenticated: break;
  }
  if (subject != Subject::probe) {
    if (inject_fault(exchange)) return;
    const std::uint32_t max = server_.settings().max_in_flight;
    if (max > 0 && server_.in_flight > max && verb != Verb::watch) {
      Reply reply = Reply::of("Too many requests, please try again later.\n", 429, text_content);
      reply.retry_after = 1;
      return send(exchange, std::move(reply), true);
    }
  }
  if (exchange.received) complete(exchange);
}

// True when the request was answered here, unexecuted.
bool ClientConnection::refuse_for_shutdown(Exchange& exchange) {
  const auto agent = exchange.head.fields.find("user-agent");
  if (agent && agent->starts_with("kube-apiserver/")) return false;
  Reply reply;
  if (server_.drain_plan().retry_after) {
    // pkg/server/filters/with_retry_after.go: Connection: close is a GOAWAY on HTTP/2.
    goaway(GoawayCause::drain);
    reply = Reply::of(std::string(shutting_down_text), 429, text_content);
    reply.retry_after = 5;
  } else {
    // pkg/server/filters/waitgroup.go.
    reply = Reply::of(StatusError{503, "ServiceUnavailable", "apiserver is shutting down", {}});
    reply.retry_after = 1;
  }
  send(exchange, std::move(reply), false);
  return true;
}

// What a server says whose cache lags, or is not filled.
std::optional<StatusError> ClientConnection::lag_of(const http::RequestHead& head) {
  const Settings& settings = server_.settings();
  const Request request = Request::parse(head.method, head.path);
  const bool lists = request.verb == Verb::list;
  const std::string_view revision = request.query.get("resourceVersion");
  const bool at_revision = !revision.empty() && revision != "0";
  if (lists && at_revision && server_.chance(settings.fail_stale)) return too_large_revision(2, 1);
  const bool from_cache = lists || request.verb == Verb::watch;
  if (from_cache && server_.chance(settings.fail_initializing)) return initializing();
  return std::nullopt;
}

bool ClientConnection::inject_fault(Exchange& exchange) {
  const Settings& settings = server_.settings();
  if (server_.chance(settings.fail_reset_connection)) {
    ++server_.counters.faults;
    reset();
    return true;
  }
  if (server_.chance(settings.fail_refused)) {
    ++server_.counters.faults;
    session_->reset_stream(exchange.id, http2::ErrorCode::refused_stream);
    return true;
  }
  if (server_.chance(settings.fail_reset_stream)) {
    ++server_.counters.faults;
    session_->reset_stream(exchange.id, http2::ErrorCode::internal_error);
    return true;
  }
  if (server_.chance(settings.fail_500)) {
    ++server_.counters.faults;
    send(exchange, Reply::of(internal_error("simulated failure")), true);
    return true;
  }
  if (settings.fail_stale + settings.fail_initializing > 0) {
    if (const auto lag = lag_of(exchange.head)) {
      ++server_.counters.faults;
      send(exchange, Reply::of(*lag), true);
      return true;
    }
  }
  if (server_.chance(settings.fail_truncated)) {
    ++server_.counters.faults;
    exchange.truncate_after = 1;
  }
  return false;
}

// The request is here to its end.
void ClientConnection::complete(Exchange& exchange) {
  exchange.state = Exchange::State::delayed;
  const Settings& settings = server_.settings();
  if (settings.latency_max == Duration::zero()) return run(exchange);
  const Duration latency =
      settings.latency_min == settings.latency_max
          ? settings.latency_min
          : server_.random().between(settings.latency_min, settings.latency_max);
  server_.transport().reactor().timers().set(exchange.timer, now(), latency);
}

void ClientConnection::timer_passed(Exchange& exchange) {
  if (ended_) return;
  if (exchange.state == Exchange::State::delayed) return run(exchange);
  if (exchange.watch == nullptr) return;
  if (now() >= exchange.watch_end) {
    exchange.watch->finish(exchange.bookmarks);
  } else {
    exchange.watch->want_bookmark();
    arm_watch(exchange);
  }
  session_->resume_body(exchange.id);
  connection_.mark_dirty();
}

void ClientConnection::arm_watch(Exchange& exchange) {
  Instant next = exchange.watch_end;
  if (exchange.bookmarks) next = std::min(next, now() + server_.settings().bookmark_interval);
  server_.transport().reactor().timers().set(exchange.timer, next);
}

void ClientConnection::run(Exchange& exchange) {
  const http::RequestHead& head = exchange.head;
  BenchTexts& bench = server_.bench();
  const BenchTexts::Entry* entry = head.method == "GET" ? bench.find(head.path) : nullptr;
  if (entry != nullptr && !exchange.anonymous) {
    return send_bench(exchange, *entry);
  }
  const Request request = Request::parse(head.method, head.path);
  if (exchange.anonymous) {
    if (const auto error = forbid_anonymous(request)) {
      return send(exchange, Reply::of(*error), true);
    }
  } else if (auto text = bench_text(request)) {
    auto shared = std::make_shared<const std::string>(std::move(*text));
    bench.add(head.path, {request.verb, subject_of(request), std::move(shared), nullptr});
    return send_bench(exchange, *bench.find(head.path));
  }

  // As one where API Priority and Fairness is off, which would mark the answer as its own.
  if (is_aggregated(request)) return send(exchange, Reply::of(unauthorized()), false);

  Identity identity;
  const bool impersonates = head.fields.contains("impersonate-user") ||
                            head.fields.contains("impersonate-group") ||
                            head.fields.contains("impersonate-uid");
  if (needs_identity(request) || impersonates) {
    server_.shared().authenticator.authenticate(head.fields, peer(), &identity);
    auto as = impersonated(head.fields, identity);
    if (!as) {
      const bool bad = as.error().kind == ErrorKind::invalid_argument;
      return send(exchange,
                  Reply::of(bad ? bad_request(as.error().context) : forbidden(as.error().context)),
                  true);
    }
    if (*as) identity = std::move(**as);
  }
  send(exchange,
       answer(server_.view(),
              {request, head.fields.find("accept").value_or(""),
               head.fields.find("content-type").value_or(""), exchange.body, identity}),
       true);
}

void ClientConnection::send_bench(Exchange& exchange, const BenchTexts::Entry& entry) {
  exchange.gzipped = entry.text->size() > gzip_bytes_min && accepts_gzip(exchange.head.fields);
  if (exchange.gzipped && entry.gzipped == nullptr) {
    entry.gzipped = std::make_shared<const std::string>(gzip(*entry.text));
  }
  send_text(exchange, 200, json_content, exchange.gzipped ? entry.gzipped : entry.text, true, 0);
}

void ClientConnection::send(Exchange& exchange, Reply reply, bool flow_controlled) {
  if (accepts_gzip(exchange.head.fields)) exchange.gzipped = compress(reply);
  if (!reply.body) {
    if (reply.expired_watch) ++server_.counters.expired_watches;
    return send_text(exchange, reply.status, reply.content_type, std::move(reply.text),
                     flow_controlled, reply.retry_after);
  }
  exchange.stream = std::move(reply.body);
  exchange.watch = reply.watch;
  if (exchange.watch != nullptr) {
    exchange.bookmarks = reply.bookmarks;
    exchange.watch_end = now() + reply.watch_timeout;
    arm_watch(exchange);
    ++server_.counters.watches_started;
    ++server_.watches_open;
    ++watches_;
    exchange.in_flight = false;
    server_.count_in_flight(-1);
    if (server_.state() == ApiServer::State::draining) exchange.watch->finish(false);
  }
  submit(exchange, reply.status, reply.content_type, SIZE_MAX, flow_controlled, reply.retry_after);
}

void ClientConnection::send_text(Exchange& exchange, int status, std::string_view content_type,
                                 std::shared_ptr<const std::string> text, bool flow_controlled,
                                 std::uint32_t retry_after) {
  exchange.text = std::move(text);
  submit(exchange, status, content_type, exchange.text->size(), flow_controlled, retry_after);
}

void ClientConnection::submit(Exchange& exchange, int status, std::string_view content_type,
                              std::size_t content_length, bool flow_controlled,
                              std::uint32_t retry_after) {
  const bool early = !exchange.received;
  exchange.state = Exchange::State::answering;
  ++server_.counters.statuses[static_cast<std::size_t>(status)];
  server_.record_status(exchange.record, status);

  const auto number = [](auto& buffer, std::uint64_t value) {
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
    return std::string_view(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  };
  http::ResponseHead& head = server_.response_head;
  head.clear();
  head.status = status;
  if (const auto audit = exchange.head.fields.find("audit-id")) head.fields.add("audit-id", *audit);
  head.fields.add("cache-control", "no-cache, private");
  if (exchange.gzipped) head.fields.add("content-encoding", "gzip");
  head.fields.add("content-type", content_type);
  std::array<char, 24> text{};
  if (retry_after > 0) head.fields.add("retry-after", number(text, retry_after));
  if (flow_controlled) {
    head.fields.add("x-kubernetes-pf-flowschema-uid", flow_schema_uid);
    head.fields.add("x-kubernetes-pf-prioritylevel-uid", priority_level_uid);
  }
  if (content_length <= content_length_max) {
    head.fields.add("content-length", number(text, content_length));
  }
  head.fields.add("date", server_.date());
  if (exchange.gzipped) head.fields.add("vary", "Accept-Encoding");
  if (exchange.truncate_after != UINT64_MAX) {
    // About half of it, or the beginning of what has no end yet.
    exchange.truncate_after =
        exchange.text ? exchange.text->size() / 2 : 1 + server_.random().below(4096);
  }
  // The answer to HEAD has the length, but no body (RFC 9110 section 9.3.2).
  const bool has_body =
      exchange.head.method != "HEAD" && (exchange.stream || !exchange.text->empty());
  const http2::StreamId id = exchange.id;
  session_->submit_response(id, head, has_body);
  // Answered before the upload's end: what is still to come is not wanted (RFC 9113 section 8.1).
  if (early) session_->reset_stream(id, http2::ErrorCode::no_error);
  if (!ended_) connection_.mark_dirty();
}

http2::BodyResult ClientConnection::on_body_wanted(http2::StreamRef stream, MutableBytes room) {
  Exchange* exchange = exchange_of(stream);
  if (exchange == nullptr) return {0, http2::BodyStatus::finished};
  if (exchange->truncate_after != UINT64_MAX) {
    if (exchange->bytes_sent >= exchange->truncate_after) {
      session_->reset_stream(stream.id, http2::ErrorCode::internal_error);
      return {0, http2::BodyStatus::more};
    }
    room = room.first(
        std::min<std::size_t>(room.size(), exchange->truncate_after - exchange->bytes_sent));
  }
  http2::BodyResult result;
  if (exchange->stream) {
    result = exchange->stream->produce(room);
  } else {
    const std::string_view rest = std::string_view(*exchange->text).substr(exchange->text_sent);
    result.bytes = std::min(rest.size(), room.size());
    std::memcpy(room.data(), rest.data(), result.bytes);
    exchange->text_sent += result.bytes;
    result.status =
        result.bytes == rest.size() ? http2::BodyStatus::finished : http2::BodyStatus::more;
  }
  exchange->bytes_sent += result.bytes;
  return result;
}

void ClientConnection::wake_watches() {
  if (watches_ == 0 || ended_) return;
  for (Exchange* each = exchanges_.empty() ? nullptr : &exchanges_.front(); each != nullptr;
       each = exchanges_.next(*each)) {
    if (each->watch != nullptr) session_->resume_body(each->id);
  }
  connection_.mark_dirty();
}

void ClientConnection::end_watches() {
  if (watches_ == 0 || ended_) return;
  for (Exchange* each = exchanges_.empty() ? nullptr : &exchanges_.front(); each != nullptr;
       each = exchanges_.next(*each)) {
    if (each->watch == nullptr) continue;
    each->watch->finish(false);
    session_->resume_body(each->id);
  }
  connection_.mark_dirty();
}

}  // namespace sluice::apisim
