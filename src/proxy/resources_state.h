// SPDX-License-Identifier: GPL-3.0-or-later
// What the proxies of one worker share.
#pragma once

#include "body_queue.h"
#include "budget.h"
#include "governor.h"
#include "sluice/base/list.h"
#include "sluice/proxy/resources.h"

namespace sluice::proxy {

struct TenantTag;

// One cluster's part, as the whole sees it.
class Tenant : public ListNode<TenantTag> {
 public:
  using Connections = std::vector<ConnectionHolding*>;

  explicit Tenant(const Proxy& proxy) : proxy_(proxy) {}
  virtual ~Tenant() = default;
  const Proxy& proxy() const { return proxy_; }
  virtual std::size_t exchanges() const = 0;
  // What its clients hold in requests.
  virtual std::size_t charged_bytes() const = 0;
  // Whoever holds most of it loses requests, or some of these connections of its clients.
  virtual void make_room(const Connections& connections) = 0;

 private:
  const Proxy& proxy_;
};

class Resources::State {
 public:
  State(const ResourcesParts& p, const ResourcesOptions& o)
      : parts(p),
        blocks(4096),
        budget({.bytes_max = o.body_bytes_per_worker,
                .replay_bytes_max = o.replay_body_bytes_per_worker}),
        governor({.wait_max = o.overload_wait, .patience = o.overload_patience}) {}

  void add(Tenant& tenant) { tenants_.push_back(tenant); }
  void look_at_room();
  // Says when the worker begins and ends to refuse requests because it has too much to do.
  void look_at_load();
  bool unused() const { return tenants_.empty(); }
  void count(Mistake mistake) { parts.cells.add(parts.metrics.wrong_transitions.at(mistake)); }

  const ResourcesParts parts;
  BlockPool blocks;
  Budget budget;
  Governor governor;
  std::uint64_t connections_named = 0;  // of clients, so far

 private:
  void make_room();
  Tenant* largest(const Tenant::Connections& connections);

  List<Tenant, TenantTag> tenants_;
  Instant next_room_{};
  bool sheds_ = false;  // as it was said
};

}  // namespace sluice::proxy
