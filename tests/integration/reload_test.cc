// SPDX-License-Identifier: GPL-3.0-or-later
// The files change while the real program serves: SIGHUP, and what comes of it for who is there.
#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cluster_folder.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

// A few by default; a longer run asks for more, and for how fast they come.
std::size_t wanted_reloads() {
  const char* wanted = std::getenv("SLUICE_RELOADS");
  return wanted == nullptr ? 30 : std::strtoul(wanted, nullptr, 10);
}
constexpr Duration between_reloads = 600ms;

class ReloadTest : public ClusterFolderTest {
 protected:
  ReloadTest() { start_apisim(); }

  void start_with(const std::string& text, Flags flags = {}) {
    put("one", text);
    flags.push_back(clusters());
    flags.push_back("--workers=2");
    if (!watches_) flags.push_back("--watch-files=false");
    start_sluice({.flags = flags, .cluster_flags = false});
    // The first client wakes the cluster up.
    ASSERT_EQ(get(*connect(&credentials.alice)), 200);
  }
  double reloads(std::string_view result = "taken_over") const {
    return sluice->metric("sluice_config_reloads_total",
                          {"result=\"" + std::string(result) + "\""});
  }
  void reload() {
    const double before = reloads();
    sluice->child().signal(SIGHUP);
    EXPECT_TRUE(eventually([&] { return reloads() > before; }, 20s)) << sluice->child().log();
  }
  static int get(Http2Client& client, const FieldList& fields = {}) {
    return client.fetch({.path = std::string(object_path), .fields = fields}).status;
  }
  void write_gateway(const Certificate& gateway) const {
    write_file(folder.file("gateway.crt"), gateway.pem());
    write_file(folder.file("gateway.key"), gateway.key_pem());
  }
  std::string page() const { return sluice->page("/clusters").body; }
  // Whether who believes in this authority alone is served.
  bool is_served_under(const Certificate& gateway_ca) {
    Http2Client client(*loop, sluice->address(), client_tls(&credentials.alice, &gateway_ca));
    return client.ready() && get(client) == 200;
  }

  bool watches_ = false;  // files are taken over by themselves
};

TEST_F(ReloadTest, AClusterComesAndGoesBesideAnotherOnesWatches) {
  start_with(without_backends() + backend(0) + asked_for());
  const auto there = connect(&credentials.alice);
  const auto watches = open_watches(*there, 10, bearer());
  put("two", without_backends() + backend(1) + "server-names=two.example\ndefault=unknown\n");
  reload();
  EXPECT_TRUE(page().contains(R"("name":"two","generation":1)")) << page();
  // Its backend is asked as soon as it is there.
  EXPECT_TRUE(sluice->wait_page("/readyz/two", 200));
  ASSERT_EQ(std::remove(folder.file("two.conf").c_str()), 0);
  reload();
  EXPECT_TRUE(eventually([&] { return !page().contains("\"two\""); })) << page();
  for (const Http2Client::Id id : watches) EXPECT_FALSE(there->answer(id).over);
  EXPECT_EQ(get(*there), 200);
}

TEST_F(ReloadTest, ANewServingCertificateIsForWhoComesAndAHalfWrittenOneForNobody) {
  start_with(lines() + asked_for());
  const auto there = connect(&credentials.alice);
  const Certificate next_ca = make_ca("next-gateway-ca");
  const Certificate next = issue_server(next_ca, {std::string(api_server_name)});
  write_file(folder.file("gateway.key"), next.key_pem());
  reload();
  EXPECT_TRUE(page().contains("does not go with")) << page();
  EXPECT_EQ(sluice->metric("sluice_config_errors", {"cluster=\"one\""}), 1);
  EXPECT_EQ(get(*connect(&credentials.alice)), 200);
  write_gateway(next);
  reload();
  EXPECT_FALSE(page().contains("lastError")) << page();
  EXPECT_EQ(sluice->metric("sluice_config_errors"), 0);
  EXPECT_FALSE(connect(&credentials.alice)->ready());
  Http2Client believing(*loop, sluice->address(), client_tls(&credentials.alice, &next_ca));
  EXPECT_EQ(get(believing), 200);
  EXPECT_EQ(get(*there), 200);
}

