// SPDX-License-Identifier: GPL-3.0-or-later
// An API server whose every move is the test's.
#include "scripted_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::test {

const ClusterKeys& ClusterKeys::get() {
  static const ClusterKeys keys;
  return keys;
}

std::shared_ptr<const tls::ClientContext> ClusterKeys::plain_context(const char* protocol) const {
  return std::move(*tls::ClientContext::create({.ca_pem = serving_ca.pem(),
                                                .certificate_chain_pem = {},
                                                .private_key_pem = {},
                                                .alpn = {protocol}}));
}

std::shared_ptr<const tls::ClientContext> ClusterKeys::identity_context(
    const char* protocol) const {
  return std::move(*tls::ClientContext::create({.ca_pem = serving_ca.pem(),
                                                .certificate_chain_pem = front_proxy.pem(),
                                                .private_key_pem = front_proxy.key_pem(),
                                                .alpn = {protocol}}));
}

std::shared_ptr<const tls::ServerContext> ClusterKeys::server_context(const char* protocol) const {
  return server_context_of({protocol});
}

std::shared_ptr<const tls::ServerContext> ClusterKeys::server_context_of(
    std::vector<std::string> protocols) const {
  return std::move(*tls::ServerContext::create({.certificate_chain_pem = serving.pem(),
                                                .private_key_pem = serving.key_pem(),
                                                .client_ca_pem = front_proxy_ca.pem(),
                                                .alpn = std::move(protocols)}));
}

// --- requests --------------------------------------------------------------------------------

void ScriptedBackend::Request::begin(int status) {
  http::ResponseHead answer_head;
  answer_head.status = status;
  begin(answer_head);
}

void ScriptedBackend::Request::begin(const http::ResponseHead& answer_head) {
  connection->session_.submit_response(id, answer_head, true);
  connection->connection_.mark_dirty();
}

void ScriptedBackend::Request::send(std::string bytes) {
  connection->outgoing_[id].bytes += bytes;
  connection->session_.resume_body(id);
  connection->connection_.mark_dirty();
}

void ScriptedBackend::Request::finish() {
  connection->outgoing_[id].finished = true;
  connection->session_.resume_body(id);
  connection->connection_.mark_dirty();
}

void ScriptedBackend::Request::answer(int status, std::string bytes) {
  http::ResponseHead answer_head;
  answer_head.status = status;
  answer(answer_head, std::move(bytes));
}

void ScriptedBackend::Request::answer(const http::ResponseHead& answer_head, std::string bytes) {
  connection->outgoing_[id] = {std::move(bytes), true};
  connection->session_.submit_response(id, answer_head, true);
  connection->connection_.mark_dirty();
}

void ScriptedBackend::Request::answer_head(int status) {
  http::ResponseHead answer_head;
  answer_head.status = status;
  connection->session_.submit_response(id, answer_head, false);
  connection->connection_.mark_dirty();
}

void ScriptedBackend::Request::refuse() {
  connection->session_.reset_stream(id, http2::ErrorCode::refused_stream);
  connection->connection_.mark_dirty();
}

// --- a connection ----------------------------------------------------------------------------

ScriptedBackend::Connection::Connection(ScriptedBackend& backend, int descriptor)
    : backend_(backend),
      connection_(backend.transport_, *this),
      session_(*this,
               {.server = true, .max_concurrent_streams = backend.options_.max_concurrent_streams},
               backend.transport_.reactor().now()) {
  connection_.accept(descriptor, [this](std::string_view) { return backend_.context_; });
}

void ScriptedBackend::Connection::goaway() {
  session_.goaway_final();
  connection_.mark_dirty();
}

std::size_t ScriptedBackend::Connection::open_streams() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(order_, [](const Request* request) { return !request->closed; }));
}

void ScriptedBackend::Connection::say(std::string_view bytes) {
  to_say_ += bytes;
  said_ = true;
  connection_.mark_dirty();
}

void ScriptedBackend::Connection::end_output(bool in_order) {
  CHECK(http1_);
  ends_ = in_order;
  connection_.mark_dirty();
}

void ScriptedBackend::Connection::on_established() {
  with_certificate_ = connection_.engine()->peer_certificate().verified;
  http1_ = connection_.engine()->alpn() == "http/1.1";
  connection_.mark_dirty();
}

void ScriptedBackend::Connection::on_receive(Bytes plain) {
  if (http1_) heard += as_text(plain);
  if (backend_.mute) return;
  if (http1_) {
    if (backend_.on_bytes) backend_.on_bytes(*this);
    return;
  }
  // Our codec does not know of frames that a test says by itself.
  const bool good = session_.feed(plain, backend_.transport_.reactor().now()).has_value();
  CHECK(good || said_);
  connection_.mark_dirty();
}

