// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection, once it is open (client_opening.cc).
#include "client_connection.h"

#include "outline.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// Of a connection whose client has exceeded a budget: its watches end within the first, the rest
// after the second.
constexpr Duration watches_end_within = std::chrono::seconds(3);
constexpr Duration given_up_after = std::chrono::milliseconds(4500);
// And it need not take its last bytes as slowly as an honest one may.
constexpr Duration given_up_linger = std::chrono::seconds(2);
// A connection that holds so much may be one of many.
constexpr std::size_t much_held_bytes = 80 * 1024;  // a send buffer and some input
constexpr Duration end_for_room_within = std::chrono::seconds(1);
// One of which nobody knows what it asks rests when nothing has moved on it for so long: clients
// and API servers ask each other for a sign of life every half minute.
constexpr Duration quiet_after = std::chrono::minutes(2);

}  // namespace

std::string refusal_of(const proxy::ClientIdentity& client) {
  return "Unauthorized: this gateway does not take the client certificate: " + client.reason;
}

ClientConnection::ClientConnection(net::Transport& transport, proxy::Resources& resources,
                                   ClientShares& shares, const ClientOptions& options,
                                   metrics::Cells& cells, const ClientMetrics& metrics,
                                   OnClosed on_closed)
    : connection_(transport, *this),
      resources_(resources),
      shares_(shares),
      options_(options),
      cells_(cells),
      metrics_(metrics),
      on_closed_(std::move(on_closed)),
      timer_(io::Timer::bind<&ClientConnection::deadline_passed>(this)),
      last_word_(io::Timer::bind<&ClientConnection::say_last_word>(this)) {}

ClientConnection::~ClientConnection() { CHECK(state_ == State::closed); }

// By its certificate, or a token.
void ClientConnection::proven() {
  facts_.proven = true;
  connection_.waive_own_bytes();
  if (address_share_) address_share_.prove(now());
  shares_.prove(*this);
}

void ClientConnection::request_begins() {
  if (judged_under_ == cluster_->trust) return;
  judged_under_ = cluster_->trust;
  judge_anew();
}

// By the authorities that count now, as an API server does with every request. Requests that have
// begun go on, and may look at the identity that they began with.
void ClientConnection::judge_anew() {
  const tls::PeerCertificate& shown = connection_.engine()->peer_certificate();
  if (!shown.presented || shown.chain_der.empty()) return;
  const WallTime wall = connection_.transport().reactor().ring().wall_now();
  const tls::PeerCertificate peer = tls::judge_again(shown, *cluster_->tls, wall);
  proxy::ClientIdentity client = proxy::identify_client(peer);
  facts_.why_not = client.why_not;
  facts_.refusal.clear();
  facts_.identity_withdrawn = !client.identity;
  if (client.identity) {
    facts_.identity_not_after = peer.not_after;
    if (!facts_.identity) {
      facts_.anonymous = kubernetes::is_anonymous(*client.identity);
      facts_.keys.user = cluster_->proxy.user_key(facts_.address, client.identity->user);
      facts_.identity = std::move(client.identity);
    }
    return;
  }
  if (client.refused) facts_.refusal = refusal_of(client);
  log::info("a client certificate gives no identity any more",
            {{"client", facts_.peer}, {"why", to_string(client.why_not)}, {"tls", peer.error}});
}

// The cluster was chosen by the name that was asked for, and with it whose certificates count: what
// is meant for another one must not reach it (RFC 9110 section 15.5.20).
bool ClientConnection::misdirected(std::string_view authority) const {
  const ClusterNames* names = cluster_->names;
  return names != nullptr && names->elsewhere(authority, cluster_->number);
}

void ClientConnection::set_state(State state) {
  if (transitions.refuse("client connection", state_, state)) [[unlikely]]
    return wrong_transition(state);
  state_ = state;
  // On its way out: not to be asked to go.
  if (state == State::leaving || state == State::closed) let_go();
}

// A mistake of ours costs one connection, not all.
void ClientConnection::wrong_transition(State state) {
  log::error("a client connection is ended by a mistake of this program",
             {{"state", static_cast<int>(state_)}, {"next", static_cast<int>(state)}});
  cells_.add(metrics_.ended.at(EndReason::other));
  connection_.transport().count_wrong_transition();
  connection_.terminate();
}

void ClientConnection::describe(Outline& outline) const {
  outline.add(1, "client " + connection_.describe());
  if (protocol_ != nullptr) protocol_->describe(outline);
}

void ClientConnection::speak(Protocol protocol) {
  cells_.add(metrics_.connections(speaks_), -1);
  speaks_ = protocol;
  cells_.add(metrics_.connections(speaks_), 1);
  facts_.protocol = to_string(protocol);
}