TEST_F(ReloadTest, ACertificateOfAnAuthorityThatIsGoneIs401OnAConnectionThatStays) {
  write_file(folder.file("clients.crt"), credentials.client_ca.pem());
  std::string text = lines() + asked_for();
  const std::string named = credentials.file("client-ca.crt");
  text.replace(text.find(named), named.size(), "clients.crt");
  put("one", text);
  start_sluice({.flags = {clusters()}, .cluster_flags = false});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 3);
  EXPECT_EQ(get(*client), 200);
  write_file(folder.file("clients.crt"), make_ca("next-client-ca").pem());
  reload();
  EXPECT_EQ(get(*client), 401);
  EXPECT_EQ(get(*client, bearer()), 200);
  write_file(folder.file("clients.crt"), credentials.client_ca.pem());
  reload();
  EXPECT_EQ(get(*client), 200);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(client->answer(id).over);
  EXPECT_TRUE(client->goaways().empty());
}

TEST_F(ReloadTest, BackendsComeAndGoAndNobodyFails) {
  start_with(without_backends() + backend(0) + backend(1) + asked_for());
  const auto client = connect(&credentials.alice);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(get(*client), 200);
  put("one", without_backends() + backend(1) + backend(2) + asked_for());
  reload();
  EXPECT_TRUE(eventually([&] {
    EXPECT_EQ(get(*client), 200);
    return apisim->count(2, {"requests", "configmaps", "get"}) > 0;
  }));
  const auto before = apisim->counts({"requests", "configmaps", "get"});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(*client), 200);
  const auto after = apisim->counts({"requests", "configmaps", "get"});
  EXPECT_EQ(after[0], before[0]);
  EXPECT_EQ(after[1] + after[2], before[1] + before[2] + 20);
  EXPECT_TRUE(eventually([&] { return !page().contains("leaving"); })) << page();
}

// An operator's way out, and back: also for who comes by a listener of the cluster's own.
TEST_F(ReloadTest, PassingOnIsSwitchedOnAndOffBesideWhoIsThere) {
  start_apisim();
  const io::Address own = free_address();
  const std::string text = lines() + asked_for() + "listen=" + own.to_string() +
                           "\npass-through=" + apisim->servers()[1].to_string() + "\n";
  put("one", text + "mode=l7\n");
  put("two", lines() + "server-names=two.example\n");
  start_sluice({.flags = {clusters(), "--watch-files=false", "--workers=2", "--drain-timeout=10s"},
                .cluster_flags = false});
  const auto passed = [&](const io::Address& at) {
    Http2Client client(*loop, at, client_tls(&credentials.alice, &credentials.serving_ca));
    return client.ready() && get(client) == 200;
  };
  const auto served = [&](const io::Address& at) {
    Http2Client client(*loop, at, client_tls(&credentials.alice));
    return client.ready() && get(client) == 200;
  };
  ASSERT_TRUE(served(own) && served(sluice->address()));
  const auto there = connect(&credentials.alice);
  const auto watches = open_watches(*there, 3, bearer());
  for (int round = 0; round < 3; ++round) {
    put("one", text + "mode=l4\n");
    reload();
    for (const io::Address& at : {own, sluice->address()}) {
      EXPECT_TRUE(eventually([&] { return passed(at); })) << sluice->child().log();
      EXPECT_FALSE(served(at));
    }
    Http2Client through(*loop, sluice->address(),
                        client_tls(&credentials.alice, &credentials.serving_ca));
    ASSERT_EQ(get(through), 200);
    put("one", text + "mode=l7\n");
    reload();
    for (const io::Address& at : {own, sluice->address()}) {
      EXPECT_TRUE(eventually([&] { return served(at); })) << sluice->child().log();
      EXPECT_FALSE(passed(at));
    }
    EXPECT_EQ(get(through), 200);
  }
  // Who was there is told to go, and its requests run to their ends.
  EXPECT_TRUE(!there->goaways().empty());
  for (const Http2Client::Id id : watches) EXPECT_FALSE(there->answer(id).over);
}

TEST_F(ReloadTest, AListenerOfAClusterIsOpenedAtTheNextStart) {
  start_with(lines() + asked_for());
  const io::Address own = free_address();
  put("one", lines() + asked_for() + "listen=" + own.to_string() + "\n");
  reload();
  EXPECT_TRUE(eventually([&] { return sluice->child().log().contains("--listen of cluster one"); }))
      << sluice->child().log();
  EXPECT_EQ(get(*connect(&credentials.alice)), 200);
}

