// SPDX-License-Identifier: GPL-3.0-or-later
// What the admin listener serves.
#include "admin_pages.h"

#include <gmock/gmock.h>

#include <deque>
#include <optional>

namespace sluice::server {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class BackendsPageTest : public testing::Test {
 protected:
  void make(const std::vector<std::string>& names) {
    ServerOptions options;
    options.cpus.assign(2, -1);
    ClusterOptions& cluster = options.clusters.emplace_back();
    for (const std::string& name : names) cluster.backends.push_back({{}, name, {}});
    shared_ = std::move(*Shared::create(options));
  }
  Cluster& cluster() { return shared_->cluster(0); }
  backend::BackendStatus& status(std::size_t backend) {
    return *cluster().backends().backends.at(backend);
  }
  std::string page() const { return backends_page(*shared_, Instant() + std::chrono::hours(1)); }

  std::unique_ptr<Shared> shared_;
};

TEST_F(BackendsPageTest, TellsOfEachBackendInItsOrder) {
  make({"10.0.0.1:6443", "[::1]:6443"});
  status(0).health.store(backend::Health::ready);
  status(1).health.store(backend::Health::not_ready);
  status(1).trusts_identity.store(false);
  EXPECT_EQ(page(), R"({"backends":[)"
                    R"({"name":"10.0.0.1:6443","health":"ready","trustsIdentity":true,)"
                    R"("work":0,"watches":0,"tunnels":0,"requests":0},)"
                    R"({"name":"[::1]:6443","health":"not_ready","trustsIdentity":false,)"
                    R"("work":0,"watches":0,"tunnels":0,"requests":0}]})"
                    "\n");
}

TEST_F(BackendsPageTest, TellsHowOldABackendIsThatIsKnownToHaveBeenStarted) {
  make({"a", "b"});
  status(1).started.store(Instant() + std::chrono::minutes(59));
  EXPECT_THAT(page(), HasSubstr(R"("requests":0},{"name":"b")"));
  EXPECT_THAT(page(), HasSubstr(R"("requests":0,"ageSeconds":60}]})"));
}

TEST_F(BackendsPageTest, AddsUpAllWorkersAndAllClassesOfRequests) {
  make({"a", "b"});
  {
    BackendMetrics& metrics = cluster().version()->series[1]->metrics();
    metrics::Cells one(metrics.registry);
    metrics::Cells two(metrics.registry);
    balance::WorkerLoad first(*cluster().board, 0);
    balance::WorkerLoad second(*cluster().board, 1);
    for (std::size_t request_class = 0; request_class < 6; ++request_class) {
      one.add(metrics.requests.at(request_class));
      two.add(metrics.requests.at(request_class), 10);
    }
    const auto read = first.assign(1, balance::RequestClass::read, 3);
    const auto watch = second.assign(1, balance::RequestClass::watch, 4);
    EXPECT_EQ(page(), R"({"backends":[)"
                      R"({"name":"a","health":"unknown","trustsIdentity":true,)"
                      R"("work":0,"watches":0,"tunnels":0,"requests":0},)"
                      R"({"name":"b","health":"unknown","trustsIdentity":true,)"
                      R"("work":7,"watches":1,"tunnels":0,"requests":66}]})"
                      "\n");
  }
}

TEST_F(BackendsPageTest, ANameCannotLeaveItsPlace) {
  make({"a\",\"health\":\"ready\\\n\xff"});
  EXPECT_EQ(
      page(),
      R"({"backends":[)"
      R"({"name":"a\",\"health\":\"ready\\\u000a\ufffd","health":"unknown","trustsIdentity":true,)"
      R"("work":0,"watches":0,"tunnels":0,"requests":0}]})"
      "\n");
}

