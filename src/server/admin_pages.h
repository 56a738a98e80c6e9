// SPDX-License-Identifier: GPL-3.0-or-later
// What the admin listener serves, without HTTP: paths in, replies out.
//
//   /metrics       Prometheus' text format     /backends  each backend's state, as JSON
//   /livez         200 while workers turn      /clusters  each cluster's, as JSON
//   /readyz        200 while clients should come here, whatever one of several clusters does
//   /readyz/NAME   200 while that cluster's clients should
//   /debug         what each worker is at, told by itself
//
// Thread: the control thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "admin.h"
#include "shared.h"
#include "stop_sequence.h"

namespace sluice::server {

// What the pages ask of the process at the moment they are asked for.
class ProcessState {
 public:
  virtual ~ProcessState() = default;
  virtual StopSequence::State stop_state() const = 0;
  virtual bool workers_turn() const = 0;
  virtual Instant now() const = 0;
  // Answers within a second (debug_page.h).
  virtual void ask_workers(std::move_only_function<void(const std::string&)> answer) = 0;
};

class AdminPages {
 public:
  AdminPages(const Shared& shared, ProcessState& process) : shared_(shared), process_(process) {}

  // `path` is without query.
  void get(std::string_view path, Admin::Answer answer);

 private:
  AdminReply page(std::string_view path) const;  // those that need nobody's answer
  AdminReply livez() const;
  AdminReply readyz() const;
  AdminReply readyz_of(std::string_view cluster) const;

  const Shared& shared_;
  ProcessState& process_;
};

// {"backends":[{"name":…,"health":…,"trustsIdentity":…,"work":…,"watches":…,"tunnels":…,"requests":…}]}
// and the cluster's name behind the backend's, where clusters have names; at the end "ageSeconds"
// of one that is known to have been started then, "version" of its API, if that is known, and
// "leaving":true of one that is no backend any more.
std::string backends_page(const Shared& shared, Instant now);

// {"clusters":[{"name":…,"generation":…,"serverNames":[…],"others":…,"usable":…,
// "certificates":[{"use":…,"notAfter":…}],"backends":[as above]}]}
// Behind "generation", "leaving":true of one that is served no more, and "lastError" of one that
// serves on as it was before its file had mistakes; in "broken" those that were never served; and
// at the end "lastError" of the process.
std::string clusters_page(const Shared& shared, Instant now);

}  // namespace sluice::server