TEST_F(ReloadTest, WhatCountsFromTheNextStartOnIsSaid) {
  put("sluice", lines() + "receive-buffers=64\n");
  start_sluice({.flags = {"--config=" + folder.file("sluice.conf")}, .cluster_flags = false});
  put("sluice", lines() + "receive-buffers=128\nlog-level=debug\n");
  reload();
  EXPECT_TRUE(eventually([&] {
    return sluice->child().log().contains("--receive-buffers=128 cannot be taken over");
  })) << sluice->child().log();
  EXPECT_EQ(get(*connect(&credentials.alice)), 200);
  EXPECT_TRUE(eventually([&] { return sluice->child().log().contains("level=debug"); }));
  put("sluice", lines() + "no-such-flag=1\n");
  sluice->child().signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return reloads("refused") == 1; }));
  EXPECT_EQ(get(*connect(&credentials.alice)), 200);
}

// --- by themselves -----------------------------------------------------------------------------

class ChangedFilesTest : public ReloadTest {
 protected:
  ChangedFilesTest() { watches_ = true; }
  // A Secret as a kubelet mounts it: a folder of links into the folder of a generation.
  void mount_gateway(const std::string& generation, const Certificate& gateway) const {
    const std::string mount = folder.file("mounted");
    const std::string data = mount + "/.." + generation;
    std::filesystem::create_directories(data);
    write_file(data + "/tls.crt", gateway.pem());
    write_file(data + "/tls.key", gateway.key_pem());
    std::filesystem::create_symlink(".." + generation, mount + "/..data_tmp");
    std::filesystem::rename(mount + "/..data_tmp", mount + "/..data");
    for (const std::string name : {"tls.crt", "tls.key"}) {
      if (std::filesystem::exists(mount + "/" + name)) continue;
      std::filesystem::create_symlink("..data/" + name, mount + "/" + name);
    }
  }
  static constexpr Duration seen_within = 5s;
};

TEST_F(ChangedFilesTest, AFileThatComesIsServedAndOneThatGoesIsNot) {
  start_with(without_backends() + backend(0) + asked_for());
  put("two", without_backends() + backend(1) + "server-names=two.example\n");
  EXPECT_TRUE(eventually([&] { return page().contains(R"("name":"two")"); }, seen_within));
  ASSERT_EQ(std::remove(folder.file("two.conf").c_str()), 0);
  EXPECT_TRUE(eventually([&] { return !page().contains(R"("name":"two")"); }, seen_within * 2));
}

// The folder's mount is gone, or all files are just being replaced.
TEST_F(ChangedFilesTest, WhereAllFilesAreGoneNobodyIsToldToGo) {
  const std::string text = without_backends() + backend(0) + asked_for();
  start_with(text);
  const auto there = connect(&credentials.alice);
  const auto watches = open_watches(*there, 5, bearer());
  ASSERT_EQ(std::remove(folder.file("one.conf").c_str()), 0);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_config_errors") == 1; }, seen_within));
  EXPECT_EQ(get(*connect(&credentials.alice)), 200);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(there->answer(id).over);
  put("one", text);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_config_errors") == 0; }, seen_within));
  EXPECT_EQ(get(*there), 200);
}

TEST_F(ChangedFilesTest, AKeyAndItsCertificateMayComeOneAfterTheOther) {
  start_with(lines() + asked_for());
  const auto there = connect(&credentials.alice);
  const auto watches = open_watches(*there, 5);
  const Certificate next_ca = make_ca("next-gateway-ca");
  const Certificate next = issue_server(next_ca, {std::string(api_server_name)});
  write_file(folder.file("gateway.key"), next.key_pem());
  const Clock::time_point until = Clock::now() + 3s;
  while (Clock::now() < until) {
    ASSERT_TRUE(is_served_under(credentials.gateway_ca));
    ASSERT_EQ(sluice->metric("sluice_config_errors"), 0);
    loop->run_for(50ms);
  }
  write_file(folder.file("gateway.crt"), next.pem());
  EXPECT_TRUE(eventually([&] { return is_served_under(next_ca); }, seen_within));
  EXPECT_EQ(get(*there), 200);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(there->answer(id).over);
}

