// SPDX-License-Identifier: GPL-3.0-or-later
// Probes by cluster, and what comes of their answers.
#include "probes.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"
#include "worker.h"

namespace sluice::server {
namespace {

// A cluster's first clients wait for its backends' first answers no longer than this.
constexpr Duration first_probes_max = std::chrono::seconds(3);

}  // namespace

// Keys lie in the settings beside the names.
backend::ClaimIdentity claim_by(const ClusterSettings& settings) {
  return [names = settings.identity_fields](std::string_view user, http::Fields& fields) {
    kubernetes::Identity claim;
    claim.user = user;
    // The role that may read readiness (k8s.io/apiserver pkg/authentication/user).
    claim.groups = {"system:monitoring"};
    names.append(claim, fields);
  };
}

Probes::Probes(const Parts& parts, const net::TransportOptions& transport)
    : parts_(parts), transport_(parts.reactor, transport) {}

Result<void> Probes::add(std::size_t number) {
  const ClusterVersion& version = *parts_.shared.cluster(number).version();
  Result<backend::BackendContexts> contexts;
  if (version.has_backends()) contexts = version.options().backend_tls.make_probe_contexts();
  if (!contexts) return std::unexpected(contexts.error());
  add(number, std::move(*contexts));
  return {};
}

void Probes::add(std::size_t number, backend::BackendContexts contexts) {
  if (probed_.size() <= number) probed_.resize(number + 1);
  Probed& probed = probed_[number];
  CHECK(probed.probe == nullptr);
  probed = {};
  probed.cluster = parts_.shared.table->entries.at(number).cluster;
  probed.contexts = std::move(contexts);
  probed.contexts.generation = probed.cluster->version()->backend_tls;
  const auto& settings = probed.cluster->version()->settings;
  probed.shares = std::make_unique<balance::Shares>();
  update_shares(probed);
  probed.probe = std::make_unique<backend::HealthProbe>(
      transport_, probed.cluster->backends(), probed.contexts, settings->options.probe,
      claim_by(*settings), parts_.environment.random(),
      [this, number](std::size_t backend, const std::string& why) {
        backend_changed({number, backend}, why);
      },
      [this, number](std::size_t backend) { backend_unanswered({number, backend}); });
  allow_for(settings->options.probe.timeout);
  // The only one is used from the start.
  probed.probe->set_quiet(!parts_.shared.alone);
}

// A probe has its own time, which that of connecting must not cut short.
void Probes::allow_for(Duration timeout) {
  net::TransportOptions options = transport_.options();
  if (timeout <= options.connect_timeout) return;
  options.connect_timeout = timeout;
  transport_.update(options);
}

Probes::Probed* Probes::find(std::size_t number) {
  if (number >= probed_.size() || probed_[number].probe == nullptr) return nullptr;
  return &probed_[number];
}

void Probes::start(std::size_t number, Duration within) {
  if (Probed* probed = find(number)) probed->probe->start(within);
}

void Probes::update(std::size_t number, std::optional<backend::BackendContexts> contexts) {
  Probed* probed = find(number);
  if (probed == nullptr) return;
  if (contexts) {
    probed->contexts = std::move(*contexts);
    probed->contexts.generation = probed->cluster->version()->backend_tls;
  }
  const auto& settings = probed->cluster->version()->settings;
  allow_for(settings->options.probe.timeout);
  update_shares(*probed);
  probed->probe->update(probed->cluster->backends(), probed->contexts, settings->options.probe,
                        claim_by(*settings));
}

void Probes::end(std::size_t number) {
  Probed* probed = find(number);
  if (probed == nullptr || std::exchange(probed->ending, true)) return;
  probed->probe->terminate();
}

bool Probes::free(std::size_t number) {
  Probed* probed = find(number);
  if (probed == nullptr) return true;
  if (!probed->ending || !probed->probe->terminated()) return false;
  *probed = {};
  return true;
}

// One that is not found yet has not been asked, either.
bool Probes::first_round_done(std::size_t number) const {
  const Probed& probed = probed_.at(number);
  return probed.cluster->sources().settled() && probed.probe->first_round_done();
}

const backend::BackendContexts* Probes::contexts(std::size_t number) const {
  if (number >= probed_.size() || probed_[number].probe == nullptr) return nullptr;
  return &probed_[number].contexts;
}

void Probes::backend_changed(BackendId backend, const std::string& why) {
  const Cluster& cluster = *probed_.at(backend.cluster).cluster;
  const backend::BackendStatus& status = *cluster.backends().backends.at(backend.backend);
  const backend::Health health = status.health.load(std::memory_order_relaxed);
  const bool trusts = status.trusts_identity.load(std::memory_order_relaxed);
  const bool pending = status.renewal_pending.load(std::memory_order_relaxed);
  const bool good = health != backend::Health::not_ready && trusts && !pending;
  const auto log_change = good ? log::info : log::warning;
  log_change("backend",
             {{"backend", cluster.backend_name(status.endpoint)},
              {"health", to_string(health)},
              {"trusts_identity", trusts},
              {"why", why}},
             log::Place::current());
  update_shares(probed_.at(backend.cluster));
  tell_if_known(backend.cluster);
}

void Probes::backend_unanswered(BackendId backend) {
  tell_if_known(backend.cluster);
  if (!probed_.at(backend.cluster).cluster->backends().any_answers()) return;
  for (WorkerPort* worker : parts_.workers) {
    worker->post([backend](Worker& told) { told.check_backend(backend); });
  }
}

void Probes::cluster_used(std::size_t worker, std::size_t number, bool used) {
  Probed* probed = find(number);
  if (probed == nullptr) return;
  CHECK(used || probed->workers > 0);
  used ? ++probed->workers : --probed->workers;
  if (parts_.shared.alone) return;
  probed->probe->set_quiet(probed->workers == 0);
  if (!used) return;
  if (probed->waiting.empty()) probed->known_at_latest = parts_.reactor.now() + first_probes_max;
  probed->waiting.push_back(worker);
  tell_if_known(number);
}

// Clients wait for it; a backend that does not answer in time is not waited for.
void Probes::tell_if_known(std::size_t number) {
  Probed& probed = probed_.at(number);
  // Its first backend may change its state while it is made.
  if (probed.probe == nullptr) return;
  if (first_round_done(number)) probed.cluster->set_known();
  if (!probed.cluster->known() && parts_.reactor.now() < probed.known_at_latest) return;
  for (const std::size_t worker : std::exchange(probed.waiting, {})) {
    parts_.workers.at(worker)->post([number](Worker& told) { told.cluster_known(number); });
  }
}

namespace {

// A slow one is in use as long as most are slow; then nobody should begin anew.
balance::Shares::Use use_of(const backend::BackendStatus& status) {
  switch (status.health.load(std::memory_order_relaxed)) {
    case backend::Health::ready:
    case backend::Health::slow: return balance::Shares::Use::in_use;
    case backend::Health::not_ready: return balance::Shares::Use::out;
    case backend::Health::unknown: break;
  }
  return status.newcomer ? balance::Shares::Use::out : balance::Shares::Use::in_use;
}

}  // namespace

void Probes::update_shares(Probed& probed) {
  const Cluster& cluster = *probed.cluster;
  const auto& slots = cluster.backends().backends;
  std::vector<balance::Shares::Backend> backends(slots.size());
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (!cluster.backends().serves(slot)) continue;
    backends[slot] = {.who = slots[slot].get(),
                      .use = use_of(*slots[slot]),
                      .answers = cluster.board->answers(slot)};
  }
  probed.shares->update(cluster.version()->options().shares, parts_.reactor.now(), backends);
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const balance::Share before = cluster.board->share(slot);
    const balance::Share share = probed.shares->share(slot);
    if (share == before) continue;
    cluster.board->set_share(slot, share);
    const bool in_use = backends[slot].use == balance::Shares::Use::in_use;
    if (share.why == before.why || !in_use) continue;
    log::info("a backend's share", {{"backend", cluster.backend_name(slots[slot]->endpoint)},
                                    {"lowered", to_string(share.why)},
                                    {"weight", static_cast<double>(share.weight)}});
  }
}

void Probes::probe_now(BackendId backend) {
  if (Probed* probed = find(backend.cluster)) probed->probe->probe_now(backend.backend);
}

void Probes::connections_silent(BackendId backend) {
  if (Probed* probed = find(backend.cluster)) probed->probe->connections_silent(backend.backend);
}

void Probes::check_identity_now(BackendId backend) {
  if (Probed* probed = find(backend.cluster)) probed->probe->check_identity_now(backend.backend);
}

void Probes::tick() {
  for (std::size_t number = 0; number < probed_.size(); ++number) {
    Probed& probed = probed_[number];
    if (!probed.waiting.empty()) tell_if_known(number);
    if (probed.probe != nullptr && (probed.workers > 0 || parts_.shared.alone)) {
      update_shares(probed);
    }
  }
}

void Probes::terminate() {
  for (const Probed& probed : probed_) {
    if (probed.probe != nullptr) probed.probe->terminate();
  }
}

bool Probes::terminated() const {
  return transport_.connections() == 0 && std::ranges::all_of(probed_, [](const Probed& probed) {
           return probed.probe == nullptr || probed.probe->terminated();
         });
}

}  // namespace sluice::server
