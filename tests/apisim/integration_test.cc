// SPDX-License-Identifier: GPL-3.0-or-later
// Simulated servers seen by an HTTP/2 client over real sockets: what happens to connections and
// streams when a server refuses, drains, dies, freezes or injects faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "certificates.h"
#include "control.h"
#include "json.h"
#include "shard.h"
#include "sluice/http2/session.h"
#include "sluice/io/reactor.h"
#include "sluice/io/socket.h"
#include "sluice/net/connection.h"

namespace sluice::apisim {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;
const Fields with_token = {{"authorization", "Bearer secret"}};

// One connection to a server. The clock of the reactor only bounds how long a test may wait.
class Client : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  struct Answer {
    int status = 0;
    std::map<std::string, std::string> fields;
    std::string body;
    bool ended = false;   // END_STREAM
    bool closed = false;  // the stream is over
    http2::ErrorCode code = http2::ErrorCode::no_error;
  };

  Client(net::Transport& transport, const io::Address& address,
         std::shared_ptr<const tls::ClientContext> tls)
      : transport_(transport), connection_(transport, *this) {
    connection_.connect(address, std::move(tls), "kubernetes.default.svc.cluster.local");
  }

  http2::StreamId ask(std::string_view method, std::string_view path,
                      const Fields& fields = with_token, std::string body = {}) {
    http::RequestHead head;
    head.method = method;
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = path;
    for (const auto& [name, value] : fields) head.fields.add(name, value);
    const auto id = session_->submit_request(head, !body.empty(), 0);
    EXPECT_TRUE(id.has_value());
    if (!id) return 0;
    bodies_[*id] = std::move(body);
    answers_[*id];
    connection_.mark_dirty();
    return *id;
  }
  Answer& answer(http2::StreamId id) { return answers_[id]; }
  bool ready() const { return session_ && session_->settings_received(); }
  bool ended() const { return ended_; }
  bool closed() const { return closed_; }
  bool reset_by_peer() const { return error_kind_ == ErrorKind::reset; }
  std::optional<http2::StreamId> goaway() const { return goaway_; }
  void reset_stream(http2::StreamId id) {
    session_->reset_stream(id, http2::ErrorCode::cancel);
    connection_.mark_dirty();
  }
  void terminate() {
    if (!closed_) connection_.terminate();
  }

