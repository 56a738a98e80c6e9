// SPDX-License-Identifier: GPL-3.0-or-later
// What answers make of a backend's health and of the trust in its view of our identity.
#include "sluice/backend/health_probe.h"

#include <gmock/gmock.h>

#include "backend_fixture.h"
#include "sluice/backend/api_version.h"

namespace sluice::backend {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view user_field = "x-remote-user";
constexpr std::string_view metrics_path = "/metrics";
constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

class HealthProbeTest : public testing::Test {
 protected:
  void TearDown() override {
    if (probe_) probe_->terminate();
    if (backend_) backend_->stop();
    simulation_.settle();
    EXPECT_TRUE(!probe_ || probe_->terminated());
  }

  void listen() {
    backend_ = std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(1));
    backend_->on_request = [this](test::ScriptedBackend::Request& request) { serve(request); };
  }

  HealthProbeTest() { options_.version_interval = Duration::zero(); }

  void make_probe(bool with_identity = false, std::uint64_t seed = 1) {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    probe_.reset();
    const BackendContexts contexts{keys.plain_context(),
                                   with_identity ? keys.identity_context() : nullptr};
    probe_ = std::make_unique<HealthProbe>(
        simulation_.transport(), cluster_, contexts, options_,
        [](std::string_view user, http::Fields& fields) { fields.add(user_field, user); }, seed,
        [this](std::size_t, const std::string& text) { changes_.push_back(text); },
        [this](std::size_t) { ++unanswered_; });
  }

  // A backend, a probe, and its first answer.
  void start(bool with_identity = false) {
    listen();
    make_probe(with_identity);
    probe_->start();
    simulation_.settle();
  }

  virtual void serve(test::ScriptedBackend::Request& request) {
    asked_at_ = simulation_.now();
    if (readiness_ > 0) request.answer(readiness_);
  }
  void next_probe() { simulation_.advance(options_.interval * 6 / 5); }
  // The probe that waits gets its answer.
  void answer(int status = 200) {
    backend_->requests().back()->answer(status);
    simulation_.settle();
  }
  // A probe whose answer takes so long.
  void late_probe(Duration latency, int status = 200) {
    readiness_ = 0;
    next_probe();
    simulation_.advance(latency - (simulation_.now() - asked_at_));
    answer(status);
    readiness_ = 200;
  }
  bool answers() const { return cluster_.backends[0]->answers.load(); }
  Health health() const { return cluster_.backends[0]->health.load(); }
  bool trusts() const { return cluster_.backends[0]->trusts_identity.load(); }

  test::Simulation simulation_;
  ProbeOptions options_;
  Cluster cluster_{{Endpoint{address_of(1), "api-1", "backend"}}};
  std::unique_ptr<test::ScriptedBackend> backend_;
  std::unique_ptr<HealthProbe> probe_;
  std::vector<std::string> changes_;
  int readiness_ = 200;  // 0: no answer
  int unanswered_ = 0;
  Instant asked_at_{};
};

// --- readiness -------------------------------------------------------------------------------

TEST_F(HealthProbeTest, ABackendThatAnswers200IsReadyAtOnce) {
  listen();
  make_probe();
  EXPECT_EQ(health(), Health::unknown);
  EXPECT_FALSE(probe_->first_round_done());
  probe_->start();
  simulation_.settle();
  EXPECT_EQ(health(), Health::ready);
  EXPECT_TRUE(probe_->first_round_done());
  EXPECT_EQ(backend_->requests().at(0)->head.path, "/readyz");
  EXPECT_THAT(changes_, ElementsAre("ready"));
}

TEST_F(HealthProbeTest, AsksAboutOnceASecondOnOneConnection) {
  start();
  simulation_.advance(20s);
  EXPECT_GE(backend_->requests().size(), 18U);
  EXPECT_LE(backend_->requests().size(), 21U);
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_EQ(probe_->counters(0).failures, 0U);
}

TEST_F(HealthProbeTest, One500TakesABackendOut) {
  start();
  readiness_ = 500;
  next_probe();
  EXPECT_EQ(health(), Health::not_ready);
  EXPECT_THAT(changes_.back(), HasSubstr("/readyz answers 500"));
}

