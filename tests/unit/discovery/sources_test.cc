// SPDX-License-Identifier: GPL-3.0-or-later
// Several who say where a cluster's API servers are, and one list of it.
#include "sluice/discovery/sources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::discovery {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

constexpr Instant start{1h};
constexpr WallTime wall{std::chrono::seconds(1'000'000)};

io::Address address(std::string_view text) { return *io::Address::parse(text); }
NameAnswer found(const std::vector<std::string>& hosts) {
  Records records{.addresses = {}, .ttl = 30s};
  for (const std::string& host : hosts) {
    records.addresses.push_back(io::Address::from_ip(address(host + ":1").ip(), 0));
  }
  return {records, Records{}, ""};
}
const NameAnswer failed{std::nullopt, std::nullopt, "no answer in time"};

class SourcesTest : public testing::Test {
 protected:
  void update() { sources_.update(fixed_, options_, wall); }
  bool answer(const std::string& name, const NameAnswer& answer) {
    (void)sources_.due(now_);
    return sources_.answered(name, answer, now_, wall);
  }
  // "10.0.0.1:6443 as api.example"
  std::vector<std::string> list() const {
    std::vector<std::string> list;
    for (const backend::Endpoint& each : sources_.endpoints()) {
      EXPECT_EQ(each.name, each.address.to_string());
      list.push_back(each.name + " as " + each.server_name);
    }
    return list;
  }
  void fix(std::string_view text) { fixed_.push_back({address(text), std::string(text), "fixed"}); }

  std::vector<backend::Endpoint> fixed_;
  Options options_;
  Sources sources_;
  Instant now_ = start;
};

TEST_F(SourcesTest, FixedAddressesAloneAreThereAtOnceAndNothingIsAsked) {
  fix("10.0.0.1:6443");
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed"));
  EXPECT_THAT(sources_.due(now_), IsEmpty());
  EXPECT_TRUE(sources_.settled());
  EXPECT_THAT(sources_.status(), IsEmpty());
}

TEST_F(SourcesTest, EachAddressOfANameIsAnEndpointWhoseCertificateCarriesTheName) {
  fix("10.0.0.9:6443");
  options_.names = {{"api.example", 6443}};
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.9:6443 as fixed"));
  EXPECT_FALSE(sources_.settled());
  EXPECT_THAT(sources_.due(now_), ElementsAre("api.example"));
  EXPECT_THAT(sources_.due(now_), IsEmpty());
  EXPECT_TRUE(sources_.answered("api.example", found({"10.0.0.2", "10.0.0.1"}), now_, wall));
  EXPECT_TRUE(sources_.settled());
  EXPECT_THAT(list(), ElementsAre("10.0.0.9:6443 as fixed", "10.0.0.1:6443 as api.example",
                                  "10.0.0.2:6443 as api.example"));
}

TEST_F(SourcesTest, OneNameForAllCertificatesGoesBeforeTheNamesOfBackends) {
  options_.names = {{"api.example", 6443}};
  options_.server_name = "kubernetes";
  update();
  answer("api.example", found({"10.0.0.1"}));
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as kubernetes"));
}

TEST_F(SourcesTest, TheSameAnswerOnceMoreChangesNothing) {
  options_.names = {{"api.example", 6443}};
  update();
  EXPECT_TRUE(answer("api.example", found({"10.0.0.1", "10.0.0.2"})));
  EXPECT_FALSE(answer("api.example", found({"10.0.0.2", "10.0.0.1"})));
  EXPECT_FALSE(answer("api.example", failed));
  EXPECT_THAT(list(), SizeIs(2));
}

TEST_F(SourcesTest, AnAddressThatSeveralNameCountsOnceAsTheFirstSays) {
  fix("10.0.0.1:6443");
  options_.names = {{"a.example", 6443}, {"b.example", 6443}, {"b.example", 7443}};
  update();
  answer("b.example", found({"10.0.0.1", "10.0.0.2", "10.0.0.3"}));
  answer("a.example", found({"10.0.0.2"}));
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed", "10.0.0.2:6443 as a.example",
                                  "10.0.0.3:6443 as b.example", "10.0.0.1:7443 as b.example",
                                  "10.0.0.2:7443 as b.example", "10.0.0.3:7443 as b.example"));
  EXPECT_THAT(sources_.status(), SizeIs(2));  // one name is one question
}

