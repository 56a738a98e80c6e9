// SPDX-License-Identifier: GPL-3.0-or-later
// The slice, trials and losses of one cluster.
#include "self_discovery.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "probes.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// Tenants may be able to edit it: however often they do, it is not listed more often.
constexpr Duration list_pace = std::chrono::seconds(2);
// The machine may be given an address that was another's.
constexpr Duration judge_every = std::chrono::seconds(10);
constexpr Duration look_every = std::chrono::seconds(1);

// Who may list and watch EndpointSlices by the API servers' own roles, and little else
// (system:node-proxier, plugin/pkg/auth/authorizer/rbac/bootstrappolicy).
constexpr std::string_view reader = "system:kube-proxy";

bool is_usable(const backend::BackendStatus& status) {
  const backend::Health health = status.health.load(std::memory_order_relaxed);
  return (health == backend::Health::ready || health == backend::Health::slow) &&
         status.trusts_identity.load(std::memory_order_relaxed);
}

}  // namespace

SelfDiscovery::SelfDiscovery(Parts parts)
    : parts_(std::move(parts)),
      watch_(parts_.transport, *this,
             {.path = "",
              .name_space = "default",
              .service = "kubernetes",
              .port_name = "",
              .slice = "kubernetes",
              .pace = list_pace},
             parts_.environment.random(),
             [this](const Result<std::vector<io::Address>>& named) { told(named); }) {}

SelfDiscovery::~SelfDiscovery() { CHECK(terminated()); }

void SelfDiscovery::terminate() {
  stopping_ = true;
  watch_.terminate();
  for (auto& [address, trial] : std::exchange(trials_, {})) {
    trial->terminate();
    ended_.push_back(std::move(trial));
  }
}

bool SelfDiscovery::terminated() const {
  return stopping_ && watch_.terminated() && trials_.empty() &&
         std::ranges::all_of(ended_, [](const auto& trial) { return trial->terminated(); });
}

Instant SelfDiscovery::now() const { return parts_.transport.reactor().now(); }

void SelfDiscovery::tick() {
  std::erase_if(ended_, [](const auto& trial) { return trial->terminated(); });
  discovery::OwnSlice* rule = parts_.cluster->sources().own_slice();
  if (stopping_ || rule == nullptr) return;
  if (now() >= next_judgement_) {
    next_judgement_ = now() + judge_every;
    judged(rule->judge_again(known(), now()));
  }
  watch_.tick();
  if (now() >= next_look_) {
    next_look_ = now() + look_every;
    look(*rule);
  }
  begin_trials(*rule);
  follow();
}

// --- the slice

std::optional<discovery::SliceServers::Server> SelfDiscovery::server(std::size_t turn) {
  const backend::BackendContexts* contexts = parts_.contexts();
  if (contexts == nullptr || contexts->identity == nullptr) return std::nullopt;
  const backend::Cluster& backends = parts_.cluster->backends();
  std::vector<const backend::BackendStatus*> usable;
  bool all_asked = true;
  for (std::size_t slot = 0; slot < backends.backends.size(); ++slot) {
    if (!backends.serves(slot)) continue;
    const backend::BackendStatus& status = *backends.backends[slot];
    if (is_usable(status)) usable.push_back(&status);
    const bool asked = status.health.load(std::memory_order_relaxed) != backend::Health::unknown;
    all_asked = all_asked && asked;
  }
  if (usable.empty()) {
    if (all_asked && !std::exchange(nobody_usable_, true)) nobody_is_usable();
    return std::nullopt;
  }
  nobody_usable_ = false;
  // While the pair changes: where it is known to be taken.
  const auto adopted = [&](const backend::BackendStatus* status) {
    return status->adopted.load(std::memory_order_relaxed) == contexts->generation;
  };
  if (std::ranges::any_of(usable, adopted)) std::erase_if(usable, std::not_fn(adopted));
  const backend::Endpoint& endpoint = usable[turn % usable.size()]->endpoint;
  return Server{endpoint.address, endpoint.server_name, contexts->identity};
}

void SelfDiscovery::identify(http::Fields& fields) const {
  kubernetes::Identity claim;
  claim.user = reader;
  parts_.cluster->version()->settings->identity_fields.append(claim, fields);
}

void SelfDiscovery::told(const Result<std::vector<io::Address>>& named) {
  discovery::Sources& sources = parts_.cluster->sources();
  if (stopping_ || sources.own_slice() == nullptr) return;
  if (!named) return failed(named.error().context);
  if (named->empty()) return failed("it names nobody that serves");
  if (!sources.own_slice_error().empty()) {
    log::info("the API servers' own slice is followed again",
              {{"cluster", parts_.cluster->name()}});
  }
  former_.clear();
  sources.own_slice_read(parts_.transport.reactor().ring().wall_now());
  judged(sources.own_slice()->take(*named, known(), now()));
  follow();
}