  void on_established() override {
    http2::SessionOptions options;
    options.server = false;
    session_ = std::make_unique<http2::Session>(*this, options, now());
    connection_.mark_dirty();
  }
  void on_receive(Bytes plain) override {
    EXPECT_TRUE(session_->feed(plain, now()));
    connection_.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override {
    return session_ ? session_->collect(batch) : 0;
  }
  void on_end(const Error& error) override {
    ended_ = true;
    error_kind_ = error.kind;
  }
  void on_closed() override { closed_ = true; }

  void on_response(http2::StreamRef stream, http::ResponseHead&& head, bool) override {
    Answer& its = answers_[stream.id];
    its.status = head.status;
    for (std::size_t i = 0; i < head.fields.size(); ++i) {
      its.fields[std::string(head.fields[i].name)] = head.fields[i].value;
    }
  }
  void on_data(http2::StreamRef stream, Bytes data) override {
    answers_[stream.id].body.append(as_text(data));
    session_->consume(stream.id, data.size());
  }
  void on_end_of_stream(http2::StreamRef stream) override { answers_[stream.id].ended = true; }
  void on_stream_closed(http2::StreamRef stream, http2::ErrorCode code, bool) override {
    answers_[stream.id].closed = true;
    answers_[stream.id].code = code;
  }
  http2::BodyResult on_body_wanted(http2::StreamRef stream, MutableBytes room) override {
    std::string& body = bodies_[stream.id];
    const std::size_t bytes = std::min(body.size(), room.size());
    std::copy_n(body.begin(), bytes, room.begin());
    body.erase(0, bytes);
    return {bytes, body.empty() ? http2::BodyStatus::finished : http2::BodyStatus::more};
  }
  void on_goaway(http2::StreamId last, http2::ErrorCode code) override {
    EXPECT_EQ(code, http2::ErrorCode::no_error);
    goaway_ = last;
  }
  void on_output_ready() override { connection_.mark_dirty(); }

 private:
  Instant now() const { return transport_.reactor().now(); }

  net::Transport& transport_;
  net::Connection connection_;
  std::unique_ptr<http2::Session> session_;
  std::map<http2::StreamId, Answer> answers_;
  std::map<http2::StreamId, std::string> bodies_;
  std::optional<http2::StreamId> goaway_;
  ErrorKind error_kind_ = ErrorKind::system;
  bool ended_ = false;
  bool closed_ = false;
};

class ApisimTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize()); }

  ApisimTest() {
    const test::Certificate serving =
        test::issue_server(serving_ca_, {"kubernetes.default.svc.cluster.local", "127.0.0.1"});
    AuthenticatorOptions authentication;
    authentication.client_ca_pem = client_ca_.pem();
    authentication.requestheader_ca_pem = proxy_ca_.pem();
    authentication.tokens_csv = "secret,tom,7,\"dev\"\n";
    authenticator_ = Authenticator::create(authentication).value();
    StoreOptions objects;
    objects.pods = 6;
    store_ = std::make_unique<Store>(objects);
    shared_.emplace(Shared{*store_, *authenticator_, 100});

    tls::ServerOptions tls;
    tls.certificate_chain_pem = serving.pem();
    tls.private_key_pem = serving.key_pem();
    tls.client_ca_pem = client_ca_.pem() + proxy_ca_.pem();
    for (std::size_t i = 0; i < 2; ++i) {
      ServerPlan plan;
      plan.index = i;
      plan.descriptor =
          io::listen_on(io::Address::parse("127.0.0.1:0").value(), {.reuse_port = false}).value();
      plan.address = io::local_address(plan.descriptor).value();
      addresses_.push_back(plan.address);
      shards_.push_back(std::make_unique<Shard>(*shared_, tls, std::vector{plan}));
      EXPECT_TRUE(shards_.back()->started());
      store_->on_change([&shard = *shards_.back()] { shard.wake_watches(); });
    }
    control_ = std::make_unique<Control>(*store_, shards_, 2);

    reactor_ = io::Reactor::create({}).value();
    transport_ = std::make_unique<net::Transport>(*reactor_, net::TransportOptions());
    plain_ = client_context(nullptr);
  }

  ~ApisimTest() override {
    for (const auto& client : clients_) client->terminate();
    wait_for([this] { return transport_->connections() == 0; });
    clients_.clear();
    reactor_->mailbox().stop();
    wait_for([this] { return reactor_->mailbox().stopped(); });
    for (const auto& shard : shards_) shard->stop();
  }

  std::shared_ptr<const tls::ClientContext> client_context(const test::Certificate* certificate) {
    tls::ClientOptions options;
    options.ca_pem = serving_ca_.pem();
    if (certificate != nullptr) {
      options.certificate_chain_pem = certificate->pem();
      options.private_key_pem = certificate->key_pem();
    }
    return tls::ClientContext::create(options).value();
  }

  template <class F>
  bool wait_for(F&& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    io::Timer wake(nullptr, [](void*) {});
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      reactor_->timers().set(wake, reactor_->now(), std::chrono::milliseconds(20));
      reactor_->turn();
    }
    return true;
  }

  Client& connect(std::size_t server = 0, std::shared_ptr<const tls::ClientContext> tls = nullptr) {
    clients_.push_back(
        std::make_unique<Client>(*transport_, addresses_[server], tls == nullptr ? plain_ : tls));
    Client& client = *clients_.back();
    EXPECT_TRUE(wait_for([&client] { return client.ready() || client.closed(); }));
    return client;
  }
  const Client::Answer& answer(Client& client, http2::StreamId id) {
    EXPECT_TRUE(wait_for([&] { return client.answer(id).closed || client.closed(); }));
    return client.answer(id);
  }
  const Client::Answer& get(Client& client, std::string_view path,
                            const Fields& fields = with_token) {
    return answer(client, client.ask("GET", path, fields));
  }
  http2::StreamId watch(Client& client) {
    const http2::StreamId id = client.ask("GET", "/api/v1/pods?watch=1&allowWatchBookmarks=true");
    EXPECT_TRUE(wait_for([&] { return std::ranges::count(client.answer(id).body, '\n') >= 6; }));
    return id;
  }
  void command(std::string_view target) {
    const ControlReply reply = control_->run("POST", target);
    EXPECT_EQ(reply.status, 200) << target << ": " << reply.json;
  }
  Json counters(std::size_t server = 0) {
    const auto json = Json::parse(control_->run("GET", "/counters").json);
    return (*json->find("servers")->array())[server];
  }
  std::string counter(std::string_view group, std::string_view name, std::size_t server = 0) {
    const Json all = counters(server);
    const Json* where = group.empty() ? &all : all.find(group);
    const Json* found = where == nullptr ? nullptr : where->find(name);
    return found == nullptr ? "none" : found->to_string();
  }

  const test::Certificate serving_ca_ = test::make_ca("serving-ca");
  const test::Certificate client_ca_ = test::make_ca("client-ca");
  const test::Certificate proxy_ca_ = test::make_ca("proxy-ca");
  std::optional<Authenticator> authenticator_;
  std::unique_ptr<Store> store_;
  std::optional<Shared> shared_;
  std::vector<io::Address> addresses_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<net::Transport> transport_;
  std::shared_ptr<const tls::ClientContext> plain_;
  std::vector<std::unique_ptr<Client>> clients_;
};

