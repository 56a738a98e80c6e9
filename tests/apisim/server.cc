// SPDX-License-Identifier: GPL-3.0-or-later
// The life of one simulated server, and what it tells about itself.
#include "server.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "connection.h"
#include "json.h"
#include "sluice/io/socket.h"
#include "sluice/tls/context.h"

namespace sluice::apisim {

namespace {

constexpr std::size_t seen_bytes_max = std::size_t{32} << 20;
constexpr Duration drain_look_interval = std::chrono::milliseconds(20);

std::string_view to_string(ApiServer::State state) {
  switch (state) {
    case ApiServer::State::serving: return "serving";
    case ApiServer::State::delaying: return "shutdown-delay";
    case ApiServer::State::draining: return "draining";
    case ApiServer::State::stopped: return "stopped";
  }
  return "stopped";
}

constexpr std::array<std::string_view, goaway_cause_count> goaway_causes = {
    "unauthorized", "anonymous", "chance", "drain", "idle"};

// "Bearer sha256:1a2b3c4d": enough to tell tokens apart, no use to anybody.
std::string masked(std::string_view value) {
  const std::string_view scheme = value.substr(0, value.find(' '));
  const auto digest = tls::sha256(as_bytes(value));
  return fmt::format("{} sha256:{:02x}{:02x}{:02x}{:02x}",
                     scheme.size() < value.size() ? scheme : "", digest[0], digest[1], digest[2],
                     digest[3]);
}

bool is_credential(std::string_view name) {
  return name == "authorization" || name == "proxy-authorization" || name == "cookie";
}

void append_fields(std::string& out, const http::Fields& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const http::Field field = fields[i];
    if (i > 0) out.push_back(',');
    out += fmt::format(
        "[{},{}]", json_string(field.name),
        is_credential(field.name) ? json_string(masked(field.value)) : json_string(field.value));
  }
}

void append_seen(std::string& out, const SeenRequest& seen) {
  out +=
      fmt::format(R"({{"number":{},"time":"{}","connection":{},"peer":"{}","user":{},"status":{},)"
                  R"("method":{},"authority":{},"path":{},"fields":[)",
                  seen.number, timestamp(seen.time), seen.connection, to_string(seen.peer),
                  json_string(seen.user), seen.status, json_string(seen.head.method),
                  json_string(seen.head.authority), json_string(seen.head.path));
  append_fields(out, seen.head.fields);
  out += R"(],"trailers":[)";
  append_fields(out, seen.trailers);
  out += "]}";
}

std::size_t bytes_of(const SeenRequest& seen) {
  return sizeof(SeenRequest) + seen.head.fields.list_bytes() + seen.trailers.list_bytes() +
         seen.head.path.size() + seen.head.authority.size();
}

}  // namespace

std::string_view to_string(Subject subject) {
  switch (subject) {
    case Subject::namespaces: return "namespaces";
    case Subject::pods: return "pods";
    case Subject::configmaps: return "configmaps";
    case Subject::selfsubjectreviews: return "selfsubjectreviews";
    case Subject::other_resource: return "other";
    case Subject::probe: return "probe";
    case Subject::non_resource: return "nonresource";
  }
  return "other";
}

Subject subject_of(const Request& request) {
  if (is_probe(request.path)) return Subject::probe;
  if (!request.resource_request) return Subject::non_resource;
  if (request.resource == "selfsubjectreviews") return Subject::selfsubjectreviews;
  const ResourceType* type = request.group.empty() ? find_type(request.resource) : nullptr;
  if (type == nullptr) return Subject::other_resource;
  return static_cast<Subject>(type->id);
}

// --- bench texts ------------------------------------------------------------------------------

const BenchTexts::Entry* BenchTexts::find(std::string_view path_and_query) const {
  const auto found = entries_.find(path_and_query);
  return found == entries_.end() ? nullptr : &found->second;
}