std::size_t ScriptedBackend::Connection::on_collect(MutableBytes batch) {
  if (backend_.mute) return 0;
  if (!http1_ && to_say_.empty()) return session_.collect(batch);
  const std::size_t bytes = std::min(batch.size(), to_say_.size());
  if (bytes > 0) std::memcpy(batch.data(), to_say_.data(), bytes);
  to_say_.erase(0, bytes);
  if (ends_ && to_say_.empty()) connection_.end_output(*ends_);
  return bytes;
}

bool ScriptedBackend::Connection::on_peer_ended(bool in_order) {
  if (!http1_) return false;
  peer_end = in_order;
  if (backend_.on_bytes && !backend_.mute) backend_.on_bytes(*this);
  return true;
}

void ScriptedBackend::Connection::on_request(http2::StreamRef ref, http::RequestHead&& head,
                                             bool end_of_stream) {
  Request& request = requests_[ref.id];
  request.connection = this;
  request.id = ref.id;
  request.head = std::move(head);
  order_.push_back(&request);
  open_streams_max_ = std::max(open_streams_max_, open_streams());
  if (backend_.on_head) backend_.on_head(request);
  if (end_of_stream) on_end_of_stream(ref);
}

void ScriptedBackend::Connection::on_data(http2::StreamRef ref, Bytes bytes) {
  requests_[ref.id].body += as_text(bytes);
  session_.consume(ref.id, bytes.size());
}

void ScriptedBackend::Connection::on_end_of_stream(http2::StreamRef ref) {
  Request& request = requests_[ref.id];
  if (std::exchange(request.complete, true)) return;
  if (backend_.on_request) backend_.on_request(request);
}

void ScriptedBackend::Connection::on_stream_closed(http2::StreamRef ref, http2::ErrorCode code,
                                                   bool by_peer) {
  Request& request = requests_[ref.id];
  request.closed = true;
  request.reset = by_peer && code != http2::ErrorCode::no_error;
}

http2::BodyResult ScriptedBackend::Connection::on_body_wanted(http2::StreamRef ref,
                                                              MutableBytes room) {
  Outgoing& outgoing = outgoing_[ref.id];
  const std::size_t bytes = std::min(room.size(), outgoing.bytes.size());
  std::memcpy(room.data(), outgoing.bytes.data(), bytes);
  outgoing.bytes.erase(0, bytes);
  return {bytes, outgoing.finished && outgoing.bytes.empty() ? http2::BodyStatus::finished
                                                             : http2::BodyStatus::more};
}

// --- the server ------------------------------------------------------------------------------

ScriptedBackend::ScriptedBackend(net::Transport& transport, const io::Address& address,
                                 Options options)
    : transport_(transport),
      address_(address),
      options_(options),
      context_(options.http1 ? ClusterKeys::get().server_context_of({"h2", "http/1.1"})
                             : ClusterKeys::get().server_context()),
      accept_(io::Operation::bind<&ScriptedBackend::on_accepted>(this)) {
  listen();
}

ScriptedBackend::~ScriptedBackend() { CHECK_EQ(open_connections(), std::size_t{0}); }

void ScriptedBackend::listen() {
  CHECK(listener_ < 0 && !accept_.in_flight());
  listener_ = io::listen_on(address_, {}).value();
  transport_.reactor().ring().accept(accept_, listener_);
}

void ScriptedBackend::refuse() {
  if (listener_ >= 0) transport_.reactor().ring().cancel(accept_);
}

void ScriptedBackend::stop() {
  refuse();
  for (const auto& connection : connections_) {
    if (!connection->closed()) connection->drop();
  }
}

void ScriptedBackend::on_accepted(const io::Completion& completion) {
  if (completion.result >= 0) {
    connections_.push_back(std::make_unique<Connection>(*this, completion.result));
  }
  if (completion.last) {
    io::close_socket(listener_);
    listener_ = -1;
  }
}

std::size_t ScriptedBackend::open_connections() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      connections_, [](const auto& connection) { return !connection->closed(); }));
}

std::vector<ScriptedBackend::Request*> ScriptedBackend::requests() {
  std::vector<Request*> all;
  for (const auto& connection : connections_) {
    all.insert(all.end(), connection->requests().begin(), connection->requests().end());
  }
  return all;
}

}  // namespace sluice::test
