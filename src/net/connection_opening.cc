// SPDX-License-Identifier: GPL-3.0-or-later
// How a connection opens: a balancer's word about who calls, then the ClientHello; or towards a
// backend.
#include <algorithm>
#include <utility>

#include "sluice/net/connection.h"
#include "sluice/net/proxy_protocol.h"
#include "sluice/tls/client_hello.h"

namespace sluice::net {
namespace {

constexpr std::size_t hello_bytes_max = 64 * 1024;
constexpr std::size_t accepted_bytes = 2 * 1024;  // with its owner, before there is TLS

Error tls_error(std::string why) {
  return {ErrorKind::tls, Side::self, Retry::never, std::move(why)};
}

}  // namespace

void Connection::accept(int descriptor, const ContextSelector& select,
                        std::span<const io::Network> balancers) {
  select_ = select;
  own_bytes_.set(accepted_bytes);
  tcp_.accept(descriptor);
  set_deadline(transport_.options().handshake_timeout);
  tcp_.receive_once();
  if (io::any_contains(balancers, tcp_.peer())) return await_proxy_header();
  handler_.on_caller_known();
}

void Connection::connect(const io::Address& address,
                         std::shared_ptr<const tls::ClientContext> context,
                         std::string_view server_name) {
  tcp_.connect(address);
  auto engine = tls::Engine::client(std::move(context), server_name);
  if (!engine) return fail(std::move(engine.error()));
  engine_ = std::move(*engine);
}

void Connection::on_connected() {
  set_phase(Phase::handshaking);
  set_deadline(transport_.options().handshake_timeout);
  queue_handshake();
}

// The header's time is the first part of the handshake's.
void Connection::await_proxy_header() {
  set_phase(Phase::proxy_header);
  const TransportOptions& options = transport_.options();
  const Duration timeout = std::min(options.proxy_header_timeout, options.handshake_timeout);
  handshake_time_left_ = options.handshake_timeout - timeout;
  set_deadline(timeout);
}

void Connection::read_proxy_header() {
  const ProxyHeader header = net::read_proxy_header(held_);
  switch (header.status) {
    case ProxyHeader::Status::incomplete: return tcp_.receive_once();
    case ProxyHeader::Status::invalid:
      return fail({ErrorKind::protocol, Side::client, Retry::never,
                   "no PROXY header: " + std::string(header.why)},
                  Phase::refused);
    case ProxyHeader::Status::complete: break;
  }
  if (header.source || !header.authority.empty()) {
    named_ = std::make_unique<const Named>(Named{header.source, std::string(header.authority)});
  }
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(header.bytes));
  count_held();
  const Duration left = handshake_deadline_.deadline() - transport_.reactor().now();
  set_deadline(handshake_time_left_ + std::max(left, Duration::zero()));
  const bool named = header.source || !held_.empty();
  set_phase(named ? Phase::opening : Phase::unnamed);
  if (named) name_caller();
  read_hello();
}

void Connection::name_caller() {
  if (state() == State::opening) handler_.on_caller_known();  // else a mistake of ours has ended it
}

void Connection::read_hello() {
  if (state() != State::opening) return;  // by a mistake of ours
  if (held_.size() > hello_bytes_max) {
    return fail({ErrorKind::limit, Side::self, Retry::never, "the ClientHello is too long"});
  }
  tls::ClientHello hello = tls::peek_client_hello(held_);
  switch (hello.status) {
    case tls::ClientHello::Status::incomplete: return tcp_.receive_once();
    case tls::ClientHello::Status::plain_http:
      return fail(tls_error("an HTTP request without TLS"), Phase::without_tls);
    case tls::ClientHello::Status::invalid:
      return fail(tls_error(net::read_proxy_header(held_).status == ProxyHeader::Status::complete
                                ? "a PROXY header that nobody has asked for"
                                : "not a TLS ClientHello"));
    case tls::ClientHello::Status::complete: break;
  }
  server_name_ = std::move(hello.server_name);
  const std::string& asked_for =
      named_ && !named_->authority.empty() ? named_->authority : server_name_;
  context_ = select_(asked_for);
  if (state() != State::opening) return;
  if (passed_on_) return begin_passing();
  if (context_ == nullptr) {
    return fail(tls_error("nobody has the server name " + asked_for), Phase::nobody);
  }
  if (!held_back_) begin_handshake();
}

void Connection::go_on() {
  if (std::exchange(held_back_, false) && state() == State::opening) begin_handshake();
}

void Connection::begin_passing() {
  leave_handshake();
  set_phase(Phase::passed_on);
  const std::vector<std::uint8_t> hello = std::exchange(held_, {});
  count_held();
  handler_.on_established();
  if (established()) give_out(hello);
  if (established() && input_ == Input::direct) tcp_.receive();
}

void Connection::begin_handshake() {
  if (!transport_.may_wait(turns_)) {
    return fail({ErrorKind::unavailable, Side::self, Retry::not_executed,
                 "too many handshakes of this client wait already"});
  }
  set_phase(Phase::handshaking);
  queue_handshake();
}

}  // namespace sluice::net
