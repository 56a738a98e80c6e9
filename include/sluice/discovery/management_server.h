// SPDX-License-Identifier: GPL-3.0-or-later
// The API server of a management cluster, as a kubeconfig names it: at an address, or by a name
// that is resolved again and again. No clock, no system call.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "sluice/discovery/name_state.h"
#include "sluice/discovery/slice_watch.h"
#include "sluice/discovery/sources.h"

namespace sluice::discovery {

class ManagementServer final : public SliceServers {
 public:
  // `tls` is made of `options`.
  ManagementServer(const SliceOptions& options, std::shared_ptr<const tls::ClientContext> tls);

  // Its name, when it has to be asked for now; once, until it is answered.
  std::optional<std::string> due_name(Instant now);
  // An error: it has no address.
  Result<void> answered(const NameAnswer& answer, Instant now);

  // SliceServers: another address each time, where its name has several.
  std::optional<Server> server(std::size_t turn) override;
  void identify(http::Fields& fields) const override;

 private:
  const Place place_;
  const std::string server_name_;
  const tls::Secret token_;
  const std::shared_ptr<const tls::ClientContext> tls_;
  NameState name_;
};

}  // namespace sluice::discovery
