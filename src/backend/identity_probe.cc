// SPDX-License-Identifier: GPL-3.0-or-later
// Two reviews, and what their answers say.
#include "identity_probe.h"

#include <utility>

namespace sluice::backend {
namespace {

constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
constexpr std::string_view review_body =
    R"({"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","metadata":{}})";

bool says_nothing(int status) { return status >= 500 || status == 429; }

std::string answers(int status) { return "SelfSubjectReview answers " + std::to_string(status); }

}  // namespace

http::RequestHead probe_head(const Endpoint& endpoint, std::string_view method,
                             std::string_view path, std::string_view accept) {
  http::RequestHead head;
  head.method = method;
  head.scheme = "https";
  head.authority = endpoint.address.to_string();
  head.path = path;
  head.fields.add("user-agent", "sluice-probe");
  head.fields.add("accept", accept);
  return head;
}

IdentityProbe::IdentityProbe(net::Transport& transport, const Endpoint& endpoint, std::string user,
                             std::shared_ptr<const tls::ClientContext> context)
    : endpoint_(endpoint),
      user_(std::move(user)),
      connection_(transport, endpoint, std::move(context)) {}

// First with a claim, which must be believed; then without, which must not be allowed.
void IdentityProbe::ask(const ClaimIdentity& claim, Duration timeout, Done done) {
  timeout_ = timeout;
  done_ = std::move(done);
  review(true, claim);
}

void IdentityProbe::review(bool claimed, const ClaimIdentity& claim) {
  http::RequestHead head = probe_head(endpoint_, "POST", review_path);
  head.fields.add("content-type", "application/json");
  head.fields.add("content-length", std::to_string(review_body.size()));
  if (claimed) claim(user_, head.fields);
  connection_.request(std::move(head), std::string(review_body), timeout_,
                      [this, claimed](Result<ProbeAnswer> answer) {
                        claimed ? claim_answered(answer) : bare_answered(answer);
                      });
}

void IdentityProbe::claim_answered(const Result<ProbeAnswer>& answer) {
  if (!answer) return finish(Verdict::unclear, answer.error().context);
  if (answer->status == 401) {
    return finish(Verdict::refused,
                  "it answers 401 to the front-proxy certificate: its "
                  "--requestheader-client-ca-file or --requestheader-allowed-names do not fit");
  }
  if (answer->status != 200 && answer->status != 201) {
    if (says_nothing(answer->status)) return finish(Verdict::unclear, answers(answer->status));
    // A server without this API: the claim was at least not refused as unauthenticated.
    return finish(Verdict::trusted,
                  answers(answer->status) + ": the identity could not be checked");
  }
  if (answer->body.find("\"" + user_ + "\"") == std::string::npos) {
    return finish(Verdict::refused,
                  "it takes the front-proxy certificate for a user of its own and ignores "
                  "X-Remote-User: check --requestheader-* there");
  }
  connection_.close_after();  // a 401 ends the connection there anyway
  review(false, nullptr);
}

void IdentityProbe::bare_answered(const Result<ProbeAnswer>& answer) {
  if (!answer) return finish(Verdict::unclear, answer.error().context);
  if (answer->status == 200 || answer->status == 201) {
    return finish(Verdict::refused,
                  "it takes the front-proxy certificate for a user's: that certificate must not "
                  "be signed by an authority of its --client-ca-file");
  }
  if (says_nothing(answer->status)) return finish(Verdict::unclear, answers(answer->status));
  finish(Verdict::trusted, "");
}

void IdentityProbe::finish(Verdict verdict, const std::string& why) {
  std::exchange(done_, nullptr)(verdict, why);
}

}  // namespace sluice::backend
