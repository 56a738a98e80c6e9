// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a backend takes our front-proxy certificate for what it is: a SelfSubjectReview through a
// connection with it must name exactly the user that we claim, and one without a claim must not be
// allowed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "probe_connection.h"
#include "sluice/backend/health_probe.h"

namespace sluice::backend {

// A question of the probes to this backend, but for its body.
http::RequestHead probe_head(const Endpoint& endpoint, std::string_view method,
                             std::string_view path, std::string_view accept = "application/json");

class IdentityProbe {
 public:
  enum class Verdict : std::uint8_t {
    trusted,  // `why` may say that it could not be checked
    refused,
    unclear,  // no answer, or none that says anything
  };
  using Done = std::function<void(Verdict, const std::string& why)>;

  // `endpoint` outlives the object. `user`: nobody's name but ours.
  IdentityProbe(net::Transport& transport, const Endpoint& endpoint, std::string user,
                std::shared_ptr<const tls::ClientContext> context);

  // See ProbeConnection.
  void use(std::shared_ptr<const tls::ClientContext> context) {
    connection_.use(std::move(context));
  }
  bool busy() const { return connection_.busy(); }
  // For other questions that want the certificate, while it is not busy.
  ProbeConnection& connection() { return connection_; }
  void terminate() { connection_.terminate(); }
  bool terminated() const { return connection_.terminated(); }

  // Once for each, never from inside of it.
  void ask(const ClaimIdentity& claim, Duration timeout, Done done);

 private:
  void review(bool claimed, const ClaimIdentity& claim);
  void claim_answered(const Result<ProbeAnswer>& answer);
  void bare_answered(const Result<ProbeAnswer>& answer);
  void finish(Verdict verdict, const std::string& why);

  const Endpoint& endpoint_;
  const std::string user_;
  ProbeConnection connection_;
  Duration timeout_{};
  Done done_;
};

}  // namespace sluice::backend
