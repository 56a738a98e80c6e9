// SPDX-License-Identifier: GPL-3.0-or-later
// Whoever the client is stays who the API server would have seen, and nobody can claim to be
// somebody else through the proxy. What reached a backend is read from the simulated servers'
// records.
#include <fmt/format.h>

#include <algorithm>
#include <list>
#include <set>

#include "harness.h"

namespace sluice::test {
namespace {

// The name as a careless reader might take it: lower case, '-' for '_', percent escapes undone.
std::string lenient(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (c == '%' && i + 2 < name.size()) {
      c = static_cast<char>(std::stoi(std::string(name.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    }
    if (c == '_') c = '-';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

const std::vector<std::string> forged_names = {
    "x-remote-user",         "x-remote-group",
    "x-remote-uid",          "x-remote-extra-scopes",
    "x_remote_user",         "x-remote_user",
    "x_remote-user",         "x_remote_group",
    "x_remote_uid",          "x_remote_extra_scopes",
    "x-remote-extra-",       "x-remote-",
    "x-remote-extra-%61cme", "x-remote-extra-authentication.kubernetes.io%2fcredential-id",
    "%78-remote-user",       "x%2dremote%2duser",
    "x-%72emote-group",      "x%5fremote%5fuser",
    "x-remote-user-",        "x-remote-username",
    "x-remote-anything",
};

class IdentityTest : public IntegrationTest {
 protected:
  struct Review {
    int status = 0;
    std::string user_info;
  };
  static Review review(Http2Client& client, const FieldList& fields = {},
                       const FieldList& trailers = {}) {
    const Answer& answer = client.fetch({.method = "POST",
                                         .path = std::string(review_path),
                                         .fields = fields,
                                         .body = "{}",
                                         .trailers = trailers});
    Review review;
    review.status = answer.status;
    if (const auto json = Json::parse(answer.body)) {
      if (const Json* status = json->find("status"); status != nullptr && status->is_object()) {
        review.user_info = status->to_string();
      }
    }
    return review;
  }
  // Certificates that are no identity, and why the API servers think so, too.
  std::vector<std::pair<std::string, const Certificate*>> useless() const {
    return {{"expired", &credentials.expired},
            {"foreign", &credentials.foreign},
            {"nameless", &credentials.nameless},
            {"serverAuth", &credentials.wrong_usage},
            {"clone", &credentials.clone}};
  }
};

TEST_F(IdentityTest, ForgedIdentityFieldsNeverReachABackend) {
  start();
  const auto by_certificate = connect(&credentials.alice);
  const auto by_token = connect();
  const auto by_both = connect(&credentials.bob);
  std::size_t asked = 0;
  for (const std::string& forged : forged_names) {
    for (const bool twice : {false, true}) {
      FieldList fields = {{forged, "forged"}};
      if (twice)
        fields = {{forged, "forged"}, {"accept", "application/json"}, {forged, "forged-too"}};
      const auto with = [&](FieldList more) {
        more.insert(more.end(), fields.begin(), fields.end());
        return more;
      };
      EXPECT_EQ(by_certificate->fetch({.path = std::string(object_path), .fields = fields}).status,
                200)
          << forged;
      EXPECT_EQ(
          by_token->fetch({.path = std::string(object_path), .fields = with(bearer())}).status, 200)
          << forged;
      EXPECT_EQ(by_both->fetch({.path = std::string(object_path), .fields = with(bearer())}).status,
                200)
          << forged;
      by_token->fetch({.path = std::string(object_path), .fields = fields});
      asked += 4;
    }
  }
  const std::vector<Apisim::Seen> all = apisim->seen("kb-1");
  EXPECT_GE(all.size(), asked);
  std::set<std::string> users;
  for (const Apisim::Seen& seen : all) {
    users.insert(seen.user);
    for (const auto& [name, value] : seen.fields) {
      EXPECT_FALSE(value.contains("forged")) << name << ": " << value;
      if (!lenient(name).starts_with("x-remote-")) continue;
      // Ours alone, on our connections alone.
      EXPECT_EQ(seen.peer, "front-proxy");
      EXPECT_TRUE(name == "x-remote-user" || name == "x-remote-group" ||
                  name == "x-remote-extra-authentication.kubernetes.io%2fcredential-id")
          << name;
    }
    if (seen.peer == "front-proxy") {
      EXPECT_EQ(seen.values("x-remote-user").size(), 1U);
      EXPECT_EQ(seen.values("x-remote-user")[0], seen.user);
    }
  }
  EXPECT_EQ(users, (std::set<std::string>{"alice", "bob", "token-0", "system:anonymous"}));
  EXPECT_GE(sluice->metric("sluice_identity_fields_dropped_total"), static_cast<double>(asked));
}

TEST_F(IdentityTest, OtherFieldNamesAreTakenFromFlagsAndTheDefaultsGoAllTheSame) {
  const Flags names = {"--requestheader-username-headers=X-Gate-User,X-Old-User",
                       "--requestheader-group-headers=X-Gate-Group",
                       "--requestheader-uid-headers=X-Gate-Uid",
                       "--requestheader-extra-headers-prefix=X-Gate-Extra-"};
  Flags for_apisim;
  for (const std::string& flag : names) for_apisim.push_back(flag);
  start(names, for_apisim);
  const auto client = connect(&credentials.alice);
  const FieldList forged = {{"x-gate-user", "forged"},   {"x-old-user", "forged"},
                            {"x_gate_user", "forged"},   {"x-gate-group", "forged"},
                            {"x-gate_uid", "forged"},    {"x-gate-extra-a", "forged"},
                            {"x-remote-user", "forged"}, {"x_remote_group", "forged"}};
  EXPECT_EQ(client->fetch({.path = std::string(object_path), .fields = forged}).status, 200);
  const std::vector<Apisim::Seen> all = apisim->seen("kb-1");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].user, "alice");
  EXPECT_EQ(all[0].values("x-gate-user"), std::vector<std::string>{"alice"});
  EXPECT_EQ(all[0].values("x-gate-group"), (std::vector<std::string>{"developers", "operators"}));
  for (const auto& [name, value] : all[0].fields) EXPECT_FALSE(value.contains("forged")) << name;
}

TEST_F(IdentityTest, ForgedTrailersChangeNobody) {
  start();
  const auto alice = connect(&credentials.alice);
  const auto token = connect();
  const FieldList trailers = {{"x-remote-user", "forged"},
                              {"x-remote-group", "system:masters"},
                              {"authorization", "Bearer token-1"}};
  EXPECT_TRUE(review(*alice, {}, trailers).user_info.contains(R"("username":"alice")"));
  EXPECT_TRUE(review(*token, bearer(), trailers).user_info.contains(R"("username":"token-0")"));
  EXPECT_EQ(apisim->seen("forged").size(), 0U);
}

TEST_F(IdentityTest, ForgedTrailersNeverReachABackend) {
  start();
  FieldList trailers = {{"authorization", "Bearer token-1"}, {"x-forwarded-for", "6.6.6.6"}};
  for (const std::string& name : forged_names) trailers.emplace_back(name, "forged");
  const auto ask = [&](const FieldList& fields, std::string body) {
    return Ask{.method = "POST",
               .path = "/api/v1/namespaces/bench/configmaps",
               .fields = fields,
               .body = std::move(body),
               .trailers = trailers};
  };
  // They would be seen if they arrived.
  EXPECT_EQ(connect_directly(0)->fetch(ask(bearer(), "{}")).status, 201);
  ASSERT_EQ(apisim->seen("forged").size(), 1U);
  EXPECT_EQ(apisim->seen("forged")[0].trailers.size(), trailers.size());
  apisim->post("/reset");

  const auto alice = connect(&credentials.alice);
  const auto by_token = connect();
  const auto nobody = connect();
  for (const std::size_t bytes : {0UL, 2UL, 100'000UL}) {
    const std::string body(bytes, ' ');
    EXPECT_EQ(alice->fetch(ask({}, body)).status, 201);
    EXPECT_EQ(by_token->fetch(ask(bearer(), body)).status, 201);
    EXPECT_EQ(nobody->fetch(ask({}, body)).status, 403);
  }
  const std::vector<Apisim::Seen> all = apisim->seen("configmaps");
  EXPECT_EQ(all.size(), 9U);
  for (const Apisim::Seen& seen : all) EXPECT_TRUE(seen.trailers.empty()) << seen.user;
  EXPECT_EQ(apisim->seen("forged").size(), 0U);
}

TEST_F(IdentityTest, WhatHttp2ForbidsIsAStreamErrorAndReachesNobody) {
  start();
  const std::vector<std::pair<std::string, std::string>> forbidden = {
      {"X-Remote-User", "forged"},
      {"x-Remote-user", "forged"},
      {"connection", "x-remote-user"},
      {"connection", "authorization"},
      {"keep-alive", "timeout=5"},
      {"proxy-connection", "close"},
      {"transfer-encoding", "chunked"},
      {"upgrade", "websocket"},
      {"te", "gzip"},
      {":x-remote-user", "forged"},
      {"x-remote-user ", "forged"},
      {"", "forged"},
      {"x-a", "b\r\nx-remote-user: forged"},
      {"x-a", std::string("b\0c", 3)},
      {"x\na", "forged"},
  };
  const auto bystander = connect(&credentials.alice);
  for (const auto& [name, value] : forbidden) {
    const auto client = connect_raw(&credentials.alice);
    ASSERT_TRUE(client->begin_http2());
    client->send(
        FrameWriter().headers(1, hpack_get(object_path) + hpack_literal(name, value)).text());
    client->read_until([&] {
      return client->find(frame::rst_stream) != nullptr || client->find(frame::goaway) != nullptr;
    });
    // An answer of ours: nothing reached a backend.
    ASSERT_NE(client->find(frame::data), nullptr) << name;
    EXPECT_TRUE(client->find(frame::data)->payload.contains(R"("code":400)")) << name;
    ASSERT_NE(client->find(frame::rst_stream), nullptr) << name;
    EXPECT_EQ(client->find(frame::rst_stream)->number(0), 1U) << name;  // PROTOCOL_ERROR
  }
  EXPECT_EQ(apisim->seen("kb-1").size(), 0U);
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(IdentityTest, ReviewsThroughTheProxyEqualDirectOnes) {
  start();
  for (const Certificate* certificate :
       {&credentials.alice, &credentials.bob, &credentials.carol}) {
    const auto direct = connect_directly(0, certificate);
    const auto proxied = connect(certificate);
    const Review expected = review(*direct);
    ASSERT_EQ(expected.status, 201);
    const Review seen = review(*proxied);
    EXPECT_EQ(seen.status, 201);
    EXPECT_EQ(seen.user_info, expected.user_info);
    EXPECT_TRUE(seen.user_info.contains("authentication.kubernetes.io/credential-id"))
        << seen.user_info;
  }
  const auto direct = connect_directly(0);
  const auto proxied = connect();
  for (const std::string token : {"token-0", "token-3"}) {
    const Review expected = review(*direct, bearer(token));
    EXPECT_EQ(expected.status, 201);
    EXPECT_EQ(review(*proxied, bearer(token)).user_info, expected.user_info);
  }
}

TEST_F(IdentityTest, UselessCertificatesAreA401WithoutATokenAndNothingWithOne) {
  start();
  for (const auto& [what, certificate] : useless()) {
    const auto client = connect(certificate);
    // Possession of the key is always enforced.
    if (what == "clone" && !client->ready()) continue;
    ASSERT_TRUE(client->ready()) << what;
    const Answer& refused = client->fetch({.path = std::string(object_path)});
    EXPECT_EQ(refused.status, 401) << what;
    EXPECT_TRUE(refused.body.contains(R"("reason":"Unauthorized")")) << refused.body;
    const Review by_token = review(*client, bearer("token-2"));
    EXPECT_EQ(by_token.status, 201) << what;
    EXPECT_TRUE(by_token.user_info.contains(R"("username":"token-2")")) << what;
    // The connection goes on.
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 401) << what;
  }
  for (const Apisim::Seen& seen : apisim->seen("kb-1"))
    ADD_FAILURE() << "reached a backend as " << seen.user;
}

// An API server would take the user of these certificates, so nobody may become a token's user.
TEST_F(IdentityTest, CertificatesThatAreNotCarriedAreA401WithATokenToo) {
  start();
  const auto subject = [](std::string_view user, const std::string& group) {
    Specification specification;
    specification.subject = name(user, {group});
    return specification;
  };
  const Specification spaced = subject(" admin", "dev");
  const Specification control = subject("ad\tmin", "dev");
  const Specification group = subject("alice", "dev ");
  Specification authority = subject("alice", "dev");
  authority.ca = true;
  const std::pair<Specification, std::string_view> cases[] = {
      {spaced, "begins or ends with a space"},
      {control, "holds a control byte"},
      {group, "begins or ends with a space"},
      {authority, "a CA certificate is no certificate of a peer"},
  };
  std::list<Certificate> issued;  // connect() tells certificates apart by their place
  for (const auto& [specification, why] : cases) {
    issued.push_back(issue(credentials.client_ca, specification));
    const auto client = connect(&issued.back());
    ASSERT_TRUE(client->ready()) << why;
    for (const FieldList& fields : {bearer("token-2"), FieldList{}}) {
      const Answer& refused = client->fetch({.path = std::string(object_path), .fields = fields});
      EXPECT_EQ(refused.status, 401) << why;
      EXPECT_TRUE(refused.body.contains(why)) << refused.body;
    }
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"certificate_refused"}), 8);
}

TEST_F(IdentityTest, StrictModeAnswersUselessCertificatesWithAnAlert) {
  start({"--client-cert-strict"});
  for (const auto& [what, certificate] : useless()) {
    if (what == "nameless") continue;  // it verifies; it is only nobody
    const auto tls = client_tls(certificate);
    RawClient client(sluice->address(), tls);
    // In TLS 1.3 the client learns of it after its own handshake.
    client.wait_end();
    EXPECT_TRUE(client.end() == RawClient::End::alert || client.end() == RawClient::End::reset)
        << what << " " << static_cast<int>(client.end());
  }
  EXPECT_EQ(connect(&credentials.alice)->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_EQ(connect()->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
}

TEST_F(IdentityTest, WithoutCredentialsRequestsAreAnonymousAsTheyWouldBeDirectly) {
  start();
  const auto direct = connect_directly(0);
  const auto proxied = connect();
  for (const std::string path : {"/version", "/readyz", "/api/v1/pods", "/apis"}) {
    const int expected = direct->ended() ? 0 : connect_directly(0)->fetch({.path = path}).status;
    EXPECT_EQ(proxied->fetch({.path = path}).status, expected) << path;
  }
  EXPECT_EQ(proxied->fetch({.path = "/api/v1/pods", .fields = bearer("wrong")}).status, 401);
}

TEST_F(IdentityTest, ACertificateWinsOverATokenAndTheTokenStaysHere) {
  start();
  const auto client = connect(&credentials.alice);
  for (const std::string token : {"token-1", "wrong"}) {
    EXPECT_TRUE(review(*client, bearer(token)).user_info.contains(R"("username":"alice")"));
  }
  for (const Apisim::Seen& seen : apisim->seen("selfsubjectreviews")) {
    EXPECT_TRUE(seen.values("authorization").empty());
  }
}

TEST_F(IdentityTest, ForwardingFieldsAreOneLineOfOurs) {
  start();
  const FieldList claims = {
      {"x-forwarded-for", "6.6.6.6"},        {"x-forwarded-for", "7.7.7.7, 8.8.8.8"},
      {"x_forwarded_for", "6.6.6.6"},        {"x-forwarded-uri", "/evil"},
      {"x-forwarded-host", "evil"},          {"x-real-ip", "6.6.6.6"},
      {"forwarded", "for=6.6.6.6"},          {"priority", "u=0"},
      {"x-kubernetes-peer-proxied", "true"}, {"te", "trailers"}};
  const FieldList honest = {{"user-agent", "integration/1"},
                            {"audit-id", "11112222-3333"},
                            {"impersonate-user", "bob"},
                            {"impersonate-group", "developers"},
                            {"accept", "application/json"},
                            {"accept-encoding", "gzip"},
                            {"x-custom", "a, b"},
                            {"cookie", "c=1"}};
  FieldList fields = claims;
  fields.insert(fields.end(), honest.begin(), honest.end());
  EXPECT_EQ(connect(&credentials.alice)
                ->fetch({.path = std::string(object_path), .fields = fields})
                .status,
            200);
  FieldList with_token = bearer();
  with_token.insert(with_token.end(), fields.begin(), fields.end());
  EXPECT_EQ(connect()->fetch({.path = std::string(object_path), .fields = with_token}).status, 200);
  const std::vector<Apisim::Seen> all = apisim->seen("kb-1");
  ASSERT_EQ(all.size(), 2U);
  for (const Apisim::Seen& seen : all) {
    EXPECT_EQ(seen.values("x-forwarded-for"), std::vector<std::string>{"127.0.0.1"});
    for (const auto& [name, value] : claims) {
      if (name == "x-forwarded-for") continue;
      EXPECT_TRUE(seen.values(name).empty()) << name;
    }
    for (const auto& [name, value] : honest) {
      if (name == "cookie") continue;  // credentials are recorded as digests
      EXPECT_EQ(seen.values(name), std::vector<std::string>{value}) << name;
    }
  }
}

TEST_F(IdentityTest, PathsPassByteForByte) {
  start();
  const auto client = connect(&credentials.alice);
  const std::vector<std::string> paths = {"//api/v1/pods",
                                          "/api/v1/namespaces/a%2Fb/pods",
                                          "/api/v1/pods?labelSelector=a%3Db&x=%20+;",
                                          "/api/v1/../v1/pods",
                                          "/api/v1/namespaces/x/pods/%2e%2e",
                                          "/?",
                                          "/api/v1/pods?watch=false&watch=true"};
  for (const std::string& path : paths) client->fetch({.path = path}, std::chrono::seconds(5));
  std::set<std::string> seen;
  for (const Apisim::Seen& each : apisim->seen()) seen.insert(each.path);
  for (const std::string& path : paths) EXPECT_TRUE(seen.contains(path)) << path;
  // These are refused here.
  for (const std::string path : {"/api/v1/%zz", "/api/v1/pods%00", "/api/\\v1"}) {
    EXPECT_EQ(client->fetch({.path = path}).status, 400) << path;
  }
}

TEST_F(IdentityTest, TenThousandMixedRequestsNeverTakeTheWrongPool) {
  start();
  struct Sender {
    std::string name;  // in the path
    const Certificate* certificate;
    FieldList fields;
    std::string user;  // whom the server must see; "" for a 401
    bool vouched;
  };
  std::vector<Sender> senders = {
      {"alice", &credentials.alice, {}, "alice", true},
      {"bob", &credentials.bob, {}, "bob", true},
      {"carol", &credentials.carol, bearer("token-7"), "carol", true},
      {"token0", nullptr, bearer("token-0"), "token-0", false},
      {"token1", nullptr, bearer("token-1"), "token-1", false},
      {"token2", &credentials.foreign, bearer("token-2"), "token-2", false},
      {"token3", &credentials.expired, bearer("token-3"), "token-3", false},
      // The last three are rare: each costs its connection.
      {"nobody", nullptr, {}, "system:anonymous", false},
      {"wrong", nullptr, bearer("wrong"), "", false},
      {"unnamed", &credentials.anonymous, {}, "system:anonymous", true},
  };
  std::vector<std::unique_ptr<Http2Client>> clients;
  std::vector<Http2Client*> all;
  for (const Sender& sender : senders) {
    clients.push_back(connect(sender.certificate));
    ASSERT_TRUE(clients.back()->ready());
    all.push_back(clients.back().get());
  }
  const auto sender_of = [&](std::size_t i) { return i % 40 == 0 ? 7 + i / 40 % 3 : i % 7; };
  constexpr std::size_t requests = 10'000;
  std::size_t wrong_answers = 0;
  const std::size_t answered = run(
      all, {.count = requests,
            .at_once = 40,
            .ask =
                [&](std::size_t i) {
                  const Sender& sender = senders[sender_of(i)];
                  FieldList fields = sender.fields;
                  // Each claims to be somebody else.
                  if (i % 3 == 0) fields.emplace_back("x-remote-user", "mallory");
                  return Ask{.path = fmt::format("/api/v1/namespaces/bench/configmaps/b-256-{}-{}",
                                                 sender.name, i),
                             .fields = fields};
                },
            .check =
                [&](std::size_t i, const Answer& answer) {
                  const Sender& sender = senders[sender_of(i)];
                  const int expected = sender.user.empty()                 ? 401
                                       : sender.user == "system:anonymous" ? 403
                                                                           : 200;
                  if (answer.status == expected && answer.whole()) return;
                  if (++wrong_answers < 5)
                    ADD_FAILURE() << sender.name << ": " << answer.describe();
                },
            .client = sender_of});
  EXPECT_EQ(answered, requests);
  EXPECT_EQ(wrong_answers, 0U);

  std::size_t seen_requests = 0;
  std::size_t wrong_pool = 0;
  std::map<std::uint64_t, std::set<std::string>> kinds_by_connection;
  for (const Apisim::Seen& seen : apisim->seen("b-256-")) {
    ++seen_requests;
    const std::string name = seen.path.substr(seen.path.find("b-256-") + 6);
    const auto sender = std::ranges::find_if(
        senders, [&](const Sender& s) { return name.starts_with(s.name + "-"); });
    ASSERT_NE(sender, senders.end()) << seen.path;
    const std::vector<std::string> users = seen.values("x-remote-user");
    const bool vouched = seen.peer == "front-proxy";
    const bool right =
        vouched == sender->vouched && users.size() == (vouched ? 1U : 0U) &&
        seen.values("authorization").size() == (!vouched && !sender->fields.empty() ? 1U : 0U) &&
        seen.user == sender->user;
    if (!right && ++wrong_pool < 5)
      ADD_FAILURE() << seen.path << " came as " << seen.user << " by " << seen.peer;
  }
  EXPECT_EQ(wrong_pool, 0U);
  EXPECT_GE(seen_requests, requests);
}

TEST_F(IdentityTest, ProvenTokensKeepAwayFromSuspects) {
  start();
  const auto honest = connect();
  EXPECT_EQ(honest->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  // From here on the token is proven.
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(honest
                  ->fetch({.path = "/api/v1/namespaces/bench/configmaps/b-200-proven",
                           .fields = bearer()})
                  .status,
              200);
    if (i % 3 == 0) {
      EXPECT_EQ(honest
                    ->fetch({.path = "/api/v1/namespaces/bench/configmaps/b-200-bad",
                             .fields = bearer("bad")})
                    .status,
                401);
    }
  }
  std::set<std::pair<std::string, std::uint64_t>> proven, bad;
  for (std::size_t server = 0; server < 3; ++server) {
    const Json list =
        apisim->get(fmt::format("/requests?server={}&limit=1000&contains=b-200-", server));
    for (const Json& each : *list.array()) {
      const auto connection =
          std::strtoull(each.find("connection")->to_string().c_str(), nullptr, 10);
      (each.text("path").ends_with("bad") ? bad : proven)
          .insert({std::to_string(server), connection});
    }
  }
  EXPECT_FALSE(proven.empty());
  EXPECT_FALSE(bad.empty());
  for (const auto& connection : proven) EXPECT_FALSE(bad.contains(connection));
}

// 400 to a bad timeout is given to anybody, before authentication.
TEST_F(IdentityTest, MadeUpTokensProveNothingByAnAnswerThatAnybodyGets) {
  start({"--workers=2"});
  const auto honest = connect();
  const auto watcher = connect();
  EXPECT_EQ(honest->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  const auto watches = open_watches(*watcher, 20, bearer());
  const auto stranger = connect();
  std::uint64_t honest_goaways = 0;
  for (int i = 0; i < 100; ++i) {
    const FieldList made_up = bearer(fmt::format("made-up-{}", i));
    EXPECT_EQ(stranger->fetch({.path = "/api?timeout=bogus", .fields = made_up}).status, 400);
    EXPECT_EQ(stranger->fetch({.path = std::string(object_path), .fields = made_up}).status, 401);
    EXPECT_EQ(honest->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
    for (const Http2Client::Id id : watches) honest_goaways += watcher->answer(id).over ? 1U : 0U;
  }
  EXPECT_EQ(honest_goaways, 0U);
  // Each 401 ended a connection, and on none of those was the honest token ever seen.
  std::set<std::pair<std::string, std::string>> of_honest, of_made_up;
  for (std::size_t server = 0; server < 3; ++server) {
    const Json list =
        apisim->get(fmt::format("/requests?server={}&limit=2000&contains=kb-1", server));
    for (const Json& each : *list.array()) {
      (each.text("user") == "token-0" ? of_honest : of_made_up)
          .emplace(std::to_string(server), each.find("connection")->to_string());
    }
  }
  EXPECT_GE(of_made_up.size(), 100U);
  EXPECT_FALSE(of_honest.empty());
  // The first request of the honest token was a suspect's.
  std::size_t shared = 0;
  for (const auto& connection : of_honest) shared += of_made_up.contains(connection) ? 1U : 0U;
  EXPECT_LE(shared, 1U);
}

// Without API Priority and Fairness nothing marks its answer.
TEST_F(IdentityTest, AnAggregatedApisRefusalSaysNothingAgainstOurIdentity) {
  start({"--workers=2"});
  const auto client = connect(&credentials.alice);
  const auto other = connect(&credentials.bob);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(client->fetch({.path = "/apis/refusing.example.com/v1/things"}).status, 401);
    EXPECT_EQ(other->fetch({.path = std::string(object_path)}).status, 200);
  }
  EXPECT_EQ(sluice->metric("sluice_identity_refused_total"), 0.0);
  EXPECT_FALSE(sluice->page("/backends").body.contains(R"("trustsIdentity":false)"));
  // Nor against a token.
  const auto by_token = connect();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(by_token->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
    EXPECT_EQ(by_token->fetch({.path = "/apis/refusing.example.com/v1/things", .fields = bearer()})
                  .status,
              401);
  }
}

TEST_F(IdentityTest, RefusesToStartWithAFrontProxyCertificateThatIsAUser) {
  start_apisim();
  const Certificate user = issue_client(credentials.client_ca, "front-proxy-client");
  const TemporaryDirectory directory;
  write_file(directory.file("p.crt"), user.pem());
  write_file(directory.file("p.key"), user.key_pem());
  const Finished finished = run_sluice({"--listen=" + free_address().to_string(),
                                        "--admin-listen=" + free_address().to_string(),
                                        "--tls-cert-file=" + credentials.file("gateway.crt"),
                                        "--tls-private-key-file=" + credentials.file("gateway.key"),
                                        "--client-ca-file=" + credentials.file("client-ca.crt"),
                                        "--backend=" + apisim->servers()[0].to_string(),
                                        "--backend-ca-file=" + credentials.file("ca.crt"),
                                        "--proxy-client-cert-file=" + directory.file("p.crt"),
                                        "--proxy-client-key-file=" + directory.file("p.key")});
  EXPECT_EQ(finished.code, 2) << finished.err;
  EXPECT_TRUE(finished.err.contains("--proxy-client-cert-file")) << finished.err;
}

TEST_F(IdentityTest, BackendThatDoesNotTrustTheFrontProxyGetsNoIdentities) {
  // Server certificates and all else fit; the front-proxy CA does not.
  const TemporaryDirectory directory;
  const Certificate other = make_ca("other-front-proxy-ca");
  write_file(directory.file("other.crt"), other.pem());
  start_apisim({"--requestheader-client-ca-file", directory.file("other.crt")});
  start_sluice({.wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_FALSE(sluice->page("/backends").body.contains(R"("trustsIdentity":true)"));
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(client->ready());
  const Answer& answer = client->fetch({.path = std::string(object_path)});
  EXPECT_GE(answer.status, 500);
  EXPECT_TRUE(answer.body.contains(R"("kind":"Status")")) << answer.body;
  // Tokens do not depend on it.
  EXPECT_EQ(connect()->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  for (const Apisim::Seen& seen : apisim->seen("kb-1")) EXPECT_EQ(seen.user, "token-0");
}

}  // namespace
}  // namespace sluice::test
