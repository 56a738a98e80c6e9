// SPDX-License-Identifier: GPL-3.0-or-later
// Whose sockets are whose: each address is bound once for each worker or inherited, and each
// inherited socket is somebody's.
#include "listening_sockets.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <map>
#include <set>

#include "sluice/io/socket.h"

namespace sluice::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Indexes = std::vector<std::size_t>;

TEST(ListeningSocketsAssignTest, EachSocketIsSomebodysAndEachWorkerHasOne) {
  EXPECT_THAT(ListeningSockets::assign(2, 2), ElementsAre(Indexes{0}, Indexes{1}));
  EXPECT_THAT(ListeningSockets::assign(5, 2), ElementsAre(Indexes{0, 2, 4}, Indexes{1, 3}));
  EXPECT_THAT(ListeningSockets::assign(1, 3), ElementsAre(Indexes{0}, Indexes{0}, Indexes{0}));
  for (std::size_t sockets = 1; sockets < 9; ++sockets) {
    for (std::size_t workers = 1; workers < 9; ++workers) {
      std::set<std::size_t> served;
      for (const Indexes& its : ListeningSockets::assign(sockets, workers)) {
        EXPECT_FALSE(its.empty());
        EXPECT_EQ(std::set<std::size_t>(its.begin(), its.end()).size(), its.size());
        served.insert(its.begin(), its.end());
      }
      EXPECT_EQ(served.size(), sockets);
    }
  }
}

