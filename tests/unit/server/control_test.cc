// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's work on the simulated ring, with workers and a system that only take notes.
#include "control.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "../observability/pipe.h"
#include "noted_environment.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class NotedWorker final : public WorkerPort {
 public:
  void post(std::move_only_function<void(Worker&)>) override { ++told; }
  bool stopped() const override { return gone; }
  std::optional<io::TurnState> turn() const override {
    if (!turned) return std::nullopt;
    return io::TurnState{*turned, io::TurnStep::flush, 37};
  }

  int told = 0;
  bool gone = false;
  std::optional<Instant> turned;
};

class ControlTest : public testing::Test {
 protected:
  ControlTest() {
    const io::Address address = *io::Address::parse("10.0.0.1:6443");
    backend_ = std::make_unique<test::ScriptedBackend>(simulation_.transport(), address);
    backend_->on_request = [this](test::ScriptedBackend::Request& request) {
      request.answer(readiness_);
    };
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.backend_tls.plain.ca_pem = keys.serving_ca.pem();
    cluster.backends = {{address, "api-0", "backend"}};
    options_.cpus = {-1, -1};
    options_.stop.delay = 5s;
  }

  ~ControlTest() override {
    if (control_) {
      control_->stop();
      simulation_.settle();
      EXPECT_TRUE(control_->stopped());
      control_.reset();
    }
    backend_->stop();
    simulation_.settle();
  }

  void create() {
    shared_ = std::move(*Shared::create(options_));
    auto control = Control::create(simulation_.reactor(), environment_, *shared_, options_);
    ASSERT_TRUE(control) << control.error().context;
    control_ = std::move(*control);
  }
  void serve() {
    create();
    control_->start();
    simulation_.settle();
    ASSERT_TRUE(control_->may_open());
    control_->workers_started({&workers_[0], &workers_[1]}, {});
  }

  static Configuration nothing_new() {
    Configuration configuration;
    configuration.unchanged = true;
    return configuration;
  }

  test::Simulation simulation_;
  NotedEnvironment environment_;
  std::array<NotedWorker, 2> workers_;
  ServerOptions options_;
  int readiness_ = 200;
  std::unique_ptr<test::ScriptedBackend> backend_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Control> control_;
};

TEST_F(ControlTest, WorkersMayOpenWhenEachBackendWasAsked) {
  create();
  control_->start();
  EXPECT_FALSE(control_->may_open());
  simulation_.settle();
  EXPECT_TRUE(control_->may_open());
  EXPECT_TRUE(control_->may_start());
  EXPECT_TRUE(shared_->cluster(0).backends().any_usable());
}

TEST_F(ControlTest, ABackendThatIsSilentIsNotWaitedForLong) {
  simulation_.network().swallow(backend_->address());
  create();
  control_->start();
  simulation_.advance(2900ms);
  simulation_.advance(200ms);
  EXPECT_TRUE(control_->may_open());
  EXPECT_FALSE(shared_->cluster(0).backends().any_usable());
}

TEST_F(ControlTest, ToldToStopBeforeTheStartNoWorkerStarts) {
  create();
  control_->start();
  control_->signal(SIGTERM);
  EXPECT_TRUE(control_->may_open());
  EXPECT_FALSE(control_->may_start());
  EXPECT_TRUE(control_->workers_gone());
  EXPECT_THAT(environment_.notified, ElementsAre(StartsWith("STOPPING=1")));
}

TEST_F(ControlTest, OneSignalDrainsWorkersAfterTheDelayAndTheServiceManagerIsToldAtOnce) {
  serve();
  EXPECT_THAT(environment_.notified, ElementsAre(StartsWith("READY=1\n")));
  control_->signal(SIGTERM);
  EXPECT_THAT(environment_.notified, Contains(StartsWith("STOPPING=1\n")));
  simulation_.advance(4900ms);
  EXPECT_EQ(workers_[0].told + workers_[1].told, 0);
  simulation_.advance(400ms);
  EXPECT_EQ(workers_[0].told, 1);
  EXPECT_EQ(workers_[1].told, 1);
  EXPECT_FALSE(control_->workers_gone());
  workers_[0].gone = true;
  EXPECT_FALSE(control_->workers_gone());
  workers_[1].gone = true;
  EXPECT_TRUE(control_->workers_gone());
  EXPECT_THAT(environment_.abandoned, IsEmpty());
}

