// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection.
#include "client_connection.h"

#include <algorithm>
#include <cstring>

#include "sluice/base/check.h"
#include "sluice/kubernetes/certificate.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/kubernetes/status.h"
#include "sluice/observability/log.h"
#include "sluice/tls/context.h"

namespace sluice::server {
namespace {

enum EndReason : std::uint8_t { client_closed, reset, tls, timeout, limit, protocol, other };

EndReason end_reason(const Error& error) {
  switch (error.kind) {
    case ErrorKind::closed: return client_closed;
    case ErrorKind::reset: return EndReason::reset;
    case ErrorKind::tls: return EndReason::tls;
    case ErrorKind::timeout: return EndReason::timeout;
    case ErrorKind::limit: return EndReason::limit;
    case ErrorKind::protocol: return EndReason::protocol;
    default: return other;
  }
}

enum CertificateResult : std::uint8_t { none, identity, no_identity };

SlotId slot_of(std::uint64_t tag) {
  return {static_cast<std::uint32_t>(tag), static_cast<std::uint32_t>(tag >> 32)};
}

constexpr std::size_t abuse_kinds = static_cast<std::size_t>(http2::AbuseKind::protocol) + 1;

std::vector<std::string> abuse_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < abuse_kinds; ++i) {
    names.emplace_back(to_string(static_cast<http2::AbuseKind>(i)));
  }
  return names;
}

}  // namespace

ClientMetrics::ClientMetrics(metrics::Registry& registry)
    : connections(registry.gauge("sluice_client_connections", "Open connections of clients.")),
      accepted(registry.counter("sluice_client_connections_accepted_total",
                                "Connections accepted from clients.")),
      handshakes(registry.counter("sluice_client_handshakes_total",
                                  "TLS handshakes completed with clients.")),
      ended(registry.counters(
          "sluice_client_connections_ended_total", "Connections that ended other than by us.",
          {{"reason", {"closed", "reset", "tls", "timeout", "limit", "protocol", "other"}}})),
      abuse(registry.counters("sluice_client_limit_exceeded_total",
                              "Connections ended because a client exceeded a limit.",
                              {{"limit", abuse_names()}})),
      certificates(registry.counters("sluice_client_certificates_total",
                                     "Handshakes by what the client's certificate led to.",
                                     {{"result", {"none", "identity", "no_identity"}}})),
      http1_refused(registry.counter("sluice_client_http1_refused_total",
                                     "Connections refused because they speak HTTP/1.1.")) {}

ClientConnection::ClientConnection(net::Transport& transport, proxy::Proxy& proxy,
                                   const ClientOptions& options, metrics::Cells& cells,
                                   const ClientMetrics& metrics, OnClosed on_closed)
    : connection_(transport, *this),
      proxy_(proxy),
      options_(options),
      cells_(cells),
      metrics_(metrics),
      on_closed_(std::move(on_closed)),
      timer_(io::Timer::bind<&ClientConnection::deadline_passed>(this)) {}

ClientConnection::~ClientConnection() { CHECK(state_ == State::closed); }

void ClientConnection::accept(int descriptor, const net::ContextSelector& select) {
  cells_.add(metrics_.accepted);
  cells_.add(metrics_.connections, 1);
  connection_.accept(descriptor, select);
  facts_.address = connection_.peer().host();
  facts_.peer = connection_.peer().to_string();
}

void ClientConnection::set_deadline(Duration timeout) {
  connection_.transport().reactor().timers().set(timer_, now(), timeout);
}

void ClientConnection::on_established() {
  cells_.add(metrics_.handshakes);
  if (connection_.engine()->alpn() != "h2") {
    state_ = State::refusing;
    set_deadline(options_.head_timeout);
    return;
  }
  establish_identity();
  state_ = State::serving;
  idle_since_ = now();
  http2_ = std::make_unique<http2::Session>(*this, options_.session, now());
  connection_.mark_dirty();
  set_deadline(options_.head_timeout);
}

