// SPDX-License-Identifier: GPL-3.0-or-later
// The admin listener: what it answers, and that nobody can occupy it. On the simulated ring.
#include "admin.h"

#include <gmock/gmock.h>

#include <cerrno>

#include "simulation.h"
#include "sluice/io/socket.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

// Somebody with a socket.
class Visitor {
 public:
  Visitor(test::Simulation& simulation, const io::Address& address)
      : simulation_(simulation),
        descriptor_(io::open_stream(address.family()).value()),
        connect_(io::Operation::bind<&Visitor::on_connected>(this)),
        receive_(io::Operation::bind<&Visitor::on_received>(this)),
        send_(io::Operation::bind<&Visitor::on_sent>(this)) {
    ring().connect(connect_, descriptor_, address);
    simulation_.settle();
  }
  ~Visitor() { leave(); }

  // Takes what has come only when told to, from here on.
  void stop_reading() {
    ring().cancel(receive_);
    simulation_.settle();
  }
  void take_a_piece() {
    if (!receive_.in_flight()) ring().receive_once(receive_, descriptor_);
    simulation_.settle();
  }

  bool connected() const { return connected_; }
  bool ended() const { return ended_; }
  const std::string& answer() const { return answer_; }

  void say(std::string text) {
    said_ = std::move(text);
    ring().send(send_, descriptor_, as_bytes(said_));
    simulation_.settle();
  }
  void leave() {
    if (descriptor_ < 0) return;
    for (io::Operation* operation : {&connect_, &receive_, &send_}) ring().cancel(*operation);
    simulation_.settle();
    io::close_socket(std::exchange(descriptor_, -1));
    simulation_.settle();
  }

 private:
  io::Ring& ring() { return simulation_.reactor().ring(); }
  void on_connected(const io::Completion& completion) {
    connected_ = completion.result == 0;
    if (connected_) ring().receive(receive_, descriptor_);
  }
  void on_received(const io::Completion& completion) {
    if (completion.result > 0) answer_ += as_text(completion.bytes);
    ended_ = ended_ || completion.result == 0;
  }
  void on_sent(const io::Completion&) {}

  test::Simulation& simulation_;
  int descriptor_;
  bool connected_ = false;
  bool ended_ = false;
  std::string said_;
  std::string answer_;
  io::Operation connect_;
  io::Operation receive_;
  io::Operation send_;
};

class AdminTest : public testing::Test {
 protected:
  static constexpr Duration patience = 10s;  // of the listener with its visitors

  void SetUp() override {
    auto admin = Admin::create(simulation_.reactor(), *io::Address::parse("127.0.0.1:0"),
                               [this](std::string_view path, Admin::Answer answer) {
                                 asked_.emplace_back(path);
                                 if (!later_) return answer(reply_);
                                 answers_.push_back(std::move(answer));
                               });
    ASSERT_TRUE(admin) << admin.error().context;
    admin_ = std::move(*admin);
  }

  void TearDown() override {
    visitors_.clear();
    if (!admin_) return;
    admin_->stop();
    simulation_.settle();
    EXPECT_TRUE(admin_->stopped());
  }

  Visitor& visit() {
    visitors_.push_back(std::make_unique<Visitor>(simulation_, admin_->address()));
    return *visitors_.back();
  }
  std::string ask(std::string text) {
    Visitor& visitor = visit();
    visitor.say(std::move(text));
    return visitor.answer();
  }

  test::Simulation simulation_;
  AdminReply reply_{200, "text/plain", "ok\n"};
  bool later_ = false;  // answers are kept for the test to give
  std::vector<Admin::Answer> answers_;
  std::vector<std::string> asked_;
  std::unique_ptr<Admin> admin_;
  std::vector<std::unique_ptr<Visitor>> visitors_;
};