TEST_F(ControlTest, WhoDoesNotStopAfterASecondSignalIsAbandoned) {
  serve();
  control_->signal(SIGTERM);
  control_->signal(SIGINT);
  EXPECT_EQ(workers_[0].told, 1);
  simulation_.advance(700ms);
  EXPECT_THAT(environment_.abandoned, IsEmpty());
  simulation_.advance(400ms);
  EXPECT_THAT(environment_.abandoned, Contains(1));
}

TEST_F(ControlTest, SighupIsNoReasonToStop) {
  serve();
  control_->signal(SIGHUP);
  simulation_.advance(10s);
  EXPECT_EQ(workers_[0].told, 0);
  EXPECT_THAT(environment_.notified, ElementsAre(StartsWith("READY=1\n")));
}

TEST_F(ControlTest, WhoIsReplacedDrainsAtOnceAndTheServiceManagerHearsNothingOfIt) {
  environment_.watchdog = 1s;
  options_.admin_listen = {*io::Address::parse("127.0.0.1:9180")};
  serve();
  EXPECT_TRUE(control_->serves());
  control_->not_main_any_more();
  const std::size_t told = environment_.notified.size();
  control_->replaced();
  EXPECT_EQ(workers_[0].told, 2);  // to leave the backlogs, and to drain
  EXPECT_EQ(workers_[1].told, 2);
  EXPECT_FALSE(control_->serves());
  simulation_.advance(10s);
  EXPECT_EQ(workers_[0].told, 2);
  EXPECT_EQ(environment_.notified.size(), told);
  control_->signal(SIGTERM);  // to whom it was meant for before
  EXPECT_EQ(workers_[0].told, 3);
  EXPECT_EQ(environment_.notified.size(), told);
}

TEST_F(ControlTest, WhatIsToBeReadBeforeWorkersServeIsReadThen) {
  int reads = 0;
  create();
  control_->read_by([&](const ReadRequest&) {
    ++reads;
    return nothing_new();
  });
  control_->start();
  control_->signal(SIGHUP);
  simulation_.settle();
  EXPECT_EQ(reads, 0);
  EXPECT_FALSE(control_->reloads());
  control_->workers_started({&workers_[0], &workers_[1]}, {});
  simulation_.settle();
  EXPECT_EQ(reads, 1);
  EXPECT_FALSE(control_->reloads());
}

TEST_F(ControlTest, WhoIsHeldReadsNothingByItselfAndWhoIsReplacedNothingAtAll) {
  int reads = 0;
  environment_.run_aside = false;
  options_.watch_files = true;
  serve();
  control_->read_by([&](const ReadRequest&) {
    ++reads;
    return nothing_new();
  });
  control_->signal(SIGHUP);
  EXPECT_TRUE(control_->reloads());
  environment_.run_what_waits();
  simulation_.settle();
  EXPECT_EQ(reads, 1);
  EXPECT_FALSE(control_->reloads());
  control_->hold_files(true);
  control_->files_changed();
  environment_.run_aside = true;
  simulation_.advance(5min);
  EXPECT_EQ(reads, 1);
  control_->hold_files(false);
  simulation_.advance(1min);
  EXPECT_GE(reads, 1);
  const int before = reads;
  control_->replaced();
  control_->files_changed();
  control_->signal(SIGHUP);
  simulation_.advance(5min);
  EXPECT_EQ(reads, before);
}

TEST_F(ControlTest, AnAdminListenerThatIsInUseIsTheOldProcessesUntilThisOneServes) {
  const io::Address address = *io::Address::parse("127.0.0.1:9180");
  const int listener = io::listen_on(address, {}).value();
  shared_ = std::move(*Shared::create(options_));
  auto control = Control::create(simulation_.reactor(), environment_, *shared_, options_,
                                 {OwnedDescriptor(listener), true});
  ASSERT_TRUE(control);
  control_ = std::move(*control);
  EXPECT_EQ(control_->admin_listener(), listener);
  control_->start();
  simulation_.settle();
  const int descriptor = io::open_stream(address.family()).value();
  io::Operation connect(nullptr, [](void*, const io::Completion&) {});
  io::Operation send(nullptr, [](void*, const io::Completion&) {});
  std::string got;
  io::Operation receive(&got, [](void* text, const io::Completion& completion) {
    *static_cast<std::string*>(text) += as_text(completion.bytes);
  });
  io::Ring& ring = simulation_.reactor().ring();
  ring.connect(connect, descriptor, address);
  simulation_.settle();
  ring.receive(receive, descriptor);
  const std::string request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
  ring.send(send, descriptor, as_bytes(request));
  simulation_.advance(1s);
  EXPECT_EQ(got, "");
  control_->workers_started({&workers_[0], &workers_[1]}, {});
  simulation_.settle();
  EXPECT_THAT(got, StartsWith("HTTP/1.1 200 "));
  ring.cancel(receive);
  simulation_.settle();
  io::close_socket(descriptor);
}