void SelfDiscovery::failed(const std::string& why) {
  discovery::Sources& sources = parts_.cluster->sources();
  if (sources.own_slice_error() != why) {
    log::warning("the API servers' own slice is not known: who was found stays",
                 {{"cluster", parts_.cluster->name()}, {"why", why}});
  }
  sources.own_slice_failed(why);
}

void SelfDiscovery::nobody_is_usable() {
  failed("none of its API servers is usable");
  discovery::OwnSlice* rule = parts_.cluster->sources().own_slice();
  if (rule == nullptr || former_.empty()) return;
  judged(rule->take(std::exchange(former_, {}), known(), now()));
}

discovery::OwnSlice::Known SelfDiscovery::known() {
  return {.ours = parts_.is_ours, .written = [this](const io::Address& address) {
            return parts_.cluster->sources().is_written(address);
          }};
}

// One line for all, however many there are.
void SelfDiscovery::judged(const std::vector<discovery::OwnSlice::Refused>& refused) {
  if (refused.empty()) return;
  log::warning("the API servers' own slice names addresses that are refused",
               {{"cluster", parts_.cluster->name()},
                {"refused", refused.size()},
                {"first", refused.front().address.to_string()},
                {"why", to_string(refused.front().why)}});
}

// --- who was found

// Who has no slot is nobody's.
bool SelfDiscovery::is_lost(const io::Address& address) const {
  const backend::Cluster& backends = parts_.cluster->backends();
  for (std::size_t slot = 0; slot < backends.backends.size(); ++slot) {
    if (!backends.serves(slot) || backends.backends[slot]->endpoint.address != address) continue;
    const backend::BackendStatus& status = *backends.backends[slot];
    return status.health.load(std::memory_order_relaxed) == backend::Health::not_ready ||
           !status.trusts_identity.load(std::memory_order_relaxed);
  }
  return true;
}

void SelfDiscovery::look(discovery::OwnSlice& rule) {
  std::vector<io::Address> lost;
  // When nobody answers it is rather us, or the network.
  if (parts_.cluster->backends().any_answers()) {
    lost = rule.found();
    std::erase_if(lost, [this](const io::Address& address) { return !is_lost(address); });
  }
  const auto gone = rule.look(lost, now());
  if (!gone) return;
  log::info("an API server is lost, and its own slice does not name it: it is a backend no more",
            {{"cluster", parts_.cluster->name()}, {"address", gone->to_string()}});
}

void SelfDiscovery::begin_trials(discovery::OwnSlice& rule) {
  const backend::BackendContexts* contexts = parts_.contexts();
  if (contexts == nullptr || contexts->identity == nullptr) return;
  const discovery::Sources& sources = parts_.cluster->sources();
  const ClusterSettings& settings = *parts_.cluster->version()->settings;
  const std::size_t room =
      discovery::Sources::endpoints_max - std::min(sources.written(), sources.endpoints_max);
  for (const io::Address& address : rule.due(room, now())) {
    auto& trial = trials_[address];
    trial = std::make_unique<backend::CandidateProbe>(
        parts_.transport, sources.endpoint_at(address, address.host()),
        "sluice:probe:" + std::to_string(parts_.environment.random()), contexts->identity);
    trial->ask(claim_by(settings), settings.options.probe,
               [this, address](const std::string& why_not) { tried(address, why_not); });
  }
}

void SelfDiscovery::tried(const io::Address& address, const std::string& why_not) {
  const auto trial = trials_.find(address);
  CHECK(trial != trials_.end());
  trial->second->terminate();
  ended_.push_back(std::move(trial->second));
  trials_.erase(trial);
  discovery::OwnSlice* rule = parts_.cluster->sources().own_slice();
  if (rule == nullptr) return;
  using Outcome = discovery::OwnSlice::Outcome;
  switch (rule->tried(address, why_not, now())) {
    case Outcome::found:
      log::info("an API server is found by its own slice",
                {{"cluster", parts_.cluster->name()}, {"address", address.to_string()}});
      break;
    case Outcome::waits:
      log::info("an address of the API servers' own slice is not used yet",
                {{"cluster", parts_.cluster->name()},
                 {"address", address.to_string()},
                 {"why", why_not}});
      break;
    case Outcome::repeats:
    case Outcome::nobodys: break;
  }
  follow();
}

void SelfDiscovery::follow() {
  discovery::OwnSlice* rule = parts_.cluster->sources().own_slice();
  if (rule == nullptr) return;
  std::vector<io::Address> found = rule->found();
  if (found == found_) return;
  found_ = std::move(found);
  if (parts_.cluster->sources().own_slice_changed()) parts_.changed();
}

}  // namespace sluice::server
