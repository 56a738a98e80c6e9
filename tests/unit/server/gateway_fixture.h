// SPDX-License-Identifier: GPL-3.0-or-later
// A whole gateway on a simulated network, its API servers, and clients that come to its workers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "small_client.h"
#include "whole_server.h"

namespace sluice::server {

class GatewayTest : public testing::Test {
 protected:
  GatewayTest(std::size_t backends, std::size_t workers) : workers_(workers) {
    for (std::size_t i = 0; i < backends; ++i) {
      backends_.push_back(std::make_unique<test::ScriptedBackend>(simulation_.transport(),
                                                                  WholeServer::backend_address(i)));
      backends_[i]->on_request = [this, i](test::ScriptedBackend::Request& request) {
        asked(i, request);
      };
    }
  }

  void SetUp() override {
    server_ = std::make_unique<WholeServer>(simulation_,
                                            WholeServer::options(backends_.size(), workers_));
    simulation_.settle();
    EXPECT_TRUE(server_->control().may_open());
    server_->open();
  }

  void TearDown() override {
    for (const auto& client : clients_) {
      if (!client->closed) client->connection.terminate();
    }
    server_->stop();
    simulation_.settle();
    EXPECT_TRUE(server_->stopped());
    server_.reset();
    clients_.clear();
    for (const auto& backend : backends_) backend->stop();
    simulation_.settle();
  }

  // What a backend makes of a request.
  virtual void asked(std::size_t backend, test::ScriptedBackend::Request& request) = 0;

  SmallClient& connect(std::size_t worker) {
    clients_.push_back(std::make_unique<SmallClient>(simulation_.transport(),
                                                     WholeServer::address(worker), client_tls_));
    simulation_.settle();
    return *clients_.back();
  }

  const std::size_t workers_;
  test::Simulation simulation_;
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::shared_ptr<const tls::ClientContext> client_tls_ = test::ClusterKeys::get().plain_context();
  std::unique_ptr<WholeServer> server_;
  std::vector<std::unique_ptr<SmallClient>> clients_;
};

}  // namespace sluice::server