TEST_F(ControlTest, ToldToStopWhileItWaitsForItsPredecessorItsWorkersAreStopped) {
  create();
  control_->start();
  simulation_.settle();
  control_->signal(SIGTERM);
  control_->workers_started({&workers_[0], &workers_[1]}, {});
  EXPECT_EQ(workers_[0].told, 1);
  EXPECT_EQ(workers_[1].told, 1);
  EXPECT_FALSE(control_->serves());
}

TEST_F(ControlTest, WhenOneWorkerCannotStartTheOthersAreStopped) {
  create();
  control_->start();
  simulation_.settle();
  workers_[1].gone = true;
  control_->workers_started({&workers_[0], &workers_[1]}, fail(ErrorKind::system, "no memory"));
  EXPECT_EQ(workers_[0].told, 1);
  EXPECT_FALSE(control_->workers_gone());
  EXPECT_THAT(environment_.notified, IsEmpty());
}

TEST_F(ControlTest, TheWatchdogIsFedAsLongAsEveryWorkerTurns) {
  environment_.watchdog = 1s;
  serve();
  const auto fed = [&] {
    return std::ranges::count(environment_.notified, std::string("WATCHDOG=1"));
  };
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  simulation_.advance(4s);
  EXPECT_GE(fed(), 3);
  const auto before_late = fed();
  simulation_.advance(5s);  // who is late may come back
  EXPECT_GE(fed(), before_late + 4);
  EXPECT_THAT(environment_.notified, Not(Contains("WATCHDOG=trigger")));
  workers_[1].turned = simulation_.now();
  simulation_.advance(2s);  // the first one has not turned for eleven seconds
  EXPECT_EQ(std::ranges::count(environment_.notified, std::string("WATCHDOG=trigger")), 1);
  const auto before = fed();
  simulation_.advance(2s);
  EXPECT_EQ(fed(), before);
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  simulation_.advance(2s);
  EXPECT_GT(fed(), before);
  // One that has ended does not turn, and need not.
  workers_[0].turned.reset();
  workers_[1].turned.reset();
  simulation_.advance(10s);
  EXPECT_GE(fed(), before + 9);
  EXPECT_THAT(environment_.aborted, IsEmpty());
}

TEST_F(ControlTest, WhereNobodyRestartsAProcessWithAStuckWorkerItEndsItself) {
  serve();
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  for (int i = 0; i < 59; ++i) {
    workers_[0].turned = simulation_.now();
    simulation_.advance(500ms);
  }
  EXPECT_THAT(environment_.aborted, IsEmpty());
  simulation_.advance(2s);
  EXPECT_THAT(environment_.aborted, ElementsAre(HasSubstr("a worker is stuck")));
  EXPECT_THAT(environment_.notified, Not(Contains(StartsWith("WATCHDOG"))));
}

// A newcomer whom the kernel has given to a worker that is stuck.
TEST_F(ControlTest, WhoWaitsForAWorkerThatIsStuckIsGivenToAnother) {
  options_.client_connections_max = 10;
  serve();
  const io::Address address = *io::Address::parse("10.0.1.1:443");
  const int listener = io::listen_on(address, {}).value();
  control_->set_backlogs({{listener}, {}});
  io::Operation connect(nullptr, [](void*, const io::Completion&) {});
  const auto begin = [&] {
    const int descriptor = io::open_stream(address.family()).value();
    simulation_.reactor().ring().connect(connect, descriptor, address);
    return descriptor;
  };
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  const int one = begin();
  simulation_.advance(900ms);
  workers_[1].turned = simulation_.now();
  EXPECT_EQ(workers_[1].told, 0);
  simulation_.advance(600ms);
  EXPECT_EQ(workers_[1].told, 1);
  EXPECT_EQ(workers_[0].told, 0);
  // Nobody is there to serve it.
  simulation_.advance(1s);
  const int other = begin();
  simulation_.advance(2s);
  EXPECT_EQ(workers_[1].told, 1);
  // Whose it is is back, and serves it itself.
  workers_[0].turned = workers_[1].turned = simulation_.now();
  simulation_.advance(500ms);
  EXPECT_EQ(workers_[1].told + workers_[0].told, 1);
  const int accepted = io::accept_now(listener);
  EXPECT_GE(accepted, 0);
  for (const int descriptor : {one, other, accepted, listener}) io::close_socket(descriptor);
}

