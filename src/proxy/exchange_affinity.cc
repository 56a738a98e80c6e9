// SPDX-License-Identifier: GPL-3.0-or-later
// What an exchange's client has seen so far, and through which backends: where its request should
// go, so that it sees what one server would have shown it.
#include "exchange.h"
#include "sluice/kubernetes/server_lag.h"

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;

ResourceMemory::Name name_of(const kubernetes::RequestInfo& info) {
  return ResourceMemory::name_of(info.api_group, info.resource);
}

// How long it counts where a client's newest knowledge comes from.
constexpr Duration newest_kept = std::chrono::seconds(30);

}  // namespace

// Nothing when any backend will do. What the client has written it must find, also where versions
// differ.
std::optional<Preference> Exchange::prefer() {
  const Duration lasting = shared_.options.write_affinity;
  if (lasting != Duration::zero()) {
    if (const auto wrote = prefer_written(lasting)) return wrote;
  }
  if (!kubernetes::describes_server(plan_.info)) return std::nullopt;
  const backend::BackendSet& backends = shared_.parts.backends;
  const balance::BackendMask lowest = backends.of_lowest_version(backends.usable(plan_.pool));
  if (lowest == 0) return std::nullopt;
  dispatch_.prefer(lowest);
  return Preference::lowest_version;
}

std::optional<Preference> Exchange::prefer_written(Duration lasting) {
  if (!shared_.affinity.empty() && account_.get()->connections <= WriteAffinity::connections_max) {
    const std::uint64_t client = WriteAffinity::client_of(plan_, client_->facts().keys);
    if (const auto there = shared_.affinity.backend_of(client, lasting, now())) {
      dispatch_.prefer(there);
      return Preference::client_wrote;
    }
  }
  const ResourceMemory& seen = client_->resources();
  if (!seen.empty() && kubernetes::reads_any_version(plan_.info)) {
    if (const auto there = seen.written_at(name_of(plan_.info), lasting, now())) {
      dispatch_.prefer(balance::mask_of(*there));
      return Preference::resource_wrote;
    }
  }
  return std::nullopt;
}

void Exchange::count_preferred(Preference why) {
  if (dispatch_.as_preferred()) shared_.count(metrics().preferred.at(why));
}

// To where its client's newest knowledge comes from; who knows of nothing newer would be sent to
// any other server, which may be older still.
bool Exchange::leave_stale() {
  const auto newest = client_->resources().newest_at(name_of(plan_.info), newest_kept, now());
  return move(ReplayCause::stale_cache, newest ? balance::mask_of(*newest) : 0);
}

// Those that may serve a path which the present one does not know.
balance::BackendMask Exchange::others_by_version() const {
  const backend::BackendSet& backends = shared_.parts.backends;
  return backends.of_other_version(dispatch_.attempts().backend(), backends.usable(plan_.pool));
}

// Once, whatever an answer said of its server. False: the answer is the client's.
bool Exchange::move(ReplayCause cause, balance::BackendMask to) {
  if (dispatch_.attempts().moved()) {
    shared_.count(metrics().replays_in_vain.at(cause));
    return false;
  }
  if (!dispatch_.may_go_to(to, plan_)) return false;
  dispatch_.attempts().move();
  dispatch_.prefer(to);
  return replay(Retry::not_executed, cause, to_string(cause)) != Outcome::impossible;
}

// Its answer goes to the client, or, of a watch, has come to its end.
void Exchange::remember_source() {
  const int status = answer_.head().status;
  if (!plan_.info.is_resource || status < 200 || status >= 300) return;
  switch (request_class()) {
    case RequestClass::short_write: return remember_write();
    case RequestClass::list:
    case RequestClass::watch:
    case RequestClass::watch_list:
      return client_->resources().read(name_of(plan_.info), dispatch_.attempts().backend(), now());
    case RequestClass::short_read:
    case RequestClass::long_running_other:
    case RequestClass::upgrade: return;
  }
}

void Exchange::remember_write() {
  const std::size_t backend = dispatch_.attempts().backend();
  client_->resources().wrote(name_of(plan_.info), backend, now());
  const Duration lasting = shared_.options.write_affinity;
  if (lasting == Duration::zero() || !kubernetes::changes_servers(plan_.info)) return;
  if (account_.get()->connections > WriteAffinity::connections_max) return;
  const OwnWrite write{WriteAffinity::client_of(plan_, client_->facts().keys), backend};
  if (write.client == 0) return;
  if (shared_.affinity.wrote(write, lasting, now())) shared_.parts.events.on_own_write(write);
}

}  // namespace sluice::proxy