class ListeningSocketsTest : public testing::Test {
 protected:
  static io::Address any() { return *io::Address::parse("127.0.0.1:0"); }
  // So many sockets of one address.
  static std::vector<InheritedSocket> inherit(std::size_t count) {
    std::vector<InheritedSocket> sockets;
    io::Address address = any();
    for (std::size_t i = 0; i < count; ++i) {
      const int descriptor = io::listen_on(address, {}).value();
      address = io::local_address(descriptor).value();
      sockets.push_back({OwnedDescriptor(descriptor), address});
    }
    return sockets;
  }
  static std::vector<InheritedSocket> both(std::vector<InheritedSocket> a,
                                           std::vector<InheritedSocket> b) {
    for (InheritedSocket& each : b) a.push_back(std::move(each));
    return a;
  }
  static std::vector<int> descriptors_of(const ListeningSockets& sockets) {
    std::vector<int> all;
    for (const ListeningSockets::Open& each : sockets.all()) all.push_back(each.descriptor);
    return all;
  }
  static bool connects(const io::Address& address) {
    const OwnedDescriptor client(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(client.get(), address.data(), address.size()) == 0;
  }
};

TEST_F(ListeningSocketsTest, WhatNobodyHasPassedIsBoundForEachWorker) {
  auto sockets = ListeningSockets::create({any(), any()}, {}, 3, {}, false);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(sockets->all().size(), 6U);
  for (std::size_t worker = 0; worker < 3; ++worker) {
    const std::vector<WorkerSocket> its = sockets->take(worker);
    ASSERT_EQ(its.size(), 2U);
    for (const WorkerSocket& socket : its) EXPECT_FALSE(socket.shared || socket.in_use);
    EXPECT_TRUE(sockets->take(worker).empty());
  }
}

TEST_F(ListeningSocketsTest, WhatWasPassedIsUsedAndNotBoundAgain) {
  std::vector<InheritedSocket> inherited = inherit(2);
  const io::Address address = inherited[0].address;
  const std::vector<int> descriptors{inherited[0].descriptor.get(), inherited[1].descriptor.get()};
  auto sockets = ListeningSockets::create({address}, {}, 2, std::move(inherited), true);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(descriptors_of(*sockets), descriptors);
  for (std::size_t worker = 0; worker < 2; ++worker) {
    const std::vector<WorkerSocket> its = sockets->take(worker);
    ASSERT_EQ(its.size(), 1U);
    EXPECT_EQ(its[0].descriptor.get(), descriptors[worker]);
    EXPECT_TRUE(its[0].in_use);
    EXPECT_FALSE(its[0].shared);
  }
}

TEST_F(ListeningSocketsTest, WhereThereAreFewerSocketsWorkersShareThem) {
  std::vector<InheritedSocket> inherited = inherit(1);
  const io::Address address = inherited[0].address;
  auto sockets = ListeningSockets::create({address}, {}, 3, std::move(inherited), false);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(sockets->all().size(), 1U);
  std::set<int> descriptors;
  std::vector<WorkerSocket> all;
  for (std::size_t worker = 0; worker < 3; ++worker) {
    for (WorkerSocket& socket : sockets->take(worker)) {
      EXPECT_TRUE(socket.shared);
      EXPECT_EQ(*io::local_address(socket.descriptor.get()), address);
      descriptors.insert(socket.descriptor.get());
      all.push_back(std::move(socket));
    }
  }
  EXPECT_EQ(descriptors.size(), 3U);
  // It listens until the last of them has closed its own.
  all.pop_back();
  all.pop_back();
  EXPECT_TRUE(connects(address));
  all.clear();
  EXPECT_FALSE(connects(address));
}

TEST_F(ListeningSocketsTest, WhereThereAreMoreSocketsAWorkerHasSeveral) {
  std::vector<InheritedSocket> inherited = inherit(5);
  const io::Address address = inherited[0].address;
  auto sockets = ListeningSockets::create({address}, {}, 2, std::move(inherited), false);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(sockets->take(0).size(), 3U);
  EXPECT_EQ(sockets->take(1).size(), 2U);
}

TEST_F(ListeningSocketsTest, EachAddressHasItsOwn) {
  std::vector<InheritedSocket> inherited = inherit(2);
  const io::Address first = inherited[0].address;
  std::vector<InheritedSocket> more = inherit(1);
  const io::Address second = more[0].address;
  auto sockets = ListeningSockets::create({second, first}, {}, 1,
                                          both(std::move(inherited), std::move(more)), false);
  ASSERT_TRUE(sockets) << sockets.error().context;
  std::multiset<std::string> addresses;
  for (const WorkerSocket& socket : sockets->take(0)) {
    addresses.insert(io::local_address(socket.descriptor.get())->to_string());
  }
  EXPECT_EQ(addresses.count(first.to_string()), 2U);
  EXPECT_EQ(addresses.count(second.to_string()), 1U);
}

TEST_F(ListeningSocketsTest, OneThatNobodyHasAskedForIsAMistakeAndNotLeftToItself) {
  std::vector<InheritedSocket> inherited = inherit(1);
  const std::string address = inherited[0].address.to_string();
  const auto sockets = ListeningSockets::create({*io::Address::parse("[::1]:0")}, {}, 1,
                                                std::move(inherited), false);
  ASSERT_FALSE(sockets);
  EXPECT_THAT(sockets.error().context, HasSubstr(address + " was inherited"));
}

TEST_F(ListeningSocketsTest, AClustersSocketsAreItsOwnWhetherTheyAreBoundOrInherited) {
  std::vector<InheritedSocket> inherited = inherit(3);
  const io::Address address = inherited[0].address;
  auto sockets = ListeningSockets::create({any()}, {{4, "four", {any()}}, {7, "seven", {address}}},
                                          2, std::move(inherited), true);
  ASSERT_TRUE(sockets) << sockets.error().context;
  std::map<std::optional<std::size_t>, int> by_cluster;
  for (std::size_t worker = 0; worker < 2; ++worker) {
    for (const WorkerSocket& socket : sockets->take(worker)) {
      ++by_cluster[socket.cluster];
      EXPECT_EQ(socket.in_use, socket.cluster == 7U);
    }
  }
  EXPECT_THAT(by_cluster, ElementsAre(std::pair(std::optional<std::size_t>(), 2),
                                      std::pair(std::optional<std::size_t>(4), 2),
                                      std::pair(std::optional<std::size_t>(7), 3)));
  std::map<bool, int> of_cluster;
  for (const ListeningSockets::Open& each : sockets->all()) ++of_cluster[each.of_cluster];
  EXPECT_THAT(of_cluster, ElementsAre(std::pair(false, 2), std::pair(true, 5)));
}

TEST_F(ListeningSocketsTest, WhatAClusterCannotHaveCostsItAlone) {
  const int taken = io::listen_on(any(), {.reuse_port = false}).value();
  auto sockets = ListeningSockets::create(
      {any()}, {{0, "one", {*io::local_address(taken), any()}}, {1, "two", {any()}}}, 2, {}, false);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(sockets->take(0).size(), 3U);
  EXPECT_EQ(sockets->take(1).size(), 3U);
  EXPECT_EQ(sockets->all().size(), 6U);
  io::close_socket(taken);
}

TEST_F(ListeningSocketsTest, OneThatWasAClustersAndThatNobodyNamesAnyMoreIsClosed) {
  std::vector<InheritedSocket> inherited = inherit(2);
  const io::Address address = inherited[0].address;
  for (InheritedSocket& socket : inherited) socket.of_cluster = true;
  const auto sockets = ListeningSockets::create(
      {any()}, {{0, "one", {*io::Address::parse("127.0.0.2:0")}}}, 1, std::move(inherited), true);
  ASSERT_TRUE(sockets) << sockets.error().context;
  EXPECT_EQ(sockets->all().size(), 2U);
  EXPECT_FALSE(connects(address));
}

TEST_F(ListeningSocketsTest, AnAddressMayChangeHandsBetweenTheProcessAndAClusterOfIt) {
  std::vector<InheritedSocket> was_clusters = inherit(1);
  was_clusters[0].of_cluster = true;
  const io::Address first = was_clusters[0].address;
  std::vector<InheritedSocket> was_processes = inherit(1);
  const io::Address second = was_processes[0].address;
  auto sockets =
      ListeningSockets::create({first}, {{3, "three", {second}}}, 1,
                               both(std::move(was_clusters), std::move(was_processes)), true);
  ASSERT_TRUE(sockets) << sockets.error().context;
  const std::vector<WorkerSocket> its = sockets->take(0);
  ASSERT_EQ(its.size(), 2U);
  EXPECT_EQ(its[0].cluster, std::nullopt);
  EXPECT_EQ(*io::local_address(its[0].descriptor.get()), first);
  EXPECT_EQ(its[1].cluster, 3U);
  EXPECT_EQ(*io::local_address(its[1].descriptor.get()), second);
}

TEST_F(ListeningSocketsTest, AnAddressThatIsTakenIsAnError) {
  const int taken = io::listen_on(any(), {.reuse_port = false}).value();
  const auto sockets = ListeningSockets::create({*io::local_address(taken)}, {}, 1, {}, false);
  ASSERT_FALSE(sockets);
  EXPECT_THAT(sockets.error().context, HasSubstr("cannot listen on"));
  io::close_socket(taken);
}

}  // namespace
}  // namespace sluice::server