class AdminPagesTest : public testing::Test, public ProcessState {
 protected:
  AdminPagesTest() {
    options_.version = "1.2.3";
    options_.cpus = {-1};
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.backends = {{{}, "api-0", {}}};
    cluster.certificates = {{"serving", WallTime(std::chrono::seconds(1'800'000'000))}};
    shared_ = std::move(*Shared::create(options_));
    pages_.emplace(*shared_, *this);
  }
  void set_health(backend::Health health) {
    shared_->cluster(0).backends().backends[0]->health.store(health);
  }

  AdminReply get(std::string_view path) {
    std::optional<AdminReply> got;
    pages_->get(path, [&](const AdminReply& reply) { got = reply; });
    return got.value_or(AdminReply{0, "", "no answer"});
  }

  StopSequence::State stop_state() const override { return state_; }
  void ask_workers(std::move_only_function<void(const std::string&)> answer) override {
    answer("worker 0 serving\n");
  }
  bool workers_turn() const override { return turn_; }
  Instant now() const override { return {}; }

  ServerOptions options_;
  std::unique_ptr<Shared> shared_;
  std::optional<AdminPages> pages_;
  StopSequence::State state_ = StopSequence::State::serving;
  bool turn_ = true;
};

TEST_F(AdminPagesTest, ReadyIsWhoServesAndHasABackend) {
  using State = StopSequence::State;
  set_health(backend::Health::ready);
  EXPECT_EQ(get("/readyz").status, 200);
  EXPECT_EQ(get("/readyz").body, "ok\n");
  for (const auto& [state, text] : {std::pair{State::starting, "starting\n"},
                                    {State::delaying, "stopping\n"},
                                    {State::draining, "stopping\n"},
                                    {State::ending, "stopping\n"},
                                    {State::cancelled, "stopping\n"},
                                    {State::stopped, "stopping\n"}}) {
    state_ = state;
    EXPECT_EQ(get("/readyz").status, 503) << text;
    EXPECT_EQ(get("/readyz").body, text);
  }
  state_ = State::serving;
  set_health(backend::Health::not_ready);
  EXPECT_EQ(get("/readyz").status, 503);
  EXPECT_EQ(get("/readyz").body, "no backend is ready\n");
}

TEST_F(AdminPagesTest, AliveIsWhoseWorkersTurn) {
  state_ = StopSequence::State::draining;
  EXPECT_EQ(get("/livez").status, 200);
  turn_ = false;
  EXPECT_EQ(get("/livez").status, 500);
  EXPECT_EQ(get("/livez").body, "a worker is stuck\n");
}

TEST_F(AdminPagesTest, MetricsTellOfTheProcessItsCertificatesAndItsBackends) {
  set_health(backend::Health::ready);
  const AdminReply reply = get("/metrics");
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.content_type, StartsWith("text/plain; version=0.0.4"));
  for (const std::string_view line :
       {"\nsluice_build_info{version=\"1.2.3\"} 1\n",
        "\nsluice_certificate_not_after_seconds{use=\"serving\"} 1800000000\n",
        "\nsluice_backend_ready{backend=\"api-0\"} 1\n",
        "\nsluice_backend_trusts_identity{backend=\"api-0\"} 1\n",
        "\nsluice_backend_work{backend=\"api-0\"} 0\n", "\nsluice_log_dropped_total "}) {
    EXPECT_THAT(reply.body, HasSubstr(line));
  }
  EXPECT_THAT(reply.body, Not(HasSubstr("sluice_access_log_dropped_total")));
}

TEST_F(AdminPagesTest, BackendsAreJson) {
  const AdminReply reply = get("/backends");
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_THAT(reply.body, StartsWith(R"({"backends":[{"name":"api-0",)"));
}

TEST_F(AdminPagesTest, DebugIsWhatWorkersTell) {
  const AdminReply reply = get("/debug");
  EXPECT_EQ(reply.status, 200);
  EXPECT_THAT(reply.content_type, StartsWith("text/plain"));
  EXPECT_EQ(reply.body, "worker 0 serving\n");
}

TEST_F(AdminPagesTest, OfTheOnlyClusterReadyzIsTheProcesss) {
  set_health(backend::Health::ready);
  EXPECT_EQ(get("/readyz/").status, 200);
  EXPECT_EQ(get("/readyz/other").status, 404);
}

class ClustersPageTest : public AdminPagesTest {
 protected:
  ClustersPageTest() {
    pages_.reset();
    options_.clusters.clear();
    ClusterOptions& one = options_.clusters.emplace_back();
    one.name = "one";
    one.server_names = {"one.example", "*.one.example"};
    one.others = OtherClients::unnamed;
    one.backends = {{{}, "api-0", {}}};
    one.certificates = {{"serving", WallTime(std::chrono::seconds(1'800'000'000))}};
    ClusterOptions& two = options_.clusters.emplace_back();
    two.name = "two";
    two.server_names = {"two.example"};
    two.backends = {{{}, "api-0", {}}, {{}, "api-1", {}}};
    shared_ = std::move(*Shared::create(options_));
    pages_.emplace(*shared_, *this);
  }
  void set_health(std::size_t cluster, backend::Health health) {
    shared_->cluster(cluster).backends().backends[0]->health.store(health);
  }
};

TEST_F(ClustersPageTest, ReadyzIsTheProcesssWhateverAClusterDoes) {
  EXPECT_EQ(get("/readyz").status, 200);
  turn_ = false;
  EXPECT_EQ(get("/readyz").status, 503);
  turn_ = true;
  state_ = StopSequence::State::draining;
  EXPECT_EQ(get("/readyz").status, 503);
}

TEST_F(ClustersPageTest, EachClusterHasAReadyzOfItsOwn) {
  set_health(0, backend::Health::ready);
  set_health(1, backend::Health::not_ready);
  EXPECT_EQ(get("/readyz/one").status, 200);
  EXPECT_EQ(get("/readyz/two").status, 503);
  EXPECT_EQ(get("/readyz/two").body, "no backend is ready\n");
  for (const std::string_view path : {"/readyz/", "/readyz/three", "/readyz/one/", "/readyz/ONE"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
}

TEST_F(ClustersPageTest, TellsOfEachClusterItsNamesCertificatesAndBackends) {
  set_health(0, backend::Health::ready);
  const AdminReply reply = get("/clusters");
  EXPECT_EQ(reply.content_type, "application/json");
  EXPECT_THAT(
      reply.body,
      StartsWith(
          R"({"clusters":[{"name":"one","generation":1,)"
          R"("serverNames":["one.example","*.one.example"],)"
          R"("others":"unnamed","usable":true,"certificates":[{"use":"serving",)"
          R"("notAfter":"2027-01-15T08:00:00Z"}],"backends":[{"name":"api-0","cluster":"one",)"
          R"("health":"ready",)"));
  EXPECT_THAT(
      reply.body,
      HasSubstr(R"({"name":"two","generation":1,"serverNames":["two.example"],"others":"none",)"
                R"("usable":false,"certificates":[],"backends":[{"name":"api-0",)"
                R"("cluster":"two","health":"unknown",)"));
}

TEST_F(ClustersPageTest, CertificatesOfAllClustersAreToldWhetherTheyAreUsedOrNot) {
  EXPECT_THAT(get("/metrics").body,
              HasSubstr("\nsluice_certificate_not_after_seconds{cluster=\"one\",use=\"serving\"} "
                        "1800000000\n"));
  EXPECT_THAT(get("/metrics").body, Not(HasSubstr("sluice_backend_ready")));
}

TEST_F(AdminPagesTest, AnUnknownPathNamesTheOthers) {
  for (const std::string_view path : {"/", "", "/metrics/", "/Metrics", "/debug/pprof"}) {
    const AdminReply reply = get(path);
    EXPECT_EQ(reply.status, 404) << path;
    for (const std::string_view known :
         {"/metrics", "/livez", "/readyz", "/backends", "/clusters", "/debug"}) {
      EXPECT_THAT(reply.body, HasSubstr(known));
    }
  }
}

}  // namespace
}  // namespace sluice::server
