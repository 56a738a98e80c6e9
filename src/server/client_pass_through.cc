// SPDX-License-Identifier: GPL-3.0-or-later
// The client's side of a connection that is passed on.
#include "client_pass_through.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::server {

ClientPassThrough::ClientPassThrough(ClientProtocolOwner& owner, PassThrough& targets,
                                     PassedFacts facts)
    : owner_(owner) {
  PassedClient& client = *this;
  passed_ = &targets.open(client, std::move(facts));
}

ClientPassThrough::~ClientPassThrough() { CHECK(passed_ == nullptr); }

Result<void> ClientPassThrough::receive(Bytes bytes, Instant) {
  if (passed_ != nullptr) passed_->send(bytes);
  return {};
}

std::size_t ClientPassThrough::collect(MutableBytes room) {
  return passed_ == nullptr ? 0 : passed_->collect(room);
}

bool ClientPassThrough::peer_ended(bool) {
  if (passed_ == nullptr) return false;
  passed_->end_input();
  return true;
}

// TLS says itself whether it was cut.
std::optional<bool> ClientPassThrough::output_ended() const {
  if (passed_ == nullptr || !passed_->output_ended()) return std::nullopt;
  return false;
}

void ClientPassThrough::describe(Outline& outline) const {
  if (passed_ != nullptr) outline.add(2, passed_->describe());
}

void ClientPassThrough::abandon() {
  if (passed_ != nullptr) std::exchange(passed_, nullptr)->client_gone();
}

}  // namespace sluice::server
