// SPDX-License-Identifier: GPL-3.0-or-later
// A client of a world.
#include "client.h"

#include <algorithm>
#include <utility>

namespace sluice::server {

WorldClient::WorldClient(net::Transport& transport, std::shared_ptr<const tls::ClientContext> tls,
                         ChooseAddress choose, bool http1)
    : schedule_(transport.reactor()),
      parts_{transport, std::move(tls), std::move(choose), schedule_, finishing_},
      http1_(http1) {}

WorldClient::~WorldClient() = default;

WorldLink& WorldClient::link() {
  const auto usable = std::ranges::find_if(links_, [](const auto& link) { return link->usable(); });
  if (usable != links_.end()) return **usable;
  links_.push_back(http1_ ? make_http1_link(parts_) : make_http2_link(parts_));
  return *links_.back();
}

void WorldClient::ask(Ask& ask) { link().ask(ask); }

void WorldClient::drop() {
  if (!links_.empty()) links_.back()->terminate();
}

void WorldClient::pause(Duration duration) {
  if (!links_.empty()) links_.back()->pause(duration);
}

void WorldClient::finish() {
  finishing_ = true;
  for (const auto& link : links_) link->leave_when_done();
}

void WorldClient::terminate() {
  schedule_.clear();
  for (const auto& link : links_) link->terminate();
}

}  // namespace sluice::server
