// SPDX-License-Identifier: GPL-3.0-or-later
// Readiness, then identity.
#include "sluice/backend/candidate_probe.h"

#include <utility>

#include "identity_probe.h"
#include "sluice/base/check.h"

namespace sluice::backend {

class CandidateProbe::Asking {
 public:
  Asking(net::Transport& transport, const Endpoint& endpoint, std::string user,
         std::shared_ptr<const tls::ClientContext> identity)
      : endpoint_(endpoint),
        user_(user),
        identity_(transport, endpoint, std::move(user), std::move(identity)) {}

  void ask(ClaimIdentity claim, const ProbeOptions& options, Done done) {
    claim_ = std::move(claim);
    timeout_ = options.timeout * 2;
    done_ = std::move(done);
    http::RequestHead head = probe_head(endpoint_, "GET", options.readiness_path);
    claim_(user_, head.fields);
    identity_.connection().request(
        std::move(head), {}, timeout_,
        [this, path = options.readiness_path](const Result<ProbeAnswer>& answer) {
          readiness_answered(path, answer);
        });
  }
  void terminate() { identity_.terminate(); }
  bool terminated() const { return identity_.terminated(); }

 private:
  // Who may not be asked lives (health_probe.h).
  void readiness_answered(const std::string& path, const Result<ProbeAnswer>& answer) {
    if (!answer) return finish(answer.error().context);
    if (answer->status >= 500) return finish(path + " answers " + std::to_string(answer->status));
    identity_.ask(claim_, timeout_, [this](IdentityProbe::Verdict verdict, const std::string& why) {
      const bool unsaid = verdict != IdentityProbe::Verdict::trusted && why.empty();
      finish(unsaid ? "it does not take our front-proxy identity" : why);
    });
  }
  void finish(const std::string& why_not) { std::exchange(done_, nullptr)(why_not); }

  const Endpoint& endpoint_;
  const std::string user_;
  IdentityProbe identity_;
  ClaimIdentity claim_;
  Duration timeout_{};
  Done done_;
};

CandidateProbe::CandidateProbe(net::Transport& transport, Endpoint endpoint, std::string user,
                               std::shared_ptr<const tls::ClientContext> identity)
    : endpoint_(std::move(endpoint)),
      asking_(
          std::make_unique<Asking>(transport, endpoint_, std::move(user), std::move(identity))) {}

CandidateProbe::~CandidateProbe() { CHECK(terminated()); }

void CandidateProbe::ask(ClaimIdentity claim, const ProbeOptions& options, Done done) {
  asking_->ask(std::move(claim), options, std::move(done));
}

void CandidateProbe::terminate() { asking_->terminate(); }

bool CandidateProbe::terminated() const { return asking_->terminated(); }

}  // namespace sluice::backend