// The control thread has stood still with all others, and does not blame them.
TEST_F(ControlTest, AProcessThatWasStoppedForAMinuteGoesOn) {
  environment_.watchdog = 1s;
  serve();
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  simulation_.advance(500ms);
  simulation_.network().pass(1min);
  simulation_.advance(1s);
  EXPECT_THAT(environment_.notified, Not(Contains("WATCHDOG=trigger")));
  EXPECT_THAT(environment_.aborted, IsEmpty());
  const auto fed = std::ranges::count(environment_.notified, std::string("WATCHDOG=1"));
  simulation_.advance(1500ms);
  EXPECT_GT(std::ranges::count(environment_.notified, std::string("WATCHDOG=1")), fed);
}

TEST_F(ControlTest, WhereAWorkerIsStuckIsLoggedOnceAndWhenItTurnsAgain) {
  observability::Pipe pipe;
  log::start({.descriptor = pipe.write_end(), .journal = true});
  serve();
  for (NotedWorker& worker : workers_) worker.turned = simulation_.now();
  simulation_.advance(4s);
  workers_[0].turned = simulation_.now();
  simulation_.advance(3s);  // the second one has been away for seven seconds
  workers_[1].turned = simulation_.now();
  simulation_.advance(1s);
  log::stop();
  const std::string lines = pipe.read_all();
  EXPECT_THAT(lines, ContainsRegex("msg=\"a worker is stuck\" worker=1 away=5[^ ]* step=flush "
                                   "descriptor=37\n"));
  EXPECT_THAT(lines, HasSubstr("msg=\"a worker turns again\" worker=1\n"));
  EXPECT_EQ(lines.find("a worker is stuck"), lines.rfind("a worker is stuck"));
}

TEST_F(ControlTest, DebugAsksTheWorkersThatServe) {
  options_.admin_listen = {*io::Address::parse("127.0.0.1:9180")};
  serve();
  const io::Address admin = options_.admin_listen[0];
  const int descriptor = io::open_stream(admin.family()).value();
  io::Operation connect(nullptr, [](void*, const io::Completion&) {});
  io::Operation send(nullptr, [](void*, const io::Completion&) {});
  std::string got;
  io::Operation receive(&got, [](void* text, const io::Completion& completion) {
    *static_cast<std::string*>(text) += as_text(completion.bytes);
  });
  io::Ring& ring = simulation_.reactor().ring();
  ring.connect(connect, descriptor, admin);
  simulation_.settle();
  ring.receive(receive, descriptor);
  const std::string request = "GET /debug HTTP/1.1\r\nHost: x\r\n\r\n";
  ring.send(send, descriptor, as_bytes(request));
  simulation_.settle();
  EXPECT_EQ(workers_[0].told, 1);
  EXPECT_EQ(workers_[1].told, 1);
  workers_[1].turned = simulation_.now();
  simulation_.advance(1100ms);
  EXPECT_THAT(got, HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(got, HasSubstr("worker 0 stopped\nworker 1 STUCK: no answer; step=flush "));
  ring.cancel(receive);
  simulation_.settle();
  io::close_socket(descriptor);
}

TEST_F(ControlTest, WhatWorkersSeeOfABackendMakesItProbedAtOnce) {
  options_.clusters[0].probe.interval = 1h;
  serve();
  const std::size_t asked = backend_->requests().size();
  control_->probe_soon({0, 0});
  simulation_.settle();
  EXPECT_EQ(backend_->requests().size(), asked + 1);
  control_->stop();
  simulation_.settle();
  control_->probe_soon({0, 0});
  simulation_.settle();
  EXPECT_EQ(backend_->requests().size(), asked + 1);
}

TEST_F(ControlTest, AnAddressThatIsTakenIsAnErrorAndLeavesNothing) {
  options_.admin_listen = {*io::Address::parse("127.0.0.1:9180")};
  create();
  const std::size_t open = simulation_.network().open_descriptors();
  auto other = Shared::create(options_);
  EXPECT_FALSE(Control::create(simulation_.reactor(), environment_, **other, options_));
  EXPECT_EQ(simulation_.network().open_descriptors(), open);
}

}  // namespace
}  // namespace sluice::server