void ClientConnection::on_receive(Bytes plain) {
  if (protocol_ == nullptr) return;
  if (const auto received = protocol_->receive(plain, now()); !received) {
    return give_up(received.error());
  }
  if (protocol_->requests() > 0) work();
  if (passes_on()) note_movement();
  if (protocol_->wants_output()) connection_.mark_dirty();
  if (!protocol_->wants_input()) connection_.pause_receiving();
  if (const auto since = protocol_->head_since(); since && state_ == State::serving) {
    const Instant when = *since + options_.head_timeout;
    if (!timer_.armed() || timer_.deadline() > when) set_deadline(when);
  }
  connection_.count_above(protocol_->held_bytes());
  if (held_bytes() >= much_held_bytes) resources_.look_at_room();
  close_if_unused();
}

void ClientConnection::input_due() { connection_.ask_for_turn(); }

void ClientConnection::on_turn() {
  CHECK(protocol_ != nullptr);
  if (!given_up_.empty()) return;
  on_receive({});
  if (given_up_.empty() && protocol_->wants_input()) connection_.resume_receiving();
}

// A budget that is exceeded costs nothing more as soon as we stop reading. What is established has
// a few seconds to end in order; a connection whose framing is broken has not.
void ClientConnection::give_up(const Error& why) {
  CHECK(protocol_ != nullptr);
  if (!given_up_.empty()) return;
  given_up_ = why.context;
  limit_ = protocol_->give_up();
  connection_.mark_dirty();  // GOAWAY
  if (state_ == State::serving) set_state(State::leaving);
  last_word_.cancel();
  if (why.kind != ErrorKind::limit) {
    close_given_up();
    return protocol_->abandon();
  }
  if (address_share_) address_share_.charge(balance::Charge::broken_limit, now());
  connection_.pause_receiving();
  protocol_->plan_ends({now(), now() + watches_end_within});
  set_deadline(now() + given_up_after);
  close_if_unused();
}

void ClientConnection::close_given_up() {
  CHECK(!given_up_.empty());
  if (!connection_.established()) return;
  log_end();
  connection_.close();
  set_deadline(now() + given_up_linger);
}

void ClientConnection::log_end() {
  log::info("a client connection is ended",
            {{"client", facts_.peer},
             {"user", facts_.identity ? std::string_view(facts_.identity->user) : ""},
             {"limit", limit_},
             {"why", given_up_},
             {"streams", protocol_->requests()}});
}

std::size_t ClientConnection::on_collect(MutableBytes batch) {
  if (protocol_ == nullptr) return 0;
  const std::size_t n = protocol_->collect(batch);
  connection_.count_above(protocol_->held_bytes());
  if (n > 0 && passes_on()) note_movement();
  if (const auto in_order = protocol_->output_ended()) connection_.end_output(*in_order);
  if (n == 0) close_if_unused();
  return n;
}

bool ClientConnection::on_peer_ended(bool in_order) {
  if (protocol_ == nullptr || !protocol_->peer_ended(in_order)) return false;
  close_if_unused();
  return true;
}

void ClientConnection::stop_timers() {
  timer_.cancel();
  last_word_.cancel();
}

// Who has asked for something that may last is watched as long as anything is under way: what rests
// is the idle timeout's.
bool ClientConnection::still_watched(bool quiet) {
  if (passes_on()) return true;
  if (protocol_ == nullptr || protocol_->requests() == 0) return false;
  if (quiet) protocol_->ask_for_sign();
  return true;
}

EndReason ClientConnection::end_reason(const Error& error) const {
  if (connection_.proxy_header_refused()) return EndReason::proxy_header;
  if (connection_.health_check()) return EndReason::health_check;
  if (connection_.peer_vanished()) return EndReason::vanished;
  switch (error.kind) {
    case ErrorKind::closed: return EndReason::closed;
    case ErrorKind::reset: return EndReason::reset;
    case ErrorKind::tls: return EndReason::tls;
    case ErrorKind::timeout: return EndReason::timeout;
    case ErrorKind::limit: return EndReason::limit;
    case ErrorKind::protocol: return EndReason::protocol;
    default: return EndReason::other;
  }
}

void ClientConnection::on_end(const Error& error) {
  const EndReason reason = end_reason(error);
  cells_.add(metrics_.ended.at(reason));
  if (state_ == State::handshake) {
    note_address();
    handshake_failed(error);
  }
  if (reason == EndReason::proxy_header) {
    log::info("a balancer's connection is ended, it did not say who calls",
              {{"balancer", facts_.peer}, {"why", error.context}});
  } else if (reason == EndReason::vanished) {
    log::info("a client has vanished without a word",
              {{"client", facts_.peer},
               {"user", facts_.identity ? std::string_view(facts_.identity->user) : ""},
               {"streams", protocol_ == nullptr ? 0 : protocol_->requests()},
               {"why", error.context}});
  } else {
    log::debug("a client connection ended", {{"client", facts_.peer}, {"why", error.context}});
  }
  stop_timers();
  if (protocol_ != nullptr) protocol_->abandon();
}

