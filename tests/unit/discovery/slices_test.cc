// SPDX-License-Identifier: GPL-3.0-or-later
// EndpointSlices as an API server sends them, and as nobody should.
#include "sluice/discovery/slices.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::discovery {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string endpoint(std::string_view address, std::string_view conditions = "{}") {
  return fmt::format(R"({{"addresses":["{}"],"conditions":{}}})", address, conditions);
}
std::string slice(std::string_view name, std::string_view endpoints,
                  std::string_view ports = R"([{"name":"https","port":6443,"protocol":"TCP"}])",
                  std::string_view type = "IPv4", std::string_view service = "api") {
  return fmt::format(
      R"({{"metadata":{{"name":"{}","resourceVersion":"7","labels":{{"kubernetes.io/service-name":"{}"}}}},)"
      R"("addressType":"{}","endpoints":[{}],"ports":{}}})",
      name, service, type, endpoints, ports);
}
std::string list(std::string_view slices) {
  return fmt::format(
      R"({{"kind":"EndpointSliceList","metadata":{{"resourceVersion":"5"}},"items":[{}]}})",
      slices);
}
std::string event(std::string_view type, std::string_view object) {
  return fmt::format(R"({{"type":"{}","object":{}}})", type, object);
}

class SlicesTest : public testing::Test {
 protected:
  void take(std::string_view slices) {
    const auto taken = slices_.take_list(list(slices));
    ASSERT_TRUE(taken.has_value()) << taken.error().context;
  }
  // Whether it has changed anything.
  bool watch(std::string_view type, std::string_view object) {
    const auto taken = slices_.take_event(event(type, object));
    EXPECT_TRUE(taken.has_value()) << taken.error().context;
    EXPECT_NE(taken.value_or(Slices::Event::expired), Slices::Event::expired);
    return taken.has_value() && *taken == Slices::Event::changed;
  }
  std::vector<std::string> addresses() const {
    std::vector<std::string> texts;
    for (const io::Address& each : slices_.addresses()) texts.push_back(each.to_string());
    return texts;
  }

  Slices slices_{"api", ""};
};

TEST_F(SlicesTest, AllSlicesOfTheServiceAreOneSortedSet) {
  take(slice("a", endpoint("10.0.0.3") + "," + endpoint("10.0.0.1")) + "," +
       slice("b", endpoint("10.0.0.2") + "," + endpoint("10.0.0.1")) + "," +
       slice("c", endpoint("fd00::1"), R"([{"name":"","port":6443}])", "IPv6") + "," +
       slice("d", endpoint("10.0.0.9"), R"([{"port":6443}])", "IPv4", "other") + "," +
       slice("e", endpoint("api.example"), R"([{"port":6443}])", "FQDN"));
  EXPECT_THAT(addresses(),
              ElementsAre("10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443", "[fd00::1]:6443"));
  EXPECT_EQ(slices_.resource_version(), "5");
}

TEST_F(SlicesTest, WhereOneSliceIsMeantNoOtherOfTheServiceCounts) {
  Slices one("api", "", "a");
  const std::string other = slice("b", endpoint("10.0.0.2"));
  ASSERT_TRUE(one.take_list(list(slice("a", endpoint("10.0.0.1")) + "," + other)).has_value());
  ASSERT_TRUE(one.take_event(event("ADDED", other)).has_value());
  ASSERT_EQ(one.addresses().size(), 1U);
  EXPECT_EQ(one.addresses()[0].to_string(), "10.0.0.1:6443");
}

TEST_F(SlicesTest, WhatTerminatesIsLeftAndWhatServesStays) {
  const std::vector<std::pair<std::string, bool>> table = {
      {"{}", true},
      {R"({"ready":true})", true},
      {R"({"ready":null,"serving":null,"terminating":null})", true},
      {R"({"ready":false,"serving":true})", true},
      {R"({"ready":false,"serving":true,"terminating":false})", true},
      {R"({"ready":false})", false},
      {R"({"ready":false,"serving":false})", false},
      {R"({"ready":false,"serving":true,"terminating":true})", false},
      {R"({"ready":true,"serving":true,"terminating":true})", false},
  };
  for (const auto& [conditions, stays] : table) {
    take(slice("a", endpoint("10.0.0.1", conditions)));
    EXPECT_EQ(!addresses().empty(), stays) << conditions;
  }
}

