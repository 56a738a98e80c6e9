// SPDX-License-Identifier: GPL-3.0-or-later
// Out of descriptors the proxy waits instead of spinning, serves whom it has, and comes back.
#include <fmt/format.h>

#include "harness.h"

namespace sluice::test {
namespace {

using AdmissionTest = IntegrationTest;

TEST_F(AdmissionTest, TwoHundredClientsKnockingAt64DescriptorsCostNoCpuAndItRecovers) {
  start_apisim();
  start_sluice({.descriptors = 64});
  const auto inside = connect(&credentials.alice);
  ASSERT_TRUE(inside->ready());
  EXPECT_EQ(inside->fetch({.path = std::string(object_path)}).status, 200);
  std::vector<std::unique_ptr<RawClient>> knocking;
  for (int i = 0; i < 200; ++i) {
    knocking.push_back(std::make_unique<RawClient>(sluice->address(), nullptr));
  }
  loop->run_for(500ms);
  const double before = sluice->child().cpu_seconds();
  const Clock::time_point began = Clock::now();
  loop->run_for(3s);
  const double used = sluice->child().cpu_seconds() - before;
  const double seconds = to_seconds(Clock::now() - began);
  EXPECT_LT(used / seconds, 0.05) << used << " s of CPU in " << seconds << " s";
  // Who is inside is served, and the admin pages are: descriptors are kept for both.
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(inside->fetch({.path = std::string(object_path)}).status, 200);
  const Clock::time_point asked = Clock::now();
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  EXPECT_LE(Clock::now() - asked, 2s);
  EXPECT_TRUE(eventually(
      [&] {
        return sluice->metric("sluice_accept_paused_total") +
                   sluice->metric("sluice_accept_errors_total") >
               0;
      },
      5s));
  EXPECT_LE(sluice->metric("sluice_client_connections"), 32.0);
  knocking.clear();
  const Clock::time_point gone = Clock::now();
  const auto later = connect();
  ASSERT_TRUE(later->ready());
  EXPECT_EQ(later->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  EXPECT_LE(Clock::now() - gone, 5s);
}

TEST_F(AdmissionTest, TheConnectionLimitHoldsAndFreesItself) {
  start({"--client-connections-max=10"});
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(connect(&credentials.alice));
    ASSERT_TRUE(clients.back()->ready());
    open_watches(*clients.back(), 1);  // who is idle would make room
  }
  std::vector<std::unique_ptr<RawClient>> waiting;
  for (int i = 0; i < 100; ++i)
    waiting.push_back(std::make_unique<RawClient>(sluice->address(), nullptr));
  loop->run_for(300ms);
  EXPECT_LE(sluice->metric("sluice_client_connections"), 10.0);
  for (const auto& client : clients)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  waiting.clear();
  clients.clear();
  const auto later = connect(&credentials.alice);
  ASSERT_TRUE(later->ready());
  EXPECT_EQ(later->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(AdmissionTest, ManyConnectionsComeAndGoWithoutLeaks) {
  start({"--workers=2"});
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(connect(&credentials.alice)->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 0; }, 10s));
  const std::size_t before = sluice->child().descriptors();
  for (int i = 0; i < 100; ++i) {
    switch (i % 4) {
      case 0:
        EXPECT_EQ(connect(&credentials.alice)->fetch({.path = std::string(object_path)}).status,
                  200);
        break;
      case 1: RawClient(sluice->address(), nullptr); break;
      case 2: connect_raw(&credentials.alice)->begin_http2(); break;
      case 3: {
        RawClient half(sluice->address(), nullptr);
        half.send_wire(std::string("\x16\x03\x01\x02\x00\x01\x00", 7));
        break;
      }
      default: break;
    }
  }
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 0; }, 15s));
  // A worker may have opened its backend connections meanwhile.
  EXPECT_LE(sluice->child().descriptors(), before + 12);
}

}  // namespace
}  // namespace sluice::test