TEST_F(ApisimTest, AnswersManyStreamsOfOneConnection) {
  Client& client = connect();
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 50; ++i) {
    ids.push_back(client.ask("GET", "/api/v1/namespaces/bench-10k/configmaps"));
  }
  for (const http2::StreamId id : ids) {
    EXPECT_EQ(answer(client, id).status, 200);
    EXPECT_EQ(client.answer(id).body.size(), 10240U);
  }
  EXPECT_FALSE(client.goaway());
  EXPECT_EQ(counter("requests", "configmaps"), R"({"list":50})");
}

TEST_F(ApisimTest, ABadTimeoutIsRefusedBeforeAuthentication) {
  Client& client = connect();
  for (const char* token : {"Bearer wrong", ""}) {
    const Client::Answer& refused = get(client, "/api?timeout=bogus", {{"authorization", token}});
    EXPECT_EQ(refused.status, 400);
    EXPECT_EQ(refused.fields.count("x-kubernetes-pf-flowschema-uid"), 0U);
  }
  EXPECT_FALSE(client.goaway());
  EXPECT_EQ(get(client, "/api?timeout=1s").status, 200);
}

TEST_F(ApisimTest, AnAggregatedApisRefusalEndsNoConnection) {
  Client& client = connect();
  const Client::Answer& refused = get(client, "/apis/refusing.example.com/v1/things");
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.fields.count("x-kubernetes-pf-flowschema-uid"), 0U);
  EXPECT_EQ(get(client, "/api/v1/pods").status, 200);
  EXPECT_FALSE(client.goaway());
}

TEST_F(ApisimTest, A401RetiresTheConnectionAndSparesItsOpenStreams) {
  Client& client = connect();
  const http2::StreamId watched = watch(client);
  const Client::Answer& refused = get(client, "/api/v1/pods", {{"authorization", "Bearer wrong"}});
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.fields.count("x-kubernetes-pf-flowschema-uid"), 0U);
  ASSERT_TRUE(client.goaway());
  EXPECT_EQ(*client.goaway(), watched + 2);
  // The watch lives on, and only after its end the server closes.
  const std::size_t seen = client.answer(watched).body.size();
  command("/events?count=1");
  EXPECT_TRUE(wait_for([&] { return client.answer(watched).body.size() > seen; }));
  EXPECT_FALSE(client.ended());
  client.reset_stream(watched);
  EXPECT_TRUE(wait_for([&] { return client.ended(); }));
  EXPECT_EQ(counter("goaways", "unauthorized"), "1");
}

TEST_F(ApisimTest, AnAnonymousRequestRetiresTheConnection) {
  Client& client = connect();
  EXPECT_EQ(get(client, "/readyz", {}).status, 200);
  EXPECT_TRUE(client.goaway());
  EXPECT_EQ(get(connect(), "/api/v1/pods", {}).status, 403);
  EXPECT_EQ(counter("goaways", "anonymous"), "2");
}