TEST_F(SourcesTest, AReloadKeepsWhatIsKnownOfNamesThatStay) {
  options_.names = {{"a.example", 6443}, {"b.example", 6443}};
  update();
  answer("a.example", found({"10.0.0.1"}));
  answer("b.example", found({"10.0.0.2"}));
  options_.names = {{"b.example", 7443}, {"c.example", 6443}};
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.2:7443 as b.example"));
  EXPECT_THAT(sources_.due(now_), ElementsAre("c.example"));
  // What was asked for before is nobody's.
  EXPECT_FALSE(sources_.answered("a.example", found({"10.0.0.7"}), now_, wall));
  EXPECT_EQ(sources_.error_of("a.example"), "");
}

TEST_F(SourcesTest, WhereOnlyNewNamesAreLeftTheOldBackendsStayUntilOneIsResolved) {
  fix("10.0.0.1:6443");
  update();
  fixed_.clear();
  options_.names = {{"api.example", 6443}};
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed"));
  EXPECT_FALSE(answer("api.example", failed));
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed"));
  EXPECT_EQ(sources_.error_of("api.example"), "no answer in time");
  now_ += 1s;
  EXPECT_TRUE(answer("api.example", found({"10.0.0.2"})));
  EXPECT_THAT(list(), ElementsAre("10.0.0.2:6443 as api.example"));
}

TEST_F(SourcesTest, WhatHibernatesHasNobody) {
  options_.names = {{"api.example", 6443}};
  update();
  answer("api.example", found({"10.0.0.1"}));
  options_ = {};
  update();
  EXPECT_THAT(list(), IsEmpty());
}

TEST_F(SourcesTest, AddressesThatCannotBeOrAreOurOwnAreLeftOut) {
  options_.names = {{"api.example", 6443}};
  update();
  sources_.refuse([](const io::Address& each) { return each == address("10.0.0.5:6443"); });
  answer("api.example", found({"0.0.0.0", "224.0.0.1", "10.0.0.5", "10.0.0.6"}));
  EXPECT_THAT(list(), ElementsAre("10.0.0.6:6443 as api.example"));
}

TEST_F(SourcesTest, WhatIsMoreThanAClusterMayHaveIsLeftOutAndCounted) {
  options_.names = {{"api.example", 6443}};
  update();
  std::vector<std::string> hosts;
  for (int i = 0; i < 70; ++i) hosts.push_back("10.0.0." + std::to_string(i + 1));
  answer("api.example", found(hosts));
  EXPECT_THAT(list(), SizeIs(Sources::endpoints_max));
  EXPECT_EQ(sources_.left_out(), 6U);
}

TEST_F(SourcesTest, AFilesLinesAreAddressesAndNames) {
  options_.file = {.path = "backends",
                   .places = {address("10.0.0.1:6443"), Target{"api.example", 1}},
                   .error = ""};
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as 10.0.0.1"));
  answer("api.example", found({"10.0.0.2"}));
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as 10.0.0.1", "10.0.0.2:1 as api.example"));
}

TEST_F(SourcesTest, AFileThatIsWrongNowTakesNobodyAway) {
  options_.file = {.path = "backends",
                   .places = {address("10.0.0.1:6443"), Target{"api.example", 1}},
                   .error = ""};
  update();
  answer("api.example", found({"10.0.0.2"}));
  options_.file = {.path = "backends", .places = {}, .error = "it names no API server"};
  update();
  EXPECT_THAT(list(), SizeIs(2));
  for (const SourceStatus& each : sources_.status()) {
    if (each.kind != SourceStatus::Kind::file) continue;
    EXPECT_EQ(each.endpoints, 2U);
    EXPECT_EQ(each.failures, 1U);
    EXPECT_EQ(each.last_success, wall);
    EXPECT_EQ(each.last_error, "it names no API server");
  }
  options_.file = {.path = "backends", .places = {address("10.0.0.3:6443")}, .error = ""};
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.3:6443 as 10.0.0.3"));
  options_.file.reset();
  fix("10.0.0.4:6443");
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.4:6443 as fixed"));
}