void BenchTexts::add(std::string_view path_and_query, Entry entry) {
  if (entries_.size() >= entries_max || bytes_ + entry.text->size() > bytes_max) {
    entries_.clear();
    bytes_ = 0;
  }
  bytes_ += entry.text->size();
  entries_.insert_or_assign(std::string(path_and_query), std::move(entry));
}

namespace {

// What was here first has run for long.
constexpr double old_seconds = 24 * 3600;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

// --- life -------------------------------------------------------------------------------------

ApiServer::ApiServer(net::Transport& transport, Shared& shared, BenchTexts& bench,
                     std::shared_ptr<const tls::ServerContext> tls, std::size_t index,
                     int descriptor, const io::Address& address, const Settings& settings)
    : transport_(transport),
      shared_(shared),
      bench_(bench),
      tls_(std::move(tls)),
      index_(index),
      address_(address),
      settings_(settings),
      started_(seconds_now() - old_seconds),
      random_(0x5eed + index),
      select_([this](std::string_view) { return tls_; }),
      timer_(io::Timer::bind<&ApiServer::timer_passed>(this)) {
  in_flight_since_ = transport_.reactor().now();
  listen(descriptor);
}

ApiServer::~ApiServer() { CHECK(joined()); }

void ApiServer::listen(int descriptor) {
  listener_ = std::make_unique<net::Listener>(transport_, descriptor, budget_,
                                              [this](int accepted_one) { accepted(accepted_one); });
  listener_->start();
}

void ApiServer::accepted(int descriptor) {
  if (state_ == State::stopped) {
    budget_.connections.fetch_sub(1, std::memory_order_relaxed);
    io::reset_on_close(descriptor);
    io::close_socket(descriptor);
    return;
  }
  ++open_connections_;
  connections_.push_back(*new ClientConnection(*this, descriptor, ++connection_number_, select_));
}

void ApiServer::connection_closed(ClientConnection& connection) {
  connection.ListNode<>::unlink();
  --open_connections_;
  budget_.connections.fetch_sub(1, std::memory_order_relaxed);
}

bool ApiServer::joined() const {
  return connections_.empty() && (!listener_ || listener_->stopped()) &&
         (!old_listener_ || old_listener_->stopped());
}

void ApiServer::stop_listener() {
  if (listener_) listener_->stop();
}

void ApiServer::drain(const DrainPlan& plan) {
  if (state_ != State::serving) return;
  drain_ = plan;
  state_ = State::delaying;
  transport_.reactor().timers().set(timer_, transport_.reactor().now(), plan.delay);
}

void ApiServer::timer_passed() {
  if (state_ == State::delaying) return stop_accepting();
  if (state_ == State::draining) return look_whether_drained();
}

// k8s.io/apiserver pkg/server/genericapiserver.go: after the delay new requests are refused,
// watches end cleanly, and what runs may finish. Without Retry-After answers the listener closes
// now, with them when all has drained.
void ApiServer::stop_accepting() {
  state_ = State::draining;
  drain_end_ = transport_.reactor().now() + drain_.timeout;
  if (!drain_.retry_after) stop_listener();
  for (ClientConnection* each = connections_.empty() ? nullptr : &connections_.front();
       each != nullptr; each = connections_.next(*each)) {
    each->end_watches();
    if (!drain_.retry_after) each->goaway(GoawayCause::drain);
  }
  transport_.reactor().timers().set(timer_, transport_.reactor().now(), drain_look_interval);
}

void ApiServer::look_whether_drained() {
  const Instant now = transport_.reactor().now();
  const bool over = now >= drain_end_;
  if (!over && (in_flight > 0 || watches_open > 0)) {
    transport_.reactor().timers().set(timer_, now, drain_look_interval);
    return;
  }
  stop_listener();
  state_ = State::stopped;
  for (ClientConnection* each = connections_.empty() ? nullptr : &connections_.front();
       each != nullptr; each = connections_.next(*each)) {
    if (over) {
      each->reset();
    } else {
      each->goaway(GoawayCause::drain);
      each->close();
    }
  }
}

void ApiServer::kill() {
  state_ = State::stopped;
  timer_.cancel();
  stop_listener();
  for (ClientConnection* each = connections_.empty() ? nullptr : &connections_.front();
       each != nullptr; each = connections_.next(*each)) {
    each->reset();
  }
}

Result<void> ApiServer::restart(bool empty_history) {
  if (state_ != State::stopped) {
    return fail(ErrorKind::invalid_argument, "the server is not stopped");
  }
  if (old_listener_ && !old_listener_->stopped()) {
    return fail(ErrorKind::unavailable, "the server is still stopping");
  }
  if (listener_ && !listener_->stopped()) {
    return fail(ErrorKind::unavailable, "the server is still stopping");
  }
  const auto descriptor = io::listen_on(address_, {.backlog = 4096, .reuse_port = false});
  if (!descriptor) return std::unexpected(descriptor.error());
  old_listener_ = std::move(listener_);
  state_ = State::serving;
  frozen_ = false;
  if (empty_history) history_floor_ = shared_.store.revision();
  started_ = seconds_now();
  listen(*descriptor);
  return {};
}

void ApiServer::freeze(bool frozen) {
  if (frozen_ == frozen) return;
  frozen_ = frozen;
  if (frozen) return;
  for (ClientConnection* each = connections_.empty() ? nullptr : &connections_.front();
       each != nullptr; each = connections_.next(*each)) {
    each->thaw();
  }
}

ServerView ApiServer::view() {
  return {.store = shared_.store,
          .random = random_,
          .ready = state_ == State::serving,
          .history_floor = history_floor_,
          .started = started_,
          .index = index_,
          .lag = settings_.lag,
          .minor = settings_.minor};
}

void ApiServer::wake_watches() {
  if (watches_open == 0) return;
  for (ClientConnection* each = connections_.empty() ? nullptr : &connections_.front();
       each != nullptr; each = connections_.next(*each)) {
    each->wake_watches();
  }
}

std::string_view ApiServer::date() {
  const WallTime now = transport_.reactor().ring().wall_now();
  if (const std::int64_t second = now.time_since_epoch().count(); second != date_second_) {
    date_second_ = second;
    date_ =
        fmt::format("{:%a, %d %b %Y %H:%M:%S GMT}", fmt::gmtime(static_cast<std::time_t>(second)));
  }
  return date_;
}

// --- counters ---------------------------------------------------------------------------------

void ApiServer::count_in_flight(int change) {
  const Instant now = transport_.reactor().now();
  counters.in_flight_seconds += static_cast<double>(in_flight) * to_seconds(now - in_flight_since_);
  in_flight_since_ = now;
  in_flight = change > 0 ? in_flight + 1 : in_flight - 1;
  counters.in_flight_max = std::max<std::uint64_t>(counters.in_flight_max, in_flight);
}

void ApiServer::reset_counters() {
  counters = {};
  counters.in_flight_max = in_flight;
  in_flight_since_ = transport_.reactor().now();
  seen_.clear();
  seen_bytes_ = 0;
}

std::uint64_t ApiServer::record(SeenRequest seen) {
  seen.number = ++seen_number_;
  seen.time = transport_.reactor().ring().wall_now().time_since_epoch().count();
  seen_bytes_ += bytes_of(seen);
  seen_.push_back(std::move(seen));
  while (seen_.size() > shared_.records_max || seen_bytes_ > seen_bytes_max) {
    seen_bytes_ -= bytes_of(seen_.front());
    seen_.pop_front();
  }
  return seen_number_;
}

void ApiServer::record_status(std::uint64_t number, int status) {
  if (number == 0 || seen_.empty() || number < seen_.front().number) return;
  seen_[number - seen_.front().number].status = status;
}

void ApiServer::record_trailers(std::uint64_t number, http::Fields&& trailers) {
  if (number == 0 || seen_.empty() || number < seen_.front().number) return;
  seen_bytes_ += trailers.list_bytes();
  seen_[number - seen_.front().number].trailers = std::move(trailers);
}

std::string ApiServer::counters_json() {
  // Brings the integral up to now.
  const Instant now = transport_.reactor().now();
  counters.in_flight_seconds += static_cast<double>(in_flight) * to_seconds(now - in_flight_since_);
  in_flight_since_ = now;

  std::string out = fmt::format(
      R"({{"index":{},"address":"{}","state":"{}","frozen":{},"requests_total":{},"requests":{{)",
      index_, address_.to_string(), to_string(state_), frozen_, counters.requests_total);
  bool first = true;
  for (std::size_t subject = 0; subject < subject_count; ++subject) {
    std::string verbs;
    for (std::size_t verb = 0; verb < verb_count; ++verb) {
      if (const std::uint64_t count = counters.requests[verb][subject]; count > 0) {
        verbs += fmt::format("{}\"{}\":{}", verbs.empty() ? "" : ",",
                             to_string(static_cast<Verb>(verb)), count);
      }
    }
    if (verbs.empty()) continue;
    out += fmt::format("{}\"{}\":{{{}}}", first ? "" : ",",
                       to_string(static_cast<Subject>(subject)), verbs);
    first = false;
  }
  out += "},\"statuses\":{";
  first = true;
  for (std::size_t status = 0; status < counters.statuses.size(); ++status) {
    if (counters.statuses[status] == 0) continue;
    out += fmt::format("{}\"{}\":{}", first ? "" : ",", status, counters.statuses[status]);
    first = false;
  }
  out += fmt::format(
      R"(}},"tunnels":{{"requests":{},"opened":{},"open":{},"ended":{},"bytes":{},"body":{},"early":{},"late":{})",
      counters.tunnel_requests, counters.tunnels_opened, counters.tunnels_open,
      counters.tunnels_ended, counters.tunnel_bytes, counters.tunnel_body_bytes,
      counters.early_tunnel_bytes, counters.late_tunnel_bytes);
  out += fmt::format(
      R"(}},"lists":{},"watch_lists":{},"watches_started":{},"watches_open":{},"expired_watches":{},"goaways":{{)",
      counters.lists, counters.watch_lists, counters.watches_started, watches_open,
      counters.expired_watches);
  std::uint64_t goaways = 0;
  for (std::size_t i = 0; i < goaway_cause_count; ++i) {
    out += fmt::format("\"{}\":{},", goaway_causes[i], counters.goaways[i]);
    goaways += counters.goaways[i];
  }
  out += fmt::format(R"("total":{}}},"connections_open":{},"connections":{{)", goaways,
                     open_connections_);
  for (std::size_t i = 0; i < counters.connections.size(); ++i) {
    out += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", to_string(static_cast<PeerFacts::Kind>(i)),
                       counters.connections[i]);
  }
  out += "},\"requests_by_peer\":{";
  for (std::size_t i = 0; i < counters.requests_by_peer.size(); ++i) {
    out += fmt::format("{}\"{}\":{}", i == 0 ? "" : ",", to_string(static_cast<PeerFacts::Kind>(i)),
                       counters.requests_by_peer[i]);
  }
  out += fmt::format(
      R"(}},"in_flight":{},"in_flight_max":{},"in_flight_seconds":{:.6f},"faults":{},)"
      R"("streams_reset_by_client":{},"protocol_errors":{},"settings":{}}})",
      in_flight, counters.in_flight_max, counters.in_flight_seconds, counters.faults,
      counters.streams_reset_by_client, counters.protocol_errors, settings_json(settings_));
  return out;
}

std::string ApiServer::requests_json(std::size_t limit, std::string_view containing) const {
  std::string out = "[";
  std::size_t shown = 0;
  for (auto seen = seen_.rbegin(); seen != seen_.rend() && shown < limit; ++seen) {
    std::string one;
    append_seen(one, *seen);
    if (!containing.empty() && !one.contains(containing)) continue;
    if (shown++ > 0) out.push_back(',');
    out += one;
  }
  out.push_back(']');
  return out;
}

}  // namespace sluice::apisim
