// SPDX-License-Identifier: GPL-3.0-or-later
// One question under other TLS.
#include "tls_trial.h"

#include <utility>

namespace sluice::backend {

TlsTrial::TlsTrial(net::Transport& transport, const Endpoint& endpoint, std::string user,
                   const BackendContexts& contexts)
    : endpoint_(endpoint) {
  if (contexts.identity != nullptr) {
    identity_ =
        std::make_unique<IdentityProbe>(transport, endpoint, std::move(user), contexts.identity);
  } else {
    plain_ = std::make_unique<ProbeConnection>(transport, endpoint, contexts.plain);
  }
}

bool TlsTrial::busy() const { return identity_ ? identity_->busy() : plain_->busy(); }

void TlsTrial::ask(const ClaimIdentity& claim, const ProbeOptions& options, Done done) {
  if (identity_) {
    return identity_->ask(
        claim, options.timeout * 2,
        [done = std::move(done)](IdentityProbe::Verdict verdict, const std::string& why) {
          done(verdict == IdentityProbe::Verdict::trusted, why);
        });
  }
  // Whatever it answers, it has shown a certificate that is believed.
  plain_->close_after();
  plain_->request(probe_head(endpoint_, "GET", options.readiness_path), {}, options.timeout * 2,
                  [done = std::move(done)](const Result<ProbeAnswer>& answer) {
                    done(answer.has_value(), answer ? "" : answer.error().context);
                  });
}

void TlsTrial::terminate() {
  if (identity_) identity_->terminate();
  if (plain_) plain_->terminate();
}

bool TlsTrial::terminated() const {
  return identity_ ? identity_->terminated() : plain_->terminated();
}

}  // namespace sluice::backend