void ClientConnection::on_closed() {
  set_state(State::closed);
  address_share_.release(now());
  identity_share_.release(now());
  if (makes_room_) shares_.made_room();
  stop_timers();
  if (protocol_ != nullptr) protocol_->abandon();
  CHECK(protocol_ == nullptr || protocol_->requests() == 0);
  CHECK(!timer_.armed());
  CHECK(!last_word_.armed());
  cells_.add(metrics_.connections(speaks_), -1);
  if (cluster_ != nullptr) --cluster_->clients;
  on_closed_(*this);  // destroys this
}

void ClientConnection::requests_over() {
  CHECK(protocol_ != nullptr);
  CHECK_EQ(protocol_->requests(), std::size_t{0});
  if (state_ != State::serving) return;
  idle_since_ = now();
  rest();
  Instant deadline = now() + options_.idle_timeout;
  if (const auto since = protocol_->head_since()) {
    deadline = std::min(deadline, *since + options_.head_timeout);
  }
  set_deadline(deadline);
}

void ClientConnection::deadline_passed() {
  switch (state_) {
    case State::serving:
      CHECK(protocol_ != nullptr);
      if (const auto since = protocol_->head_since()) {
        if (now() - *since < options_.head_timeout) {
          return set_deadline(*since + options_.head_timeout);
        }
        cells_.add(metrics_.ended.at(EndReason::timeout));
        return connection_.terminate();
      }
      if (passes_on()) return rest_if_quiet();
      if (protocol_->requests() > 0) return;  // armed again when the last one ends
      if (const Instant end = idle_since_ + options_.idle_timeout; end > now()) {
        return set_deadline(end);
      }
      return leave(goaway_gap);
    case State::leaving:
      if (must_go_) return connection_.terminate();
      if (given_up_.empty()) return;
      return connection_.established() ? close_given_up() : connection_.terminate();
    case State::handshake:
    case State::closed: return;
  }
}

void ClientConnection::note_movement() {
  idle_since_ = now();
  work();
  if (state_ == State::serving && !timer_.armed()) set_deadline(now() + quiet_after);
}

void ClientConnection::rest_if_quiet() {
  if (const Instant quiet = idle_since_ + quiet_after; quiet > now()) return set_deadline(quiet);
  rest();
}

void ClientConnection::leave(Duration gap) {
  if (leave_gap_) return;
  leave_gap_ = gap;
  // In its handshake: see on_established.
  if (state_ == State::serving) begin_leaving();
}

void ClientConnection::begin_leaving() {
  CHECK(leave_gap_.has_value());
  CHECK(protocol_ != nullptr);
  if (!protocol_->announce_end()) return say_last_word();
  connection_.mark_dirty();
  connection_.transport().reactor().timers().set(last_word_, now(), *leave_gap_);
}

void ClientConnection::say_last_word() { conclude({}); }

void ClientConnection::conclude(std::string_view refusal) {
  if (state_ != State::serving) return;
  CHECK(protocol_ != nullptr);
  set_state(State::leaving);
  protocol_->say_last_word(refusal);
  connection_.mark_dirty();
  close_if_unused();
}

void ClientConnection::close_if_unused() {
  DCHECK(protocol_ != nullptr);
  const bool unused = protocol_->requests() == 0 && !protocol_->wants_output();
  if (state_ == State::leaving && (unused || protocol_->finished())) {
    if (!given_up_.empty()) return close_given_up();
    close_in_order();
  } else if (state_ == State::serving && protocol_->finished()) {
    // Some broken frames are recognised only when the codec's GOAWAY is collected.
    if (!protocol_->broken()) return close_in_order();
    give_up(
        {ErrorKind::protocol, Side::client, Retry::never, "the codec has given the connection up"});
  }
}

void ClientConnection::close_in_order() {
  if (protocol_ != nullptr && protocol_->must_not_close_cleanly()) return connection_.terminate();
  connection_.close();
}

void ClientConnection::close_now() { end({}); }

void ClientConnection::end(std::string_view refusal) {
  conclude(refusal);
  close_in_order();
}

void ClientConnection::make_room(Duration within) {
  makes_room_ = true;
  if (state_ == State::handshake) return connection_.terminate();
  close_within(within);
}

void ClientConnection::close_within(Duration time) {
  must_go_ = true;
  close_now();
  set_deadline(now() + time);
}

bool ClientConnection::is_idle() const {
  return state_ == State::serving && protocol_->requests() == 0 && !protocol_->head_since();
}

std::size_t ClientConnection::resting_bytes() const {
  return is_idle() ? connection_.own_bytes() : 0;
}

// Who has nothing under way learns of it in order, and asks the next connection.
void ClientConnection::end_for_room() {
  if (state_ == State::closed) return;
  cells_.add(metrics_.ended.at(EndReason::limit));
  if (!is_idle() || held_bytes() >= much_held_bytes) return connection_.terminate();
  close_within(end_for_room_within);
}

void ClientConnection::terminate() { connection_.terminate(); }

}  // namespace sluice::server
