// SPDX-License-Identifier: GPL-3.0-or-later
// Backends that send GOAWAY now and then, and strangers who provoke it, cost honest clients
// nothing.
#include <fmt/format.h>

#include <algorithm>

#include "harness.h"

namespace sluice::test {
namespace {

using GoawayTest = IntegrationTest;

std::string object_of(std::string_view name, std::size_t bytes) {
  return fmt::format(R"({{"metadata":{{"name":"{}"}},"data":{{"filling":"{}"}}}})", name,
                     std::string(bytes, 'x'));
}

TEST_F(GoawayTest, ChanceCostsNobodyAnErrorAndNothingIsExecutedTwice) {
  start({}, {"--goaway-chance=0.02", "--pods=20"});
  const auto by_certificate = connect(&credentials.alice);
  const auto by_token = connect();
  const auto watcher = connect(&credentials.bob);
  const auto watches = open_watches(*watcher, 10);
  apisim->post("/events?count=20");
  constexpr std::size_t requests = 2500;  // every fifth is a POST of 100 KB
  std::size_t good = 0;
  std::size_t bad = 0;
  run({by_certificate.get(), by_token.get()},
      {.count = requests,
       .at_once = 16,
       .ask =
           [](std::size_t i) {
             Ask ask{.path = std::string(object_path),
                     .fields = i % 2 == 0 ? FieldList() : bearer()};
             if (i % 5 != 0) return ask;
             ask.method = "POST";
             ask.path = "/api/v1/namespaces/default/configmaps";
             ask.fields.emplace_back("content-type", "application/json");
             ask.body = object_of(fmt::format("goaway-{}", i), 100 * 1024);
             return ask;
           },
       .check =
           [&](std::size_t i, const Answer& answer) {
             if (answer.status == (i % 5 == 0 ? 201 : 200) && answer.whole()) {
               ++good;
             } else if (++bad < 5) {
               ADD_FAILURE() << "number " << i << ": " << answer.describe();
             }
           }});
  EXPECT_EQ(good, requests);
  EXPECT_GE(apisim->total({"goaways", "chance"}), 20U);
  EXPECT_EQ(apisim->total({"requests", "configmaps", "create"}), requests / 5);
  EXPECT_EQ(apisim->total({"requests", "configmaps", "get"}), requests - requests / 5);
  // No watch has ended, and all see what happens.
  loop->run_for(200ms);  // what has happened before has arrived
  std::vector<std::uint64_t> before;
  for (const Http2Client::Id id : watches) before.push_back(watcher->answer(id).bytes);
  apisim->post("/events?count=50");
  for (std::size_t i = 0; i < watches.size(); ++i) {
    const Answer& answer = watcher->answer(watches[i]);
    EXPECT_TRUE(eventually([&] { return answer.bytes > before[i]; }, 5s)) << answer.describe();
    EXPECT_FALSE(answer.over) << answer.describe();
  }
  EXPECT_EQ(apisim->total({"lists"}), 0U);
}

TEST_F(GoawayTest, WrongTokensBesideHonestTrafficHurtNobodyElse) {
  start();
  const auto by_certificate = connect(&credentials.alice);
  const auto by_token = connect();
  const auto watches = open_watches(*by_certificate, 9);
  const auto token_watches = open_watches(*by_token, 9, bearer());
  // Four strangers, each with a wrong token, and another one for each request; one has no token.
  std::vector<std::unique_ptr<Http2Client>> strangers;
  std::vector<Http2Client*> all = {by_certificate.get(), by_token.get()};
  for (int i = 0; i < 4; ++i) {
    strangers.push_back(connect());
    all.push_back(strangers.back().get());
  }
  std::size_t honest = 0;
  std::size_t refused = 0;
  std::size_t bad = 0;
  std::uint64_t connections_max = 0;
  std::size_t seen = 0;
  constexpr std::size_t requests = 3000;
  const auto is_honest = [](std::size_t i) { return i % 8 != 7; };
  run(all, {.count = requests,
            .at_once = 24,
            .ask =
                [&](std::size_t i) {
                  if (!is_honest(i)) {
                    return Ask{.path = std::string(object_path),
                               .fields = bearer(fmt::format("wrong-{}", i))};
                  }
                  Ask ask{.path = std::string(object_path),
                          .fields = i % 2 == 0 ? FieldList() : bearer()};
                  if (i % 16 == 1 || i % 16 == 2) {
                    ask.method = "POST";
                    ask.path = "/api/v1/namespaces/default/configmaps";
                    ask.fields.emplace_back("content-type", "application/json");
                    ask.body = object_of(fmt::format("honest-{}", i), 2000);
                  }
                  return ask;
                },
            .check =
                [&](std::size_t i, const Answer& answer) {
                  if (++seen % 200 == 0) {
                    for (const std::uint64_t count : apisim->counts({"connections_open"})) {
                      connections_max = std::max(connections_max, count);
                    }
                  }
                  const bool posted = i % 16 == 1 || i % 16 == 2;
                  if (is_honest(i)) {
                    honest += answer.status == (posted ? 201 : 200) && answer.whole();
                    if (answer.status / 100 != 2 && ++bad < 5) ADD_FAILURE() << answer.describe();
                  } else {
                    refused += answer.status == 401;
                    if (answer.status != 401 && ++bad < 5) ADD_FAILURE() << answer.describe();
                  }
                },
            .client = [&](std::size_t i) -> std::size_t {
              if (is_honest(i)) return i % 2;
              return 2 + i / 8 % 4;
            }});
  EXPECT_EQ(honest, requests - requests / 8);
  EXPECT_EQ(refused, requests / 8);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(by_certificate->answer(id).over);
  for (const Http2Client::Id id : token_watches) EXPECT_FALSE(by_token->answer(id).over);
  EXPECT_GE(apisim->total({"goaways", "unauthorized"}), 100U);
  EXPECT_LE(connections_max, 40U);
  // Nothing is left behind.
  EXPECT_TRUE(eventually([&] { return apisim->total({"connections_open"}) <= 45; }, 10s));
}

// Short requests are many, and each may bring the GOAWAY of its connection; logs come one after the
// other, and cannot move.
TEST_F(GoawayTest, WhatStaysIsNotMovedByTheGoawaysThatShortRequestsGet) {
  start({"--backend-draining-connections-max=16"}, {"--pods=10"});
  const auto client = connect(&credentials.alice);
  const auto by_token = connect();
  const auto reader = connect(&credentials.bob);
  const auto watches = open_watches(*client, 30);
  const auto token_watches = open_watches(*by_token, 30, bearer());
  std::vector<Http2Client::Id> logs;
  apisim->post("/servers/all/set?goaway-chance=0.05");
  constexpr std::size_t requests = 3000;
  std::size_t good = 0;
  std::uint64_t connections_max = 0;
  run({client.get(), by_token.get()},
      {.count = requests,
       .at_once = 16,
       .ask =
           [&](std::size_t i) {
             if (i % 15 == 0) {
               logs.push_back(reader->ask(
                   {.path = "/api/v1/namespaces/default/pods/pod-00000/log?follow=true"}));
             }
             return Ask{.path = std::string(object_path),
                        .fields = i % 2 == 0 ? FieldList() : bearer()};
           },
       .check =
           [&](std::size_t i, const Answer& answer) {
             good += answer.status == 200 && answer.whole();
             if (i % 100 != 0) return;
             for (const std::uint64_t open : apisim->counts({"connections_open"})) {
               connections_max = std::max(connections_max, open);
             }
           }});
  EXPECT_EQ(good, requests);
  EXPECT_GE(apisim->total({"goaways", "chance"}), 100U);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(client->answer(id).over);
  for (const Http2Client::Id id : token_watches) EXPECT_FALSE(by_token->answer(id).over);
  for (const Http2Client::Id id : logs) {
    EXPECT_FALSE(reader->answer(id).over) << reader->answer(id).describe();
    EXPECT_EQ(reader->answer(id).status, 200);
  }
  EXPECT_EQ(sluice->metric("sluice_backend_connections_retired_total"), 0.0);
  // A log's own GOAWAY is rare; each of seventy on each server once had a connection of its own.
  EXPECT_LE(connections_max, 20U);
  RecordProperty("connections_max", std::to_string(connections_max));
}

TEST_F(GoawayTest, DrainingConnectionsAreBoundedAndTheirWatchesMoveCleanly) {
  start({"--backend-draining-connections-max=2"}, {"--pods=10"});
  const auto client = connect(&credentials.alice);
  std::vector<Http2Client::Id> watches;
  // Each on a connection that is told to go then.
  apisim->post("/servers/all/set?goaway-chance=1");
  for (int round = 0; round < 12; ++round) {
    const auto opened = open_watches(*client, 3);
    watches.insert(watches.end(), opened.begin(), opened.end());
  }
  apisim->post("/servers/all/set?goaway-chance=0");
  loop->run_for(3s);
  std::size_t moved = 0;
  for (const Http2Client::Id id : watches) {
    const Answer& answer = client->answer(id);
    if (!answer.over) continue;
    ++moved;
    EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
    EXPECT_GE(answer.ended_at - answer.last_byte_at, 1200ms - client_clock_slack);
  }
  EXPECT_GT(moved, 0U);
  EXPECT_GT(sluice->metric("sluice_backend_connections_retired_total"), 0.0);
  // Those that drain, one for what stays, one for what does not, one for probes.
  for (const std::uint64_t open : apisim->counts({"connections_open"})) EXPECT_LE(open, 5U);
}

}  // namespace
}  // namespace sluice::test
