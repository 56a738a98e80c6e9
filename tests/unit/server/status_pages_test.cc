// SPDX-License-Identifier: GPL-3.0-or-later
// What the admin listener shows of backends.
#include "status_pages.h"

#include <gtest/gtest.h>

#include <optional>

namespace sluice::server {
namespace {

class BackendsPageTest : public testing::Test {
 protected:
  void make(const std::vector<std::string>& names) {
    std::vector<backend::Endpoint> endpoints;
    for (const std::string& name : names) endpoints.push_back({{}, name});
    cluster_.emplace(endpoints);
    board_.emplace(2, names.size());
    metrics_.emplace(registry_, *cluster_);
  }
  std::string page() const { return backends_page(*cluster_, *board_, registry_, *metrics_); }

  std::optional<backend::Cluster> cluster_;
  std::optional<balance::LoadBoard> board_;
  metrics::Registry registry_;
  std::optional<proxy::ProxyMetrics> metrics_;
};

TEST_F(BackendsPageTest, TellsOfEachBackendInItsOrder) {
  make({"10.0.0.1:6443", "[::1]:6443"});
  cluster_->backends[0]->health.store(backend::Health::ready);
  cluster_->backends[1]->health.store(backend::Health::not_ready);
  cluster_->backends[1]->trusts_identity.store(false);
  EXPECT_EQ(page(), R"({"backends":[)"
                    R"({"name":"10.0.0.1:6443","health":"ready","trustsIdentity":true,)"
                    R"("work":0,"watches":0,"requests":0},)"
                    R"({"name":"[::1]:6443","health":"not_ready","trustsIdentity":false,)"
                    R"("work":0,"watches":0,"requests":0}]})"
                    "\n");
}

TEST_F(BackendsPageTest, AddsUpAllWorkersAndAllClassesOfRequests) {
  make({"a", "b"});
  {
    metrics::Cells one(registry_);
    metrics::Cells two(registry_);
    balance::WorkerLoad first(*board_, 0);
    balance::WorkerLoad second(*board_, 1);
    for (std::size_t request_class = 0; request_class < 6; ++request_class) {
      one.add(metrics_->requests.at(request_class, 1));
      two.add(metrics_->requests.at(request_class, 1), 10);
    }
    const auto read = first.assign(1, balance::RequestClass::read, 3);
    const auto watch = second.assign(1, balance::RequestClass::watch, 4);
    EXPECT_EQ(page(), R"({"backends":[)"
                      R"({"name":"a","health":"unknown","trustsIdentity":true,)"
                      R"("work":0,"watches":0,"requests":0},)"
                      R"({"name":"b","health":"unknown","trustsIdentity":true,)"
                      R"("work":7,"watches":1,"requests":66}]})"
                      "\n");
  }
}

TEST_F(BackendsPageTest, ANameCannotLeaveItsPlace) {
  make({"a\",\"health\":\"ready\\\n\xff"});
  EXPECT_EQ(
      page(),
      R"({"backends":[)"
      R"({"name":"a\",\"health\":\"ready\\\u000a\ufffd","health":"unknown","trustsIdentity":true,)"
      R"("work":0,"watches":0,"requests":0}]})"
      "\n");
}

}  // namespace
}  // namespace sluice::server