// What the API servers' own slice leads to, behind all that operators have written.
class OwnSourceTest : public SourcesTest {
 protected:
  OwnSourceTest() {
    fix("10.0.0.1:6443");
    options_.own_slice = {.networks = {*io::Network::parse("10.0.0.0/16")}, .port = 6443};
    update();
  }
  // All whom it names are what they should be.
  bool find(const std::vector<std::string>& hosts) {
    std::vector<io::Address> named;
    for (const std::string& host : hosts) named.push_back(address(host + ":6443"));
    OwnSlice& own = *sources_.own_slice();
    const OwnSlice::Known known{
        .ours = [](const io::Address&) { return false; },
        .written = [this](const io::Address& each) { return sources_.is_written(each); }};
    own.take(named, known, now_);
    for (auto due = own.due(places_max, now_); !due.empty(); due = own.due(places_max, now_)) {
      for (const io::Address& each : due) own.tried(each, "", now_);
    }
    return sources_.own_slice_changed();
  }
};

TEST_F(OwnSourceTest, WhoIsFoundComesBehindWhoIsWrittenAndIsNotThereTwice) {
  EXPECT_FALSE(sources_.settled());
  EXPECT_TRUE(find({"10.0.0.3", "10.0.0.1", "10.0.0.2"}));
  EXPECT_TRUE(sources_.settled());
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed", "10.0.0.2:6443 as 10.0.0.2",
                                  "10.0.0.3:6443 as 10.0.0.3"));
  EXPECT_TRUE(sources_.is_written(address("10.0.0.1:6443")));
  EXPECT_FALSE(sources_.is_written(address("10.0.0.2:6443")));
  EXPECT_EQ(sources_.written(), 1U);
  // It is written by now.
  fix("10.0.0.2:6443");
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed", "10.0.0.2:6443 as fixed",
                                  "10.0.0.3:6443 as 10.0.0.3"));
}

TEST_F(OwnSourceTest, WhoIsNotFollowedAnyMoreNamesNobody) {
  find({"10.0.0.2"});
  options_.own_slice.reset();
  update();
  EXPECT_THAT(list(), ElementsAre("10.0.0.1:6443 as fixed"));
  EXPECT_EQ(sources_.own_slice(), nullptr);
  EXPECT_THAT(sources_.status(), IsEmpty());
}

TEST_F(OwnSourceTest, AFailureTakesNobodyAwayAndIsTold) {
  find({"10.0.0.2"});
  sources_.own_slice_read(wall);
  sources_.own_slice_failed("it answers 403");
  EXPECT_FALSE(sources_.own_slice_changed());
  EXPECT_THAT(list(), SizeIs(2));
  const auto all = sources_.status();
  ASSERT_THAT(all, SizeIs(1));
  EXPECT_EQ(to_string(all[0].kind), "self");
  EXPECT_EQ(all[0].endpoints, 1U);
  EXPECT_EQ(all[0].failures, 1U);
  EXPECT_EQ(all[0].last_error, "it answers 403");
  EXPECT_EQ(all[0].last_success, wall);
}

TEST_F(SourcesTest, TellsWhenEachSourceWasGoodLastAndWhatIsWrongWithIt) {
  options_.names = {{"a.example", 1}, {"b.example", 1}};
  update();
  answer("a.example", found({"10.0.0.1", "10.0.0.2"}));
  now_ += 1min;
  (void)sources_.due(now_);
  sources_.answered("a.example", failed, now_, wall + 60s);
  const auto all = sources_.status();
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].name, "a.example");
  EXPECT_EQ(to_string(all[0].kind), "dns");
  EXPECT_EQ(all[0].endpoints, 2U);
  EXPECT_EQ(all[0].last_success, wall);
  EXPECT_EQ(all[0].failures, 1U);
  EXPECT_EQ(all[0].last_error, "no answer in time");
  EXPECT_EQ(all[1].last_success, WallTime{});
}

}  // namespace
}  // namespace sluice::discovery