TEST_F(HealthProbeTest, ARefusedConnectionTakesABackendOut) {
  make_probe();
  probe_->start();
  simulation_.settle();
  EXPECT_EQ(health(), Health::not_ready);
  EXPECT_TRUE(probe_->first_round_done());
}

TEST_F(HealthProbeTest, ALateAnswerIsASlowBackendsTheSecondTimeAndNotADeadOnes) {
  start();
  late_probe(options_.timeout * 3 / 2);
  EXPECT_EQ(probe_->counters(0).failures, 1U);
  EXPECT_EQ(health(), Health::ready);
  EXPECT_FALSE(answers());
  for (int i = 0; i < 20; ++i) late_probe(options_.timeout * 3 / 2);
  EXPECT_EQ(health(), Health::slow);
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_EQ(changes_.size(), 2U);
  next_probe();
  EXPECT_EQ(health(), Health::slow);
  EXPECT_TRUE(answers());
  next_probe();
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(HealthProbeTest, OneGoodAnswerBetweenThemForgivesALateOne) {
  start();
  for (int i = 0; i < 3; ++i) {
    late_probe(options_.timeout * 3 / 2);
    next_probe();
  }
  EXPECT_EQ(probe_->counters(0).failures, 3U);
  EXPECT_EQ(health(), Health::ready);
  EXPECT_THAT(changes_, ElementsAre("ready"));
}

TEST_F(HealthProbeTest, AProbeStaysOpenUntilItsBackendHasBeenSilentForLong) {
  start();
  readiness_ = 0;
  next_probe();
  const Instant asked = asked_at_;
  simulation_.advance(asked + options_.timeout * 2 + 20ms - simulation_.now());
  EXPECT_EQ(health(), Health::slow);
  EXPECT_EQ(unanswered_, 2);
  simulation_.advance(asked + options_.timeout * 5 - 20ms - simulation_.now());
  EXPECT_EQ(health(), Health::slow);
  EXPECT_EQ(backend_->accepted(), 1U);
  simulation_.advance(40ms);
  EXPECT_EQ(health(), Health::not_ready);
  next_probe();
  EXPECT_EQ(backend_->accepted(), 2U);
}

TEST_F(HealthProbeTest, SilentConnectionsBesideALateProbeTakeABackendOut) {
  start();
  probe_->connections_silent(0);  // a probe asks first
  simulation_.settle();
  EXPECT_EQ(health(), Health::ready);
  readiness_ = 0;
  next_probe();
  simulation_.advance(options_.timeout);
  probe_->connections_silent(0);
  EXPECT_EQ(health(), Health::not_ready);
  EXPECT_THAT(changes_.back(), HasSubstr("neither"));
  answer();
  readiness_ = 200;
  next_probe();
  EXPECT_EQ(health(), Health::not_ready);
  next_probe();
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(HealthProbeTest, ABackendThatIsBackButLateIsSlow) {
  start();
  readiness_ = 500;
  next_probe();
  late_probe(options_.timeout * 2);
  EXPECT_EQ(health(), Health::not_ready);
  late_probe(options_.timeout * 2);
  EXPECT_EQ(health(), Health::slow);
}

TEST_F(HealthProbeTest, ALate500IsABadAnswerAllTheSame) {
  start();
  late_probe(options_.timeout * 2, 500);
  EXPECT_EQ(health(), Health::not_ready);
}

TEST_F(HealthProbeTest, OnlyAnAnswerSaysThatTheConnectionsNeedNoLook) {
  start();
  readiness_ = 500;
  next_probe();
  EXPECT_EQ(unanswered_, 0);
  readiness_ = 200;
  next_probe();
  backend_->connection(0).drop();
  backend_->refuse();
  next_probe();
  EXPECT_GE(unanswered_, 1);
  EXPECT_FALSE(answers());
}

TEST_F(HealthProbeTest, WhoWasNotRunningDoesNotBlameTheBackend) {
  start();
  readiness_ = 0;
  next_probe();
  simulation_.network().now_ += 1min;
  simulation_.settle();
  EXPECT_EQ(probe_->counters(0).failures, 0U);
}

TEST_F(HealthProbeTest, TwoGoodAnswersBringABackendBack) {
  start();
  readiness_ = 500;
  next_probe();
  readiness_ = 200;
  next_probe();
  EXPECT_EQ(health(), Health::not_ready);
  next_probe();
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(HealthProbeTest, WhoComesAndGoesHasToStayForLongerEachTime) {
  start();
  const auto probes = [&](int status, int count) {
    readiness_ = status;
    const std::size_t end = backend_->requests().size() + static_cast<std::size_t>(count);
    while (backend_->requests().size() < end) simulation_.advance(options_.interval / 20);
  };
  probes(500, 1);
  for (const int needed : {2, 4, 8}) {
    probes(200, needed - 1);
    EXPECT_EQ(health(), Health::not_ready) << needed;
    probes(200, 1);
    EXPECT_EQ(health(), Health::ready) << needed;
    probes(500, 1);
    EXPECT_EQ(health(), Health::not_ready) << needed;
  }
  // As a server that is up for three seconds and down for three.
  for (int i = 0; i < 20; ++i) {
    probes(200, 3);
    EXPECT_EQ(health(), Health::not_ready);
    probes(500, 3);
  }
}

TEST_F(HealthProbeTest, TellsAsOfWhenABackendWasReady) {
  start();
  const auto ready_as_of = [&] {
    return Instant{Duration{cluster_.backends[0]->ready_as_of.load()}};
  };
  const Instant first = ready_as_of();
  EXPECT_GT(first, Instant{});
  next_probe();
  EXPECT_LE(ready_as_of(), asked_at_);
  EXPECT_GT(ready_as_of(), asked_at_ - options_.interval / 2);
  const Instant last = ready_as_of();
  readiness_ = 500;
  next_probe();
  EXPECT_EQ(ready_as_of(), last);
}

TEST_F(HealthProbeTest, ABadAnswerBetweenThemStartsTheCountAnew) {
  start();
  readiness_ = 500;
  next_probe();
  for (const int status : {200, 500, 200}) {
    readiness_ = status;
    next_probe();
    EXPECT_EQ(health(), Health::not_ready) << status;
  }
}

TEST_F(HealthProbeTest, AProbeThatMayNotAskMeansALivingServerAndAWarning) {
  for (const int status : {401, 403, 404, 429}) {
    TearDown();
    backend_.reset();
    probe_.reset();
    changes_.clear();
    cluster_.backends[0]->health.store(Health::unknown);
    readiness_ = status;
    start();
    simulation_.advance(10s);
    EXPECT_EQ(health(), Health::ready) << status;
    EXPECT_THAT(changes_, ElementsAre(AllOf(HasSubstr("answers " + std::to_string(status)),
                                            HasSubstr("stays in use")),
                                      "ready"));
  }
}

TEST_F(HealthProbeTest, AConnectionThatIsTakenAwayIsOpenedAgain) {
  start();
  backend_->connection(0).goaway();
  simulation_.advance(5s);
  EXPECT_EQ(backend_->accepted(), 2U);
  EXPECT_EQ(probe_->counters(0).failures, 0U);
  backend_->connection(1).drop();
  simulation_.advance(5s);
  EXPECT_EQ(backend_->accepted(), 3U);
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(HealthProbeTest, AProbeCanBeAskedForAtOnce) {
  start();
  const std::size_t before = backend_->requests().size();
  readiness_ = 500;
  const Instant now = simulation_.now();
  probe_->probe_now(0);
  probe_->probe_now(0);  // one is enough
  simulation_.settle();
  EXPECT_EQ(simulation_.now(), now);
  EXPECT_EQ(backend_->requests().size(), before + 1);
  EXPECT_EQ(health(), Health::not_ready);
  readiness_ = 200;
  simulation_.advance(10s);  // the usual probes go on
  EXPECT_EQ(health(), Health::ready);
}

// --- identity --------------------------------------------------------------------------------

class IdentityProbeTest : public HealthProbeTest {
 protected:
  using Request = test::ScriptedBackend::Request;

  void serve(Request& request) override {
    if (request.head.path == metrics_path) return tell_age(request);
    if (request.head.path != review_path) return HealthProbeTest::serve(request);
    EXPECT_EQ(request.head.method, "POST");
    EXPECT_TRUE(request.connection->with_certificate());
    EXPECT_THAT(request.body, HasSubstr("SelfSubjectReview"));
    const bool claims = request.head.fields.contains(user_field);
    if (claims) claims_.push_back(request.field(user_field));
    ++(claims ? reviews_ : bare_reviews_);
    const int status = claims ? claim_status_ : bare_status_;
    if (status == 0) return;
    const std::string user = claims && seen_as_.empty() ? request.field(user_field) : seen_as_;
    request.answer(status, R"({"status":{"userInfo":{"username":")" + user + R"("}}})");
  }

  // A minute to midnight there, whatever we think.
  void tell_age(Request& request) {
    metrics_asked_at_.push_back(simulation_.now());
    EXPECT_TRUE(request.connection->with_certificate());
    EXPECT_TRUE(request.head.fields.contains(user_field));
    if (metrics_status_ == 0) return;
    http::ResponseHead head;
    head.status = metrics_status_;
    head.fields.add("date", "Thu, 01 Jan 1970 23:59:00 GMT");
    request.answer(head, metrics_);
  }
  static std::string page_of_age(std::chrono::seconds age) {
    const auto start = std::chrono::hours(24) - std::chrono::minutes(1) - age;
    return std::string(300'000, '#') + "\nprocess_start_time_seconds " +
           std::to_string(std::chrono::seconds(start).count()) + "\n";
  }
  std::optional<Duration> age() const {
    const Instant started = cluster_.backends[0]->started.load();
    if (started == Instant::min()) return std::nullopt;
    return simulation_.now() - started;
  }

  int metrics_status_ = 200;  // 0: no answer
  std::string metrics_ = page_of_age(std::chrono::hours(1));
  std::vector<Instant> metrics_asked_at_;
  std::string seen_as_;  // empty: as claimed
  int claim_status_ = 201;
  int bare_status_ = 401;
  int reviews_ = 0;
  int bare_reviews_ = 0;
  std::vector<std::string> claims_;
};

TEST_F(IdentityProbeTest, TrustIsEarnedByAClaimThatIsBelievedAndABareRequestThatIsNot) {
  listen();
  make_probe(true);
  EXPECT_FALSE(trusts());
  probe_->start();
  simulation_.settle();
  EXPECT_TRUE(trusts());
  EXPECT_EQ(health(), Health::ready);
  EXPECT_TRUE(probe_->first_round_done());
  EXPECT_EQ(reviews_, 1);
  EXPECT_EQ(bare_reviews_, 1);
  EXPECT_THAT(claims_[0], testing::StartsWith("sluice:probe:"));
}

TEST_F(IdentityProbeTest, WithoutAFrontProxyCertificateNothingIsClaimed) {
  start(false);
  simulation_.advance(5min);
  EXPECT_EQ(reviews_ + bare_reviews_, 0);
  for (const Request* request : backend_->requests()) {
    EXPECT_FALSE(request->head.fields.contains(user_field));
  }
}

TEST_F(IdentityProbeTest, TheProbesUserIsAnotherInEachProcess) {
  start(true);
  probe_->terminate();
  simulation_.settle();
  make_probe(true, 2);
  probe_->start();
  simulation_.settle();
  ASSERT_EQ(claims_.size(), 2U);
  EXPECT_NE(claims_[0], claims_[1]);
}

TEST_F(IdentityProbeTest, ABackendThatSeesSomebodyElseIsNotTrusted) {
  seen_as_ = "front-proxy";  // the certificate's own name
  start(true);
  EXPECT_FALSE(trusts());
  EXPECT_EQ(health(), Health::ready);  // for tokens
  EXPECT_EQ(bare_reviews_, 0);
  EXPECT_THAT(changes_, Contains(HasSubstr("ignores X-Remote-User")));
}

TEST_F(IdentityProbeTest, AUserWhoseNameOnlyBeginsLikeOursIsNotOurs) {
  listen();
  make_probe(true);
  probe_->start();
  backend_->on_request = [this](Request& request) {
    seen_as_ = request.field(user_field) + "0";
    serve(request);
  };
  simulation_.settle();
  EXPECT_FALSE(trusts());
}

TEST_F(IdentityProbeTest, ABackendThatAnswers401ToAClaimIsNotTrusted) {
  claim_status_ = 401;
  start(true);
  EXPECT_FALSE(trusts());
  EXPECT_TRUE(probe_->first_round_done());
  EXPECT_THAT(changes_, Contains(HasSubstr("--requestheader-client-ca-file")));
}

TEST_F(IdentityProbeTest, ABackendThatTakesTheCertificateAloneForAUserIsNotTrusted) {
  bare_status_ = 201;
  start(true);
  EXPECT_FALSE(trusts());
  EXPECT_THAT(changes_, Contains(HasSubstr("--client-ca-file")));
}

TEST_F(IdentityProbeTest, TheConnectionOfTheReviewsIsNotKept) {
  start(true);
  simulation_.advance(5s);
  EXPECT_EQ(backend_->accepted(), 3U);          // one to ask how old it is
  EXPECT_EQ(backend_->open_connections(), 1U);  // of the readiness probe
}

TEST_F(IdentityProbeTest, ABareRequestMayAlsoBeForbiddenAsAnonymous) {
  bare_status_ = 403;  // where --anonymous-auth is on
  start(true);
  EXPECT_TRUE(trusts());
}

TEST_F(IdentityProbeTest, TrustThatIsMissingIsAskedForAgainSoon) {
  claim_status_ = 401;
  start(true);
  claim_status_ = 201;
  simulation_.advance(4s);
  EXPECT_TRUE(trusts());
  EXPECT_THAT(changes_, Contains("takes the identities that we vouch for"));
}

TEST_F(IdentityProbeTest, TrustThatWasGivenIsAskedForAgainEveryMinute) {
  start(true);
  simulation_.advance(50s);
  EXPECT_EQ(reviews_, 1);
  simulation_.advance(15s);
  EXPECT_EQ(reviews_, 2);
  claim_status_ = 401;
  simulation_.advance(65s);
  EXPECT_FALSE(trusts());
}

TEST_F(IdentityProbeTest, ATroubledBackendKeepsTheTrustThatItHas) {
  start(true);
  claim_status_ = 503;
  simulation_.advance(3min);
  EXPECT_GE(reviews_, 10);  // asked again every few seconds
  EXPECT_TRUE(trusts());
  claim_status_ = 201;
  bare_status_ = 0;
  simulation_.advance(3min);
  EXPECT_TRUE(trusts());
}

TEST_F(IdentityProbeTest, NoTrafficBeforeTheTrustIsKnown) {
  claim_status_ = 503;
  start(true);
  simulation_.advance(10s);
  EXPECT_FALSE(trusts());
  EXPECT_EQ(health(), Health::unknown);
  EXPECT_FALSE(probe_->first_round_done());
  EXPECT_THAT(changes_, ElementsAre(HasSubstr("the identity probe got no answer")));
  claim_status_ = 201;
  simulation_.advance(5s);
  EXPECT_TRUE(trusts());
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(IdentityProbeTest, AServerWithoutThisApiIsGivenTheBenefitOfTheDoubt) {
  claim_status_ = 404;
  start(true);
  EXPECT_TRUE(trusts());
  EXPECT_THAT(changes_, Contains(HasSubstr("could not be checked")));
}

TEST_F(IdentityProbeTest, ARequestThatWasRefusedHasTheTrustCheckedAtOnce) {
  start(true);
  simulation_.advance(5s);
  claim_status_ = 401;
  probe_->check_identity_now(0);
  simulation_.settle();
  EXPECT_EQ(reviews_, 2);
  EXPECT_FALSE(trusts());
}

// Who can make a server refuse something must not make us ask without end.
TEST_F(IdentityProbeTest, TheTrustIsCheckedOnceInTwoSecondsHoweverOftenItIsDoubted) {
  start(true);
  simulation_.advance(5s);
  const int before = reviews_;
  for (int i = 0; i < 500; ++i) {
    probe_->check_identity_now(0);
    simulation_.advance(20ms);
  }
  EXPECT_GE(reviews_ - before, 4);
  EXPECT_LE(reviews_ - before, 6);
  EXPECT_TRUE(trusts());
}

TEST_F(IdentityProbeTest, ABackendThatWasAwayHasItsTrustCheckedWhenItComesBack) {
  start(true);
  readiness_ = 500;
  next_probe();
  readiness_ = 200;
  next_probe();
  EXPECT_EQ(reviews_, 2);
}

// --- age ---------------------------------------------------------------------------------------

class AgeProbeTest : public IdentityProbeTest {
 protected:
  void restart_backend() {
    readiness_ = 500;
    next_probe();
    ASSERT_EQ(health(), Health::not_ready);
    readiness_ = 200;
    next_probe();
    next_probe();
    ASSERT_EQ(health(), Health::ready);
  }
  // So much, and what has passed since the last probe.
  bool is_about(Duration expected) const {
    return age() && *age() >= expected && *age() < expected + options_.interval * 6 / 5;
  }
};

TEST_F(AgeProbeTest, ABackendIsAskedOnceWhenItBecomesReady) {
  start(true);
  EXPECT_EQ(age(), 1h);
  simulation_.advance(3min);
  EXPECT_EQ(metrics_asked_at_.size(), 1U);
  EXPECT_EQ(age(), 1h + 3min);
  metrics_ = page_of_age(2s);
  restart_backend();
  EXPECT_EQ(metrics_asked_at_.size(), 2U);
  EXPECT_TRUE(is_about(2s));
}

TEST_F(AgeProbeTest, WithoutAPairWhatWasHereIsOldAndWhatComesBackIsYoung) {
  start();
  EXPECT_EQ(age(), std::nullopt);
  restart_backend();
  EXPECT_TRUE(is_about(0s));
  simulation_.advance(1min);
  EXPECT_TRUE(is_about(1min));
  EXPECT_TRUE(metrics_asked_at_.empty());
}

TEST_F(AgeProbeTest, WhoJoinsOthersIsYoungUntilItSaysOtherwise) {
  Cluster joined;
  joined.backends = {
      std::make_shared<BackendStatus>(Endpoint{address_of(1), "api-1", "backend"}, true)};
  cluster_ = joined;
  metrics_status_ = 0;
  start(true);
  EXPECT_EQ(age(), 0s);
  metrics_status_ = 200;
  simulation_.advance(15s);  // the first one has its time
  EXPECT_GE(age(), 1h);
}

TEST_F(AgeProbeTest, WhoMayNotAskIsToldSoOnceAndAsksNoMore) {
  for (const int status : {401, 403, 404}) {
    TearDown();
    backend_.reset();
    probe_.reset();
    changes_.clear();
    metrics_asked_at_.clear();
    cluster_ = Cluster({Endpoint{address_of(1), "api-1", "backend"}});
    metrics_status_ = status;
    start(true);
    simulation_.advance(1min);
    EXPECT_EQ(metrics_asked_at_.size(), 1U) << status;
    restart_backend();
    EXPECT_EQ(metrics_asked_at_.size(), 2U) << "it may be allowed now";
    EXPECT_TRUE(is_about(0s)) << status;
    EXPECT_EQ(std::ranges::count_if(
                  changes_,
                  [](const std::string& text) { return text.contains("/metrics does not say"); }),
              1);
  }
}

TEST_F(AgeProbeTest, APageWithoutTheLineIsNoAnswer) {
  metrics_ = "process_start_time_seconds x\n";
  start(true);
  EXPECT_EQ(age(), std::nullopt);
  EXPECT_THAT(changes_, Contains(HasSubstr("/metrics does not say")));
  simulation_.advance(1min);
  EXPECT_EQ(metrics_asked_at_.size(), 1U);
}

TEST_F(AgeProbeTest, WhatMayPassIsAskedAFewTimesMore) {
  metrics_status_ = 503;
  start(true);
  simulation_.advance(2min);
  EXPECT_EQ(metrics_asked_at_.size(), 4U);
  for (std::size_t i = 1; i < metrics_asked_at_.size(); ++i) {
    EXPECT_GE(metrics_asked_at_[i] - metrics_asked_at_[i - 1], 5s);
  }
  EXPECT_EQ(age(), std::nullopt);
}

TEST_F(AgeProbeTest, ASilentPageHoldsUpNoReadiness) {
  metrics_status_ = 0;
  start(true);
  EXPECT_EQ(health(), Health::ready);
  readiness_ = 500;
  next_probe();
  EXPECT_EQ(health(), Health::not_ready);
  simulation_.advance(1min);
  EXPECT_EQ(age(), std::nullopt);
}

TEST_F(AgeProbeTest, WhatWasAskedLittleIsAskedAgainWhenItIsUsed) {
  listen();
  make_probe(true);
  probe_->set_quiet(true);
  probe_->start();
  simulation_.settle();
  EXPECT_EQ(age(), 1h);
  metrics_ = page_of_age(5s);  // it was restarted, and nobody has seen it
  probe_->set_quiet(false);
  simulation_.settle();
  EXPECT_EQ(age(), 5s);
}

// --- the version -----------------------------------------------------------------------------

class VersionTest : public HealthProbeTest {
 protected:
  VersionTest() { options_.version_interval = 60s; }

  void serve(test::ScriptedBackend::Request& request) override {
    if (request.head.path != "/version") return HealthProbeTest::serve(request);
    ++asked_;
    asked_as_ = request.field(user_field);
    if (status_ > 0) request.answer(status_, answer_);
  }
  std::uint32_t version() const { return cluster_.backends[0]->version.load(); }
  static constexpr std::uint32_t of_minor(std::uint16_t number) {
    return ApiVersion{1, number}.number();
  }

  int status_ = 200;  // 0: no answer
  std::string answer_ = R"({"major":"1","minor":"36"})";
  int asked_ = 0;
  std::string asked_as_;
};

TEST_F(VersionTest, IsAskedForWhenABackendIsReadyAndNowAndThen) {
  start();
  EXPECT_EQ(version(), of_minor(36));
  simulation_.advance(10s);
  EXPECT_EQ(asked_, 1);
  answer_ = R"({"major":"1","minor":"37"})";
  simulation_.advance(55s);
  EXPECT_EQ(asked_, 2);
  EXPECT_EQ(version(), of_minor(37));
}

TEST_F(VersionTest, IsAskedForWithTheIdentityOfTheProbe) {
  start(true);
  simulation_.advance(3s);
  EXPECT_EQ(asked_, 1);
  EXPECT_THAT(asked_as_, HasSubstr("sluice:probe:"));
}

// What it answers last is still to be understood by the version that it had.
TEST_F(VersionTest, OfABackendThatGoesIsKnownUntilItReturnsAndIsAskedForAnew) {
  start();
  readiness_ = 500;
  for (int i = 0; i < 3; ++i) next_probe();
  EXPECT_EQ(version(), of_minor(36));
  EXPECT_EQ(asked_, 1);
  status_ = 0;
  readiness_ = 200;
  for (int i = 0; i < 3; ++i) next_probe();
  EXPECT_EQ(health(), Health::ready);
  EXPECT_EQ(version(), 0U);
  status_ = 200;
  answer_ = R"({"major":"1","minor":"37"})";
  simulation_.advance(10s);
  EXPECT_EQ(version(), of_minor(37));
  EXPECT_EQ(health(), Health::ready);
}

TEST_F(VersionTest, WithoutAnAnswerItIsAskedForSoonAgainAndReadinessDoesNotWait) {
  status_ = 0;
  start();
  simulation_.advance(20s);
  EXPECT_GE(asked_, 3);
  EXPECT_LE(asked_, 5);
  EXPECT_EQ(version(), 0U);
  EXPECT_EQ(health(), Health::ready);
  EXPECT_EQ(probe_->counters(0).failures, 0U);
  status_ = 200;
  simulation_.advance(6s);
  EXPECT_EQ(version(), of_minor(36));
}

TEST_F(VersionTest, OfWhoDoesNotSayItIsNotKnown) {
  status_ = 403;
  start();
  simulation_.advance(20s);
  EXPECT_EQ(version(), 0U);
  EXPECT_EQ(asked_, 1);
  status_ = 200;
  answer_ = std::string(60'000, '{');
  simulation_.advance(60s);
  EXPECT_EQ(version(), 0U);
  EXPECT_EQ(asked_, 2);
}

}  // namespace
}  // namespace sluice::backend