TEST_F(ApisimTest, TellsWhoAsks) {
  const test::Certificate proxy = test::issue_client(proxy_ca_, "proxy");
  const auto by_proxy = client_context(&proxy);
  Client& trusted = connect(0, by_proxy);
  const std::string path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const auto review = [&](Client& client, const Fields& fields) {
    return answer(client, client.ask("POST", path, fields, "{}"));
  };
  const Client::Answer vouched =
      review(trusted, {{"x-remote-user", "bob"}, {"x-remote-group", "dev"}});
  EXPECT_EQ(vouched.status, 201);
  EXPECT_TRUE(vouched.body.contains(
      R"("userInfo":{"username":"bob","groups":["dev","system:authenticated"]})"))
      << vouched.body;
  EXPECT_EQ(review(trusted, {{"x-remote-group", "dev"}}).status, 401);
  EXPECT_EQ(counter("requests_by_peer", "front-proxy"), "2");

  const Client::Answer token =
      review(connect(), {{"authorization", "Bearer secret"}, {"x-remote-user", "bob"}});
  EXPECT_TRUE(token.body.contains(R"("username":"tom")")) << token.body;
  // What was seen, without the secret.
  const std::string seen = control_->run("GET", "/requests?server=0&contains=bob").json;
  EXPECT_TRUE(seen.contains(R"(["x-remote-user","bob"])")) << seen;
  EXPECT_TRUE(seen.contains("Bearer sha256:")) << seen;
  EXPECT_FALSE(seen.contains("secret")) << seen;
}

TEST_F(ApisimTest, UnverifiedCertificateEndsIn401NotInTheHandshake) {
  const test::Certificate foreign = test::issue_client(test::make_ca("other"), "alice");
  const auto context = client_context(&foreign);
  EXPECT_EQ(get(connect(0, context), "/version", {}).status, 401);
  EXPECT_EQ(get(connect(0, context), "/version").status, 200);
  EXPECT_EQ(counter("connections", "invalid"), "2");
}

TEST_F(ApisimTest, WatchSeesWhatAnotherServerChanges) {
  Client& client = connect(0);
  const http2::StreamId watched = client.ask(
      "GET", "/api/v1/configmaps?watch=1&resourceVersion=" + std::to_string(store_->revision()));
  EXPECT_TRUE(wait_for([&] { return client.answer(watched).status == 200; }));
  Client& other = connect(1);
  EXPECT_EQ(answer(other, other.ask("POST", "/api/v1/namespaces/default/configmaps", with_token,
                                    R"({"metadata":{"name":"fresh"}})"))
                .status,
            201);
  EXPECT_TRUE(wait_for([&] { return client.answer(watched).body.contains("fresh"); }));
}

TEST_F(ApisimTest, WatchEndsAfterItsTimeoutWithABookmark) {
  Client& client = connect();
  const http2::StreamId id = client.ask(
      "GET", "/api/v1/pods?watch=1&allowWatchBookmarks=1&timeoutSeconds=1&resourceVersion=" +
                 std::to_string(store_->revision()));
  EXPECT_TRUE(answer(client, id).ended);
  EXPECT_TRUE(client.answer(id).body.contains("BOOKMARK"));
  EXPECT_EQ(client.answer(id).code, http2::ErrorCode::no_error);
}

TEST_F(ApisimTest, TooLargeUploadIsAnsweredBeforeItsEnd) {
  Client& client = connect();
  const Client::Answer& early =
      answer(client, client.ask("POST", "/api/v1/namespaces/default/configmaps", with_token,
                                std::string(5 << 20, 'x')));
  EXPECT_EQ(early.status, 413);
  EXPECT_TRUE(early.ended);
  EXPECT_EQ(get(client, "/version").status, 200);
}

TEST_F(ApisimTest, DrainRefusesWithRetryAfterAndEndsWatchesCleanly) {
  Client& client = connect();
  const http2::StreamId watched = watch(client);
  command("/servers/0/set?latency=1s");
  const http2::StreamId slow = client.ask("GET", "/api/v1/pods");
  EXPECT_TRUE(wait_for([&] { return counter("", "in_flight") == "1"; }));
  command("/servers/0/drain?retry-after=true");
  EXPECT_TRUE(wait_for([&] { return client.answer(watched).closed; }));
  EXPECT_TRUE(client.answer(watched).ended);
  const Client::Answer& refused = get(client, "/api/v1/pods");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.fields.at("retry-after"), "5");
  EXPECT_EQ(refused.body, "The apiserver is shutting down, please try again later.\n");
  EXPECT_EQ(refused.fields.count("x-kubernetes-pf-flowschema-uid"), 0U);
  EXPECT_TRUE(client.goaway());
  EXPECT_EQ(answer(client, slow).status, 200);
  EXPECT_TRUE(wait_for([&] { return client.ended(); }));
  EXPECT_TRUE(wait_for([&] { return counter("", "state") == "\"stopped\""; }));
}