// What an API server would conclude from the certificate (k8s.io/apiserver
// pkg/authentication/request/x509), and nothing if there is any doubt.
void ClientConnection::establish_identity() {
  const tls::PeerCertificate& peer = connection_.engine()->peer_certificate();
  if (!peer.presented || peer.chain_der.empty()) {
    cells_.add(metrics_.certificates.at(CertificateResult::none));
    return;
  }
  facts_.why_not = kubernetes::NoIdentity::not_verified;
  if (peer.verified) {
    const Bytes leaf(peer.chain_der.front());
    auto identity = kubernetes::identity_of_certificate(leaf, tls::sha256(leaf));
    if (identity) {
      facts_.identity = std::move(*identity);
      facts_.identity_not_after = peer.not_after;  // of the whole path that was verified
    } else {
      facts_.why_not = identity.error();
    }
  }
  cells_.add(metrics_.certificates.at(facts_.identity ? CertificateResult::identity
                                                      : CertificateResult::no_identity));
  if (!facts_.identity) {
    log::info("a client certificate gives no identity",
              {{"client", facts_.peer}, {"why", to_string(facts_.why_not)}, {"tls", peer.error}});
  }
}

void ClientConnection::on_receive(Bytes plain) {
  if (state_ == State::refusing) return refuse_http1();
  if (http2_ == nullptr) return;
  if (const auto fed = http2_->feed(plain, now()); !fed) {
    count_abuse(fed.error().context);
    abandon_streams();
    return connection_.close();  // what is left, a GOAWAY, goes out first
  }
  if (http2_->wants_output()) connection_.mark_dirty();
  watch_head();
  close_if_unused();
}

void ClientConnection::count_abuse(std::string_view why) {
  if (abuse_counted_ || http2_->abuse() == http2::AbuseKind::none) return;
  abuse_counted_ = true;
  cells_.add(metrics_.abuse.at(http2_->abuse()));
  log::info("a client connection is ended",
            {{"client", facts_.peer}, {"limit", to_string(http2_->abuse())}, {"why", why}});
}

// A head must be whole within its time, whatever else the connection does meanwhile.
void ClientConnection::watch_head() {
  if (!http2_->receiving_head()) {
    head_since_.reset();
  } else if (!head_since_) {
    head_since_ = now();
    if (!timer_.armed() || timer_.deadline() > now() + options_.head_timeout) {
      set_deadline(options_.head_timeout);
    }
  }
}

std::size_t ClientConnection::on_collect(MutableBytes batch) {
  if (state_ == State::refusing) {
    const std::size_t n = std::min(batch.size(), refusal_.size());
    std::memcpy(batch.data(), refusal_.data(), n);
    refusal_.erase(0, n);
    return n;
  }
  if (http2_ == nullptr) return 0;
  const std::size_t n = http2_->collect(batch);
  if (n == 0) close_if_unused();
  return n;
}

// Upgrades (exec, attach, port-forward) and clients without HTTP/2 get a sentence instead of a
// closed connection.
void ClientConnection::refuse_http1() {
  if (!refusal_.empty()) return;
  cells_.add(metrics_.http1_refused);
  const std::string body = kubernetes::status_json(
      {.code = 505,
       .message = "this gateway serves HTTP/2 only: HTTP/1.1, and with it exec, attach and "
                  "port-forward, is not available through it",
       .reason = {}});
  refusal_ =
      "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  connection_.close();  // sends the refusal first
}

void ClientConnection::on_end(const Error& error) {
  cells_.add(metrics_.ended.at(end_reason(error)));
  log::debug("a client connection ended", {{"client", facts_.peer}, {"why", error.context}});
  timer_.cancel();
  abandon_streams();
}

void ClientConnection::on_closed() {
  state_ = State::closed;
  timer_.cancel();
  abandon_streams();
  cells_.add(metrics_.connections, -1);
  on_closed_(*this);  // destroys this
}

void ClientConnection::abandon_streams() {
  streams_ = 0;
  if (http2_ == nullptr) return;
  for (const http2::StreamRef ref : http2_->streams()) {
    if (proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag))) exchange->client_gone();
  }
}

void ClientConnection::add_stream(http2::StreamRef ref, SlotId exchange) {
  http2_->set_tag(ref.id, exchange.packed());
  ++streams_;
}

void ClientConnection::on_request(http2::StreamRef ref, http::RequestHead&& head,
                                  bool end_of_stream) {
  add_stream(ref, proxy_.start(*this, ref.id, std::move(head), end_of_stream));
}