TEST_F(AdminTest, AnswersAGetAndEndsTheConnection) {
  Visitor& visitor = visit();
  visitor.say("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(asked_, ElementsAre("/readyz"));
  EXPECT_THAT(visitor.answer(), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(visitor.answer(), HasSubstr("content-type: text/plain\r\ncontent-length: 3\r\n"));
  EXPECT_THAT(visitor.answer(), HasSubstr("connection: close\r\n"));
  EXPECT_THAT(visitor.answer(), EndsWith("\r\n\r\nok\n"));
  EXPECT_TRUE(visitor.ended());
}

TEST_F(AdminTest, SaysWhatItsHandlerSays) {
  reply_ = {503, "application/json", "{}"};
  const std::string answer = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("content-type: application/json\r\n"));
}

TEST_F(AdminTest, TheQueryIsNotAskedFor) {
  ask("GET /metrics?name=x HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(asked_, ElementsAre("/metrics"));
}

TEST_F(AdminTest, AnswersHeadWithoutABody) {
  const std::string answer = ask("HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("content-length: 3\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
}

TEST_F(AdminTest, ARequestMayComeInPieces) {
  Visitor& visitor = visit();
  visitor.say("GET /live");
  visitor.say("z HTTP/1.1\r\nHost:");
  EXPECT_THAT(asked_, IsEmpty());
  visitor.say(" x\r\n\r\n");
  EXPECT_THAT(asked_, ElementsAre("/livez"));
}

TEST_F(AdminTest, AnAnswerMayTakeItsTime) {
  later_ = true;
  Visitor& visitor = visit();
  visitor.say("GET /debug HTTP/1.1\r\nHost: x\r\n\r\n");
  visitor.say("GET /again HTTP/1.1\r\nHost: x\r\n\r\n");
  simulation_.advance(1s);
  EXPECT_THAT(asked_, ElementsAre("/debug"));
  EXPECT_THAT(visitor.answer(), IsEmpty());
  answers_[0](reply_);
  simulation_.settle();
  EXPECT_THAT(visitor.answer(), EndsWith("\r\n\r\nok\n"));
}

TEST_F(AdminTest, WhoLeavesBeforeItsAnswerHearsNothingOfIt) {
  later_ = true;
  Visitor& gone = visit();
  gone.say("GET /debug HTTP/1.1\r\nHost: x\r\n\r\n");
  gone.leave();
  Visitor& stayed = visit();
  stayed.say("GET /debug HTTP/1.1\r\nHost: x\r\n\r\n");
  for (Admin::Answer& answer : answers_) answer(reply_);
  simulation_.settle();
  EXPECT_THAT(gone.answer(), IsEmpty());
  EXPECT_THAT(stayed.answer(), EndsWith("ok\n"));
  // And one that comes after the listener's end.
  visit().say("GET /debug HTTP/1.1\r\nHost: x\r\n\r\n");
  admin_->stop();
  simulation_.settle();
  EXPECT_TRUE(admin_->stopped());
  answers_.back()(reply_);
}

TEST_F(AdminTest, ALongAnswerArrivesWhole) {
  reply_.body = std::string(1'000'000, 'm');
  EXPECT_THAT(ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), EndsWith("\r\n\r\n" + reply_.body));
}

TEST_F(AdminTest, ASlowReaderThatHasAskedForMoreGetsItsAnswerWholeBeforeTheEnd) {
  simulation_.network().bound_receive_buffers(50'000);
  reply_.body = std::string(1'000'000, 'm');
  Visitor& visitor = visit();
  visitor.stop_reading();
  visitor.say("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  // 16 KB a second: the whole answer takes far longer than anybody is waited for.
  for (int i = 0; i < 100 && !visitor.ended(); ++i) {
    visitor.say("GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
    simulation_.advance(1s);
    visitor.take_a_piece();
  }
  EXPECT_TRUE(visitor.ended());
  EXPECT_THAT(visitor.answer(), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(visitor.answer(), EndsWith("\r\n\r\n" + reply_.body));
  EXPECT_THAT(asked_, ElementsAre("/a"));
}

TEST_F(AdminTest, WhoTakesNothingOfItsAnswerLosesItsConnection) {
  simulation_.network().bound_receive_buffers(50'000);
  reply_.body = std::string(1'000'000, 'm');
  Visitor& visitor = visit();
  visitor.stop_reading();
  visitor.say("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::size_t before = simulation_.network().open_descriptors();
  simulation_.advance(patience - 1s);
  EXPECT_EQ(simulation_.network().open_descriptors(), before);
  simulation_.advance(2s);
  EXPECT_EQ(simulation_.network().open_descriptors(), before - 1);
}

TEST_F(AdminTest, OnlyReadingIsPossible) {
  for (const std::string method : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
    EXPECT_THAT(ask(method + " /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
                StartsWith("HTTP/1.1 4"))
        << method;
  }
  EXPECT_THAT(ask("POST /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(AdminTest, RefusesWhatIsNoRequest) {
  EXPECT_THAT(ask("\x16\x03\x01 hello\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nCookie: " + std::string(10'000, 'c') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(AdminTest, OneRequestPerConnection) {
  Visitor& visitor = visit();
  visitor.say("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  visitor.say("GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(asked_, ElementsAre("/a"));
}

TEST_F(AdminTest, WhoSaysNothingLosesItsConnection) {
  const Visitor& visitor = visit();
  simulation_.advance(patience - 1s);
  EXPECT_FALSE(visitor.ended());
  simulation_.advance(2s);
  EXPECT_TRUE(visitor.ended());
}

TEST_F(AdminTest, WhoStaysAfterItsAnswerLosesItsConnection) {
  Visitor& visitor = visit();
  visitor.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::size_t before = simulation_.network().open_descriptors();
  simulation_.advance(patience + 1s);
  EXPECT_EQ(simulation_.network().open_descriptors(), before - 1);
}

TEST_F(AdminTest, ManyVisitorsAtOnceAreTurnedAwayUntilOthersLeave) {
  constexpr int connections_max = 32;
  for (int i = 0; i < connections_max; ++i) visit();
  EXPECT_TRUE(visit().ended());
  EXPECT_FALSE(visitors_[0]->ended());
  visitors_[0]->leave();
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminTest, RunningOutOfDescriptorsIsAPauseAndNotTheEnd) {
  simulation_.network().fail_accepts(EMFILE);
  Visitor& visitor = visit();
  visitor.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(visitor.answer(), IsEmpty());
  simulation_.network().fail_accepts(0);
  simulation_.advance(250ms);
  EXPECT_THAT(visitor.answer(), Not(IsEmpty()));
}

TEST_F(AdminTest, StoppingEndsWhoIsThere) {
  const Visitor& visitor = visit();
  admin_->stop();
  EXPECT_FALSE(admin_->stopped());
  simulation_.settle();
  EXPECT_TRUE(admin_->stopped());
  EXPECT_TRUE(visitor.ended());
  const io::Address address = admin_->address();
  visitors_.clear();
  admin_.reset();
  EXPECT_FALSE(Visitor(simulation_, address).connected());
}

TEST_F(AdminTest, LeavingAnswersWhoIsThereAndGivesTheAddressUp) {
  Visitor& visitor = visit();
  const io::Address address = admin_->address();
  admin_->leave();
  simulation_.settle();
  EXPECT_EQ(admin_->listener(), -1);
  EXPECT_FALSE(Visitor(simulation_, address).connected());
  visitor.say("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(visitor.answer(), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(AdminTest, OneThatWasNeverStartedLeavesAsWell) {
  const int listener = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  const auto adopted =
      Admin::adopt(simulation_.reactor(), listener, [](std::string_view, Admin::Answer) {});
  EXPECT_EQ(adopted->listener(), listener);
  adopted->leave();
  EXPECT_EQ(adopted->listener(), -1);
  adopted->stop();
  EXPECT_TRUE(adopted->stopped());
}

TEST_F(AdminTest, AnAddressInUseIsAnError) {
  const auto second = Admin::create(simulation_.reactor(), admin_->address(),
                                    [](std::string_view, Admin::Answer) {});
  ASSERT_FALSE(second);
  EXPECT_FALSE(second.error().context.empty());
}

}  // namespace
}  // namespace sluice::server