TEST_F(ApisimTest, ShutdownDelayServesOnWithRedReadiness) {
  Client& client = connect();
  command("/servers/0/drain?delay=60s");
  EXPECT_EQ(get(client, "/readyz").status, 500);
  EXPECT_EQ(get(client, "/livez").status, 200);
  EXPECT_EQ(get(client, "/api/v1/pods").status, 200);
}

TEST_F(ApisimTest, KilledServerResetsAndComesBack) {
  Client& client = connect();
  watch(client);
  command("/servers/0/kill");
  EXPECT_TRUE(wait_for([&] { return client.ended(); }));
  EXPECT_TRUE(client.reset_by_peer());
  Client& refused = connect(0);
  EXPECT_TRUE(refused.closed());
  command("/servers/0/restart?history=empty");
  Client& again = connect(0);
  EXPECT_EQ(get(again, "/api/v1/pods").status, 200);
  const Client::Answer& expired = get(again, "/api/v1/pods?watch=1&resourceVersion=1");
  EXPECT_TRUE(expired.body.contains("\"code\":410")) << expired.body;
}

TEST_F(ApisimTest, FrozenServerSaysNothingUntilItThaws) {
  Client& client = connect();
  command("/servers/0/freeze");
  const http2::StreamId id = client.ask("GET", "/version");
  Client& other = connect(1);
  EXPECT_EQ(get(other, "/version").status, 200);
  EXPECT_EQ(client.answer(id).status, 0);
  command("/servers/0/thaw");
  EXPECT_EQ(answer(client, id).status, 200);
}

TEST_F(ApisimTest, InjectsEachFault) {
  const auto with = [this](std::string_view setting) {
    command(std::string("/servers/0/set?fail-500=0&fail-refused=0&fail-reset-stream=0&"
                        "fail-reset-connection=0&fail-truncated=0&goaway-chance=0&") +
            std::string(setting));
  };
  Client& client = connect();
  with("fail-500=1");
  EXPECT_EQ(get(client, "/api/v1/pods").status, 500);
  EXPECT_EQ(get(client, "/readyz").status, 200);
  with("fail-refused=1");
  EXPECT_EQ(get(client, "/api/v1/pods").code, http2::ErrorCode::refused_stream);
  with("fail-reset-stream=1");
  EXPECT_EQ(get(client, "/api/v1/pods").code, http2::ErrorCode::internal_error);
  with("fail-truncated=1");
  const Client::Answer truncated = get(client, "/bench/10k");
  EXPECT_EQ(truncated.status, 200);
  EXPECT_FALSE(truncated.ended);
  EXPECT_EQ(truncated.body.size(), 5120U);
  with("goaway-chance=1");
  EXPECT_EQ(get(client, "/version").status, 200);
  EXPECT_TRUE(client.goaway());
  Client& other = connect();
  with("fail-reset-connection=1");
  get(other, "/version");
  EXPECT_TRUE(other.reset_by_peer());
  EXPECT_EQ(counter("", "faults"), "5");
}

TEST_F(ApisimTest, LimitsRequestsInFlight) {
  command("/servers/0/set?max-in-flight=2&latency=200ms");
  Client& client = connect();
  std::vector<http2::StreamId> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(client.ask("GET", "/api/v1/pods"));
  int refused = 0;
  for (const http2::StreamId id : ids) {
    if (answer(client, id).status != 429) continue;
    ++refused;
    EXPECT_EQ(client.answer(id).fields.count("x-kubernetes-pf-flowschema-uid"), 1U);
  }
  EXPECT_EQ(refused, 3);
}

TEST_F(ApisimTest, ControlRefusesWhatItDoesNotKnow) {
  EXPECT_EQ(control_->run("GET", "/nothing").status, 404);
  EXPECT_EQ(control_->run("POST", "/servers/9/kill").status, 404);
  EXPECT_EQ(control_->run("POST", "/servers/0/set?latency=soon").status, 400);
  EXPECT_EQ(control_->run("POST", "/servers/0/restart").status, 409);
}

}  // namespace
}  // namespace sluice::apisim
