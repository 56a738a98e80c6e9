// SPDX-License-Identifier: GPL-3.0-or-later
// A whole server without threads: control and workers on reactors of one simulated network, turned
// one after the other.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "control.h"
#include "noted_environment.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/io/socket.h"

namespace sluice::server {

class WholeServer {
 public:
  // Names, keys and addresses of one cluster of so many API servers, and so many workers.
  static ServerOptions options(std::size_t backends, std::size_t workers) {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    ServerOptions options;
    ClusterOptions& cluster = options.clusters.emplace_back();
    cluster.others = OtherClients::all;
    for (std::size_t i = 0; i < backends; ++i) {
      cluster.backends.push_back({backend_address(i), "api-" + std::to_string(i), "backend"});
    }
    options.cpus.assign(workers, -1);
    options.client_connections_max = 100;
    options.stop = {.delay = std::chrono::seconds(5), .drain_window = std::chrono::seconds(10)};
    cluster.tls.certificate_chain_pem = keys.serving.pem();
    cluster.tls.private_key_pem = keys.serving.key_pem();
    cluster.backend_tls.plain.ca_pem = keys.serving_ca.pem();
    return options;
  }
  static io::Address backend_address(std::size_t backend) {
    return *io::Address::parse("10.0.0." + std::to_string(backend + 1) + ":6443");
  }
  static io::Address address(std::size_t worker) {
    return *io::Address::parse("10.0.1." + std::to_string(worker + 1) + ":443");
  }

  // Control begins to ask the backends.
  WholeServer(test::Simulation& simulation, ServerOptions options)
      : simulation_(simulation),
        options_(std::move(options)),
        shared_(std::move(*Shared::create(options_))),
        control_(std::move(
            *Control::create(simulation.add_reactor(), environment_, *shared_, options_))) {
    control_->start();
  }

  // Once control may open: each worker with its reactor, in place of a thread, and its listener.
  void open(std::uint64_t seed = 0) {
    std::vector<WorkerPort*> ports;
    for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
      places_.push_back(std::make_unique<Place>(simulation_.add_reactor()));
      Place& place = *places_.back();
      place.worker = std::move(*Worker::create(place.reactor, i, options_.thread.worker,
                                               {*shared_, *control_, {1, 2}}, seed + i));
      place.worker->listen(
          {.descriptor = OwnedDescriptor(io::listen_on(address(i), {}).value()), .cluster = {}});
      ports.push_back(&place);
    }
    control_->workers_started(std::move(ports), {});
  }

  // Ends whatever is left of it; stopped() after the simulation has settled.
  void stop() {
    for (const auto& place : places_) place->worker->stop();
    control_->stop();
  }
  bool stopped() const {
    for (const auto& place : places_) {
      if (!place->stopped()) return false;
    }
    return control_->stopped();
  }

  Control& control() { return *control_; }
  Shared& shared() { return *shared_; }
  Worker& worker(std::size_t number) { return *places_.at(number)->worker; }
  const NotedEnvironment& environment() const { return environment_; }
  NotedEnvironment& environment() { return environment_; }

 private:
  struct Place final : WorkerPort {
    explicit Place(io::Reactor& its_reactor) : reactor(its_reactor) {}
    void post(std::move_only_function<void(Worker&)> message) override {
      reactor.mailbox().post([this, message = std::move(message)]() mutable { message(*worker); });
    }
    bool stopped() const override { return worker->stopped(); }
    std::optional<io::TurnState> turn() const override { return reactor.turn_state(); }

    io::Reactor& reactor;
    std::unique_ptr<Worker> worker;
  };

  test::Simulation& simulation_;
  NotedEnvironment environment_;
  ServerOptions options_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Control> control_;
  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace sluice::server
