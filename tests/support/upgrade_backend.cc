// SPDX-License-Identifier: GPL-3.0-or-later
// An API server as one that is asked to switch protocols.
#include "upgrade_backend.h"

#include <algorithm>
#include <cstring>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::test {

UpgradeBackend::Connection::Connection(UpgradeBackend& backend, int descriptor)
    : backend_(backend), connection_(backend.transport_, *this) {
  connection_.accept(descriptor, [this](std::string_view) { return backend_.context_; });
}

void UpgradeBackend::Connection::send(std::string_view bytes) {
  to_send_ += bytes;
  connection_.mark_dirty();
}

void UpgradeBackend::Connection::end_output(bool in_order) {
  ends_ = in_order;
  connection_.mark_dirty();
}

void UpgradeBackend::Connection::on_established() {
  with_certificate = connection_.engine()->peer_certificate().presented;
  connection_.watch_peer();
}

void UpgradeBackend::Connection::on_receive(Bytes plain) {
  received += as_text(plain);
  if (backend_.on_receive) backend_.on_receive(*this);
}

std::size_t UpgradeBackend::Connection::on_collect(MutableBytes batch) {
  const std::size_t bytes = std::min(batch.size(), unsent());
  if (bytes > 0) std::memcpy(batch.data(), to_send_.data() + sent_, bytes);
  sent_ += bytes;
  if (ends_ && unsent() == 0) connection_.end_output(*ends_);
  return bytes;
}

bool UpgradeBackend::Connection::on_peer_ended(bool in_order) {
  CHECK(!peer_end.has_value());
  peer_end = in_order;
  return true;
}

UpgradeBackend::UpgradeBackend(net::Transport& transport, const io::Address& address)
    : transport_(transport),
      address_(address),
      accept_(io::Operation::bind<&UpgradeBackend::on_accepted>(this)) {
  listen();
}

UpgradeBackend::~UpgradeBackend() { CHECK_EQ(open_connections(), std::size_t{0}); }

void UpgradeBackend::listen(const char* protocol) {
  context_ = ClusterKeys::get().server_context(protocol);
  if (listener_ >= 0) return;
  listener_ = io::listen_on(address_, {}).value();
  transport_.reactor().ring().accept(accept_, listener_);
}

void UpgradeBackend::refuse() {
  if (listener_ >= 0) transport_.reactor().ring().cancel(accept_);
}

void UpgradeBackend::stop() {
  refuse();
  for (const auto& connection : connections_) {
    if (!connection->closed) connection->drop();
  }
}

void UpgradeBackend::on_accepted(const io::Completion& completion) {
  if (completion.result >= 0) {
    connections_.push_back(std::make_unique<Connection>(*this, completion.result));
  }
  if (completion.last) {
    io::close_socket(listener_);
    listener_ = -1;
  }
}

std::size_t UpgradeBackend::open_connections() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      connections_, [](const auto& connection) { return !connection->closed; }));
}

}  // namespace sluice::test
