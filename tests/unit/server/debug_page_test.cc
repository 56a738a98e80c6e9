// SPDX-License-Identifier: GPL-3.0-or-later
// /debug: who is asked, who is waited for, and what is said of who does not answer.
#include "debug_page.h"

#include <gmock/gmock.h>

#include <array>
#include <utility>

#include "deaf_events.h"
#include "outline.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "worker.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Keeps what is posted until the test lets the worker turn.
class HeldPort final : public WorkerPort {
 public:
  void post(std::move_only_function<void(Worker&)> message) override {
    posted.push_back(std::move(message));
  }
  bool stopped() const override { return gone; }
  std::optional<io::TurnState> turn() const override { return at; }

  void run(Worker& worker) {
    for (auto& message : std::exchange(posted, {})) message(worker);
  }

  std::vector<std::move_only_function<void(Worker&)>> posted;
  std::optional<io::TurnState> at;
  bool gone = false;
};

class DebugPageTest : public testing::Test, public DeafEvents {
 protected:
  DebugPageTest() {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.tls.certificate_chain_pem = keys.serving.pem();
    cluster.tls.private_key_pem = keys.serving.key_pem();
    cluster.backend_tls.plain.ca_pem = keys.serving_ca.pem();
    cluster.backends = {{*io::Address::parse("10.0.0.1:6443"), "api-0", "backend"}};
    options_.cpus.assign(8, -1);  // the worker below has a place of its own on the load board
    shared_ = std::move(*Shared::create(options_));
    worker_ = std::move(*Worker::create(simulation_.reactor(), 7, options_.thread.worker,
                                        {*shared_, *this, {1, 2}}, 1));
  }
  ~DebugPageTest() override {
    worker_->stop();
    simulation_.settle();
  }

  void ask() {
    page_.ask([this](const std::string& page) { pages_.push_back(page); });
  }
  void two_workers() { page_.set_workers({&ports_[0], &ports_[1]}); }

  test::Simulation simulation_;
  ServerOptions options_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Worker> worker_;
  std::array<HeldPort, 2> ports_;
  DebugPage page_{simulation_.reactor()};
  std::vector<std::string> pages_;
};

TEST_F(DebugPageTest, BeforeAnyWorkerHasStartedThereIsNobodyToAsk) {
  ask();
  EXPECT_THAT(pages_, ElementsAre("no worker has started\n"));
}

TEST_F(DebugPageTest, AnswersAsSoonAsTheLastWorkerHas) {
  two_workers();
  ask();
  ports_[0].run(*worker_);
  simulation_.settle();
  EXPECT_THAT(pages_, IsEmpty());
  ports_[1].run(*worker_);
  simulation_.settle();
  ASSERT_THAT(pages_, SizeIs(1));
  EXPECT_THAT(pages_[0], HasSubstr("worker 7 serving "));
  simulation_.advance(2s);
  EXPECT_THAT(pages_, SizeIs(1));
}

TEST_F(DebugPageTest, AWorkerThatDoesNotAnswerWithinASecondIsCalledStuckAndSoIsItsStep) {
  two_workers();
  ports_[1].at = {simulation_.now() - 6s, io::TurnStep::flush, 37};
  ask();
  ports_[0].run(*worker_);
  simulation_.advance(900ms);
  EXPECT_THAT(pages_, IsEmpty());
  simulation_.advance(200ms);
  ASSERT_THAT(pages_, SizeIs(1));
  EXPECT_THAT(pages_[0], HasSubstr("worker 7 serving "));
  EXPECT_THAT(pages_[0], HasSubstr("worker 1 STUCK: no answer; step=flush descriptor=37 away=7."));
}

TEST_F(DebugPageTest, AWorkerThatIsStuckIsNotAskedTwice) {
  two_workers();
  ports_[0].gone = true;
  ports_[1].at = {simulation_.now(), io::TurnStep::timers, -1};
  for (int i = 0; i < 5; ++i) {
    ask();
    simulation_.advance(1100ms);
  }
  EXPECT_THAT(pages_, SizeIs(5));
  EXPECT_THAT(ports_[1].posted, SizeIs(1));
  // It comes back, and is asked as any other.
  ports_[1].run(*worker_);
  simulation_.settle();
  ask();
  EXPECT_THAT(ports_[1].posted, SizeIs(1));
  ports_[1].run(*worker_);
  simulation_.settle();
  ASSERT_THAT(pages_, SizeIs(6));
  EXPECT_THAT(pages_[5], HasSubstr("worker 7 serving "));
}

TEST_F(DebugPageTest, WhoAsksTogetherGetsOnePage) {
  two_workers();
  ask();
  ask();
  for (HeldPort& port : ports_) {
    EXPECT_THAT(port.posted, SizeIs(1));
    port.run(*worker_);
  }
  simulation_.settle();
  ASSERT_THAT(pages_, SizeIs(2));
  EXPECT_EQ(pages_[0], pages_[1]);
}

TEST_F(DebugPageTest, AWorkerThatHasStoppedIsNotWaitedFor) {
  two_workers();
  for (HeldPort& port : ports_) port.gone = true;
  ask();
  EXPECT_THAT(pages_, ElementsAre("worker 0 stopped\nworker 1 stopped\n"));
}

TEST_F(DebugPageTest, AtTheEndWhoWaitsGetsWhatIsKnown) {
  two_workers();
  ask();
  page_.stop();
  EXPECT_THAT(pages_, SizeIs(1));
  page_.stop();
  EXPECT_THAT(pages_, SizeIs(1));
}

TEST(OutlineTest, KeepsWhatHasRoomAndSaysThatThereIsMore) {
  Outline outline(40);
  outline.add(0, "worker 0");
  outline.add(1, "client 1");
  EXPECT_EQ(outline.text(), "worker 0\n  client 1\n");
  EXPECT_FALSE(outline.full());
  outline.add(2, "a line that has no room here");
  EXPECT_TRUE(outline.full());
  outline.add(0, "x");
  EXPECT_EQ(outline.text(), "worker 0\n  client 1\n(there is more)\n");
  EXPECT_LE(outline.text().size(), 40U);
}

}  // namespace
}  // namespace sluice::server
