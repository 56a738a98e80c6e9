// SPDX-License-Identifier: GPL-3.0-or-later
// One question for the version.
#include "version_probe.h"

#include <utility>

#include "identity_probe.h"
#include "sluice/backend/api_version.h"

namespace sluice::backend {
namespace {

// After a question without an answer, of a server that answers others.
constexpr Duration retry = std::chrono::seconds(5);

}  // namespace

VersionProbe::VersionProbe(net::Transport& transport, BackendStatus& status,
                           std::shared_ptr<const tls::ClientContext> context)
    : status_(status), connection_(transport, status.endpoint, std::move(context)) {}

void VersionProbe::look(const std::function<void(http::Fields&)>& claim, Duration every,
                        Duration timeout, Instant now) {
  if (connection_.busy()) return;
  if (asked_ && now < *asked_ + (answered_ ? every : retry)) return;
  asked_ = now;
  answered_ = false;
  http::RequestHead head = probe_head(status_.endpoint, "GET", "/version");
  if (claim) claim(head.fields);
  connection_.close_after();
  connection_.request(std::move(head), {}, timeout,
                      [this](const Result<ProbeAnswer>& answer) { answered(answer); });
}

// What it was said to be before counts until it says otherwise.
void VersionProbe::answered(const Result<ProbeAnswer>& answer) {
  answered_ = answer.has_value();
  if (!answer || answer->status != 200) return;
  const auto version = read_api_version(answer->body);
  status_.version.store(version ? version->number() : 0, std::memory_order_relaxed);
}

void VersionProbe::forget() {
  asked_.reset();
  status_.version.store(0, std::memory_order_relaxed);
}

}  // namespace sluice::backend