TEST_F(ChangedFilesTest, AMountedSecretIsSwappedAsOne) {
  std::string text = lines() + asked_for();
  text.replace(text.find("gateway.crt"), 11, "mounted/tls.crt");
  text.replace(text.find("gateway.key"), 11, "mounted/tls.key");
  mount_gateway("1", credentials.gateway);
  start_with(text);
  for (int i = 2; i < 5; ++i) {
    const Certificate next_ca = make_ca("next-gateway-ca");
    mount_gateway(std::to_string(i), issue_server(next_ca, {std::string(api_server_name)}));
    std::filesystem::remove_all(folder.file("mounted/.." + std::to_string(i - 1)));
    EXPECT_TRUE(eventually([&] { return is_served_under(next_ca); }, seen_within)) << i;
  }
  EXPECT_FALSE(sluice->child().log().contains("level=error")) << sluice->child().log();
}

TEST_F(ChangedFilesTest, ABrokenFileAtTheStartServesOnceItIsMended) {
  put("one", lines() + asked_for() + "probe-interval=soon\n");
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_FALSE(connect(&credentials.alice)->ready());
  EXPECT_EQ(sluice->metric("sluice_config_errors", {"cluster=\"one\""}), 1);
  put("one", lines() + asked_for());
  EXPECT_TRUE(eventually([&] { return is_served_under(credentials.gateway_ca); }, seen_within));
  EXPECT_EQ(sluice->metric("sluice_config_errors"), 0);
}

TEST_F(ChangedFilesTest, AStartWaitsForTheKeyOfItsCertificate) {
  const Certificate next = issue_server(credentials.gateway_ca, {std::string(api_server_name)});
  write_file(folder.file("gateway.key"), next.key_pem());
  put("sluice", lines());
  start_sluice({.flags = {"--config=" + folder.file("sluice.conf")},
                .cluster_flags = false,
                .wait_ready = false});
  loop->run_for(500ms);
  // Whoever has rotated them says so, and does not know that we have not begun.
  sluice->child().signal(SIGHUP);
  loop->run_for(200ms);
  EXPECT_FALSE(sluice->child().exit_code().has_value());
  write_file(folder.file("gateway.crt"), next.pem());
  EXPECT_TRUE(sluice->wait_page("/readyz", 200));
  EXPECT_TRUE(is_served_under(credentials.gateway_ca));
}

// One reload in three finds a mistake, one another certificate, and one other tuning, backends and
// trust.
class Changes {
 public:
  Changes(std::string good, std::vector<std::string> backends)
      : good_(std::move(good)), backends_(std::move(backends)) {}

  std::string next() {
    const std::size_t number = number_++;
    std::string text = good_ + backends_[0] + backends_[1];
    if (number % 2 == 0) text += backends_[2];
    text += "request-timeout=" + std::to_string(60 + number % 7) + "s\n";
    if (number % 3 == 2) text += "probe-interval=soon\n";
    return text;
  }

 private:
  const std::string good_;
  const std::vector<std::string> backends_;
  std::size_t number_ = 0;
};

TEST_F(ReloadTest, ManyReloadsOfWhichAThirdIsBrokenCostNobodyAnything) {
  start_with(without_backends() + backend(1) + backend(2) + asked_for());
  const auto watcher = connect(&credentials.alice);
  const auto watches = open_watches(*watcher, 20);
  const auto with_token = connect();
  Changes changes(without_backends() + asked_for(), {backend(1), backend(2), backend(0)});
  const std::array gateways{
      credentials.gateway,
      issue_server(credentials.gateway_ca, {"kubernetes", std::string(api_server_name)})};
  std::size_t resident = 0;
  std::size_t descriptors = 0;
  const std::size_t count = wanted_reloads();
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 3 == 1) write_gateway(gateways[i % 2]);
    put("one", changes.next());
    const Clock::time_point next = Clock::now() + between_reloads;
    sluice->child().signal(SIGHUP);
    while (Clock::now() < next) {
      ASSERT_EQ(get(*watcher), 200) << i;
      ASSERT_EQ(get(*with_token, bearer()), 200) << i;
      loop->run_for(5ms);
    }
    const auto newcomer = connect(&credentials.bob);
    ASSERT_EQ(get(*newcomer), 200) << i;
    if (i == count / 3) {
      resident = sluice->child().resident_bytes();
      descriptors = sluice->child().descriptors();
    }
  }
  for (const Http2Client::Id id : watches) EXPECT_FALSE(watcher->answer(id).over);
  EXPECT_TRUE(watcher->goaways().empty());
  EXPECT_GE(reloads(), static_cast<double>(count) / 2);
  EXPECT_LE(sluice->child().resident_bytes(), resident + allowance(16 << 20));
  EXPECT_LE(sluice->child().descriptors(), descriptors + 20);
}

}  // namespace
}  // namespace sluice::test
