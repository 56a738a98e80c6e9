// SPDX-License-Identifier: GPL-3.0-or-later
// What the workers and the control thread have in common; outlives them all. Each part says which
// threads may use it: atomics, cells and padded lines, each with one writer, or constant.
#pragma once

#include <memory>

#include "client_connection.h"
#include "sluice/backend/backend_set.h"
#include "sluice/balance/charge_table.h"
#include "sluice/balance/load_board.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/net/listener.h"
#include "sluice/observability/access_log.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/proxy.h"
#include "sluice/server/options.h"
#include "worker_metrics.h"

namespace sluice::server {

struct Shared {
  // Header names may be unusable, the access log may not be writable.
  static Result<std::unique_ptr<Shared>> create(const ServerOptions& options);

  backend::Cluster cluster;
  balance::LoadBoard board;
  kubernetes::IdentityFields identity_fields;
  std::unique_ptr<observability::AccessLog> access_log;  // null: none
  net::AdmissionBudget admission;
  balance::ChargeTable charges;  // of clients, by ClientKeys
  metrics::Registry registry;
  proxy::ProxyMetrics proxy_metrics;
  ClientMetrics client_metrics;
  WorkerMetrics worker_metrics;

 private:
  Shared(const ServerOptions& options, kubernetes::IdentityFields names,
         std::unique_ptr<observability::AccessLog> log);
  void register_process(const ServerOptions& options);
  void register_backends();
  void register_logs();
};

}  // namespace sluice::server