void ClientConnection::on_head_too_large(http2::StreamRef ref) {
  add_stream(ref, proxy_.refuse(*this, ref.id, 431, proxy::ReplyReason::head_too_large,
                                "the request has too many header fields, or too large ones"));
}

void ClientConnection::on_data(http2::StreamRef ref, Bytes bytes) {
  if (proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag))) {
    exchange->on_client_body(bytes);
  } else {
    http2_->consume(ref.id, bytes.size());
  }
}

void ClientConnection::on_end_of_stream(http2::StreamRef ref) {
  if (proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag))) exchange->on_client_end();
}

void ClientConnection::on_stream_closed(http2::StreamRef ref, http2::ErrorCode, bool) {
  if (ref.tag != 0 && streams_ > 0) --streams_;
  if (proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag))) exchange->client_gone();
  if (streams_ == 0 && state_ == State::serving) {
    idle_since_ = now();
    set_deadline(options_.idle_timeout);
  }
}

http2::BodyResult ClientConnection::on_body_wanted(http2::StreamRef ref, MutableBytes room) {
  proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag));
  // Never an end of stream: the answer of an exchange that is gone is not whole.
  if (exchange == nullptr) return {0, http2::BodyStatus::more};
  return exchange->on_client_body_wanted(room);
}

const http::Fields* ClientConnection::on_trailers_wanted(http2::StreamRef ref) {
  proxy::Exchange* exchange = proxy_.find(slot_of(ref.tag));
  return exchange == nullptr ? nullptr : exchange->trailers();
}

void ClientConnection::send_interim(http2::StreamId id, const http::ResponseHead& head) {
  http2_->submit_interim(id, head);
  connection_.mark_dirty();
}

void ClientConnection::send_response(http2::StreamId id, const http::ResponseHead& head,
                                     bool has_body) {
  http2_->submit_response(id, head, has_body);
  connection_.mark_dirty();
}

void ClientConnection::resume_body(http2::StreamId id) {
  http2_->resume_body(id);
  connection_.mark_dirty();
}

void ClientConnection::consume(http2::StreamId id, std::size_t bytes) {
  http2_->consume(id, bytes);
  if (http2_->wants_output()) connection_.mark_dirty();
}

void ClientConnection::grow_window(http2::StreamId id, std::uint32_t bytes) {
  http2_->grow_stream_window(id, bytes);
  if (http2_->wants_output()) connection_.mark_dirty();
}

void ClientConnection::reset(http2::StreamId id, http2::ErrorCode code) {
  http2_->reset_stream(id, code);
  connection_.mark_dirty();
}

void ClientConnection::set_urgent(http2::StreamId id) { http2_->set_urgent(id, true); }

void ClientConnection::deadline_passed() {
  switch (state_) {
    case State::refusing: return connection_.close();
    case State::serving:
      if (!http2_->settings_received() ||
          (head_since_ && now() - *head_since_ >= options_.head_timeout)) {
        cells_.add(metrics_.ended.at(EndReason::timeout));
        return connection_.terminate();
      }
      if (head_since_) return set_deadline(*head_since_ + options_.head_timeout - now());
      if (streams_ > 0) return;  // armed again when the last stream ends
      if (const Duration rest = idle_since_ + options_.idle_timeout - now();
          rest > Duration::zero()) {
        return set_deadline(rest);
      }
      return leave();
    case State::handshake:
    case State::leaving:
    case State::closed: return;
  }
}

void ClientConnection::leave_notice() {
  if (state_ != State::serving) return;
  http2_->goaway_notice();
  connection_.mark_dirty();
}

void ClientConnection::leave() {
  if (state_ == State::handshake || state_ == State::refusing) return connection_.close();
  if (state_ != State::serving) return;
  state_ = State::leaving;
  http2_->goaway_final();
  connection_.mark_dirty();
  close_if_unused();
}

void ClientConnection::close_if_unused() {
  if (state_ == State::leaving && streams_ == 0 && !http2_->wants_output())
    connection_.close();
  else if (state_ == State::serving && http2_->finished()) {
    // Some abuse is recognised only when the codec's GOAWAY is collected.
    count_abuse("the codec has given the connection up");
    connection_.close();
  }
}

void ClientConnection::close_now() {
  if (state_ == State::serving) {
    http2_->goaway_final();
    state_ = State::leaving;
  }
  connection_.close();
}

}  // namespace sluice::server