TEST_F(SlicesTest, APortIsTakenByItsNameAndNeverGuessed) {
  const std::string two = R"([{"name":"https","port":6443},{"name":"metrics","port":9090}])";
  take(slice("a", endpoint("10.0.0.1"), two));
  EXPECT_THAT(addresses(), IsEmpty());
  Slices named("api", "metrics");
  ASSERT_TRUE(named.take_list(list(slice("a", endpoint("10.0.0.1"), two))).has_value());
  EXPECT_EQ(named.addresses().at(0).port(), 9090);
  for (const char* ports : {R"([{"name":"https","port":6443,"protocol":"UDP"}])", R"([{"port":0}])",
                            R"([{"port":65536}])", R"([{"port":-1}])", R"([{"port":"6443"}])",
                            R"([{"port":1.5}])", "[]", "null", "{}"}) {
    take(slice("a", endpoint("10.0.0.1"), ports));
    EXPECT_THAT(addresses(), IsEmpty()) << ports;
  }
}

TEST_F(SlicesTest, EventsChangeTheirSliceAndNoOther) {
  take(slice("a", endpoint("10.0.0.1")) + "," + slice("b", endpoint("10.0.0.2")));
  EXPECT_TRUE(watch("ADDED", slice("c", endpoint("10.0.0.3"))));
  EXPECT_FALSE(watch("MODIFIED", slice("c", endpoint("10.0.0.3"))));
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443"));
  EXPECT_EQ(slices_.resource_version(), "7");
  EXPECT_TRUE(watch("MODIFIED", slice("a", endpoint("10.0.0.4"))));
  EXPECT_TRUE(watch("DELETED", slice("b", endpoint("10.0.0.2"))));
  EXPECT_FALSE(watch("DELETED", slice("b", endpoint("10.0.0.2"))));
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.3:6443", "10.0.0.4:6443"));
  EXPECT_TRUE(
      watch("MODIFIED", slice("c", endpoint("10.0.0.3"), R"([{"port":6443}])", "IPv4", "other")));
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.4:6443"));
  EXPECT_FALSE(watch("BOOKMARK", R"({"metadata":{"resourceVersion":"99"}})"));
  EXPECT_EQ(slices_.resource_version(), "99");
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.4:6443"));
}

TEST_F(SlicesTest, AnErrorOfTheWatchMeansToListAgain) {
  const auto taken =
      slices_.take_event(event("ERROR", R"({"kind":"Status","code":410,"reason":"Expired"})"));
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(*taken, Slices::Event::expired);
}

TEST_F(SlicesTest, WhatIsNoListOrEventChangesNothing) {
  take(slice("a", endpoint("10.0.0.1")));
  std::string deep(100, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("null"), std::string("[]"),
        std::string(R"({"kind":"Status","code":403})"),
        std::string(R"({"kind":"EndpointSliceList","items":[]})"),
        std::string(R"({"kind":"EndpointSliceList","metadata":{"resourceVersion":"5&x=1"}})"),
        list("{}") + "x", list(deep)}) {
    EXPECT_FALSE(slices_.take_list(text).has_value()) << text;
  }
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[1]"), event("ADDED", "{}"),
        event("ADDED", R"({"metadata":{"resourceVersion":"8"}})"),
        event("ADDED", R"({"metadata":{"name":"a","resourceVersion":"8 9"}})")}) {
    EXPECT_FALSE(slices_.take_event(text).has_value()) << text;
  }
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.1:6443"));
  EXPECT_EQ(slices_.resource_version(), "5");
}

TEST_F(SlicesTest, AddressesThatCannotBeAreLeftOut) {
  take(slice("a", endpoint("0.0.0.0") + "," + endpoint("224.0.0.1") + "," + endpoint("api") + "," +
                      endpoint("10.0.0.1:80") + "," + endpoint("") + "," +
                      R"({"addresses":[]},{"addresses":[7]},{},[],null,{"addresses":"10.0.0.2"})" +
                      "," + endpoint("10.0.0.1")));
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.1:6443"));
}

TEST_F(SlicesTest, TooManyAreRefusedAsAWhole) {
  take(slice("a", endpoint("10.0.0.1")));
  std::string many;
  for (std::size_t i = 0; i <= Slices::addresses_max; ++i) {
    many += (i == 0 ? "" : ",") + endpoint(fmt::format("10.1.{}.{}", i / 256, i % 256));
  }
  EXPECT_FALSE(slices_.take_list(list(slice("b", many))).has_value());
  EXPECT_FALSE(slices_.take_event(event("ADDED", slice("b", many))).has_value());
  EXPECT_THAT(addresses(), ElementsAre("10.0.0.1:6443"));
}

}  // namespace
}  // namespace sluice::discovery
