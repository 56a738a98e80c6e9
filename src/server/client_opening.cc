// SPDX-License-Identifier: GPL-3.0-or-later
// How a client's connection opens: who calls, whose client it is, what its certificate says, which
// HTTP it speaks.
#include "client_connection.h"
#include "client_http1.h"
#include "client_http2.h"
#include "client_pass_through.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/identity.h"
#include "sluice/observability/log.h"
#include "sluice/proxy/client_identity.h"

namespace sluice::server {
namespace {

// Lately, at one address.
constexpr float broken_limits_min = 2.5;  // three, just now

}  // namespace

void ClientConnection::accept(int descriptor, ClusterFinder& clusters,
                              std::optional<std::size_t> listener) {
  CHECK(state_ == State::handshake);
  CHECK(protocol_ == nullptr);
  cells_.add(metrics_.accepted);
  cells_.add(metrics_.connections(speaks_), 1);
  clusters_ = &clusters;
  listener_ = listener;
  const auto select = [this](std::string_view name) { return choose_cluster(name); };
  connection_.accept(descriptor, select, options_.proxy_protocol_from);
}

// At once, or when a balancer has said for whom it calls.
void ClientConnection::on_caller_known() {
  CHECK(!address_share_);
  note_address();
  facts_.keys = resources_.keys(facts_.address);
  facts_.exempt = io::any_contains(options_.exempt, connection_.peer());
  if (!clusters_->may_call(origin()) || !take_address_share()) connection_.terminate();
}

// From here on it is a client of this cluster, and what it costs and proves is between the two:
// where several clusters are served, an address has a name in each.
std::shared_ptr<const tls::ServerContext> ClientConnection::choose_cluster(
    std::string_view server_name) {
  CHECK(cluster_ == nullptr);
  cluster_ = clusters_->find(origin(), server_name);
  if (cluster_ == nullptr) return nullptr;
  judged_under_ = cluster_->trust;
  ++cluster_->clients;
  if (cluster_->names != nullptr) {
    facts_.keys.network = cluster_->proxy.network_key(facts_.address);
    let_go();
    if (!take_address_share()) connection_.terminate();
  }
  if (cluster_->pass_through != nullptr) {
    connection_.pass_on();
    return nullptr;
  }
  if (cluster_->waiting != nullptr) {
    connection_.hold_back();
    cluster_->waiting->push_back(*this);
  }
  return cluster_->tls;
}

bool ClientConnection::take_address_share() {
  auto share = shares_.of_address(facts_, now());
  if (!share) return false;
  address_share_ = std::move(*share);
  const auto lane = facts_.exempt || address_share_.known(now()) ? net::TurnLane::known
                                                                 : net::TurnLane::strangers;
  // The turns of clusters are shared by their addresses.
  connection_.take_turns_of({.client = cluster_ == nullptr ? 0 : cluster_->number,
                             .lane = static_cast<std::size_t>(lane),
                             .part = facts_.keys.network});
  idle_since_ = now();
  if (!facts_.exempt) shares_.add(*this, facts_.keys.network);
  return true;
}

void ClientConnection::note_address() {
  facts_.address = connection_.peer().host();
  facts_.peer = connection_.peer().to_string();
}

bool ClientConnection::take_identity_share() {
  if (!facts_.identity) return true;
  auto share = shares_.of_identity(facts_, now());
  if (share) identity_share_ = std::move(*share);
  return share.has_value();
}

void ClientConnection::handshake_failed(const Error& error) {
  if (error.kind == ErrorKind::unavailable) shares_.no_handshake(facts_, now());
  // Without an engine nothing was computed for it.
  if (!address_share_ || connection_.engine() == nullptr) return;
  address_share_.charge(balance::Charge::handshake, now());
  address_share_.charge(balance::Charge::failed_handshake, now());
}

void ClientConnection::on_established() {
  CHECK(state_ == State::handshake);
  CHECK(protocol_ == nullptr);
  CHECK(cluster_ != nullptr);
  if (cluster_->pass_through != nullptr) return begin_passing();
  if (address_share_) address_share_.charge(balance::Charge::handshake, now());
  establish_identity();
  if (facts_.identity) {
    facts_.keys.user = cluster_->proxy.user_key(facts_.address, facts_.identity->user);
    if (kubernetes::is_component(*facts_.identity)) connection_.never_put_off();
  }
  if (facts_.exempt) connection_.never_put_off();
  begin_protocol();
  set_state(State::serving);
  idle_since_ = now();
  connection_.mark_dirty();
  set_deadline(now() + options_.head_timeout);
  if (!take_identity_share()) {
    return end("Too many connections with this client certificate from this address.");
  }
  if (facts_.identity && !facts_.anonymous) proven();
  if (leave_gap_) begin_leaving();  // its handshake took us into our own stop
}

void ClientConnection::establish_identity() {
  const tls::PeerCertificate& peer = connection_.engine()->peer_certificate();
  if (!peer.presented || peer.chain_der.empty()) {
    cells_.add(metrics_.certificates.at(CertificateResult::none));
    return;
  }
  proxy::ClientIdentity client = proxy::identify_client(peer);
  if (client.identity) {
    facts_.anonymous = kubernetes::is_anonymous(*client.identity);
    facts_.identity = std::move(client.identity);
    facts_.identity_not_after = peer.not_after;  // of the whole path that was verified
    cells_.add(metrics_.certificates.at(CertificateResult::identity));
    return;
  }
  facts_.why_not = client.why_not;
  if (client.refused) {
    facts_.refusal = refusal_of(client);
  }
  cells_.add(metrics_.certificates.at(client.refused ? CertificateResult::refused
                                                     : CertificateResult::no_identity));
  log::info("a client certificate gives no identity",
            {{"client", facts_.peer}, {"why", to_string(client.why_not)}, {"tls", peer.error}});
}

// Who agrees on nothing by ALPN speaks HTTP/1.1.
void ClientConnection::begin_protocol() {
  const Protocol agreed = connection_.engine()->alpn() == "h2" ? Protocol::h2 : Protocol::http1;
  speak(agreed);
  cells_.add(metrics_.handshakes.at(agreed));
  ClientProtocolOwner& owner = *this;
  proxy::Proxy& proxy = cluster_->proxy;
  if (agreed == Protocol::h2) {
    const http2::SessionOptions session =
        has_bad_neighbours() ? options_.session.with_little_patience() : options_.session;
    protocol_ =
        std::make_unique<ClientHttp2>(owner, proxy, facts_, session, cells_, metrics_, now());
  } else {
    protocol_ = std::make_unique<ClientHttp1>(owner, proxy, facts_, options_.session, cells_,
                                              metrics_, now());
  }
}

// Whatever its bytes mean, they go on: as slowly as either side likes.
void ClientConnection::begin_passing() {
  speak(Protocol::pass_through);
  connection_.receive_in_pieces();
  connection_.hear_out();
  connection_.watch_peer();
  ClientProtocolOwner& owner = *this;
  protocol_ = std::make_unique<ClientPassThrough>(
      owner, *cluster_->pass_through, PassedFacts{facts_.peer, connection_.server_name()});
  set_state(State::serving);
  note_movement();
  if (leave_gap_) begin_leaving();
}

// Or the next connection of who has broken a limit would begin with nothing on its account.
bool ClientConnection::has_bad_neighbours() {
  return address_share_ && !facts_.exempt &&
         address_share_.charged(balance::Charge::broken_limit, now()) >= broken_limits_min;
}

}  // namespace sluice::server
