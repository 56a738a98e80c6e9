// SPDX-License-Identifier: GPL-3.0-or-later
// Who waits for something that few can have at a time, served fairly between clients: deficit round
// robin (M. Shreedhar, G. Varghese: Efficient Fair Queueing Using Deficit Round-Robin, 1995).
//
// Lanes, of which each client's waiters belong to one, share by weight; the clients of a lane share
// equally, whatever their waiters cost; the parts of a client (its connections, say) take turns,
// and each part's own waiters go in the order in which they came. So a client that queues a
// thousand delays another one's first by one turn, and a part of a client that of another part.
//
// Pure; one thread. What waits belongs to its owner and leaves when it is destroyed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <unordered_map>
#include <vector>

#include "sluice/base/list.h"

namespace sluice::balance {

struct FairWaiterTag;
struct FairClientTag;
struct FairPartTag;

// For whom something waits.
struct FairShare {
  std::uint64_t client = 0;  // a name that nobody can choose: a keyed hash
  std::size_t lane = 0;
  std::uint64_t part = 0;  // of the client; as hard to choose
  std::uint32_t cost = 1;  // of a turn; 1 to FairQueue::cost_max
};

class FairWaiter;

class FairQueue {
 public:
  static constexpr std::uint32_t cost_max = 16;

  // A weight of at least 1 for each lane.
  explicit FairQueue(std::initializer_list<std::uint32_t> weights = {1});
  ~FairQueue();  // CHECKs empty()
  FairQueue(const FairQueue&) = delete;
  FairQueue& operator=(const FairQueue&) = delete;

  // One that does not wait yet.
  void push(FairWaiter& waiter, const FairShare& share);
  // Whose turn it is; null when nobody waits. It waits no more.
  FairWaiter* pop();
  // What was popped last could not be served: its turn comes again before everybody else's.
  void give_back(FairWaiter& waiter);
  // What was popped last is not to be served now: its client, and its part, had their turn, and it
  // stays the first of them.
  void pass_over(FairWaiter& waiter);
  // O(1). No effect on one that does not wait.
  void remove(FairWaiter& waiter);

  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  std::size_t clients() const { return clients_.size(); }
  // After so many turns each client that waits has had one, whatever lane it is in.
  std::size_t turns_of_all() const { return clients_.size() * cycle_; }
  // How many of this part of this client wait.
  std::size_t waiting(const FairShare& share) const;
  // How many of so many places are that part's, if clients share them equally, and parts their
  // client's; at least one.
  std::size_t places_of(const FairShare& share, std::size_t places) const;

 private:
  friend class FairWaiter;
  struct Key {
    std::uint64_t client = 0;
    std::size_t lane = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct PartKey {
    Key client;
    std::uint64_t part = 0;
    friend bool operator==(const PartKey&, const PartKey&) = default;
  };
  struct Hasher {
    // Names are keyed hashes themselves.
    std::size_t operator()(const Key& key) const { return key.client ^ key.lane; }
    std::size_t operator()(const PartKey& key) const { return operator()(key.client) ^ key.part; }
  };
  struct Client;
  struct Part : ListNode<FairPartTag> {
    PartKey key;
    List<FairWaiter, FairWaiterTag> waiters;
    std::size_t size = 0;
  };
  // Exists while something of it waits.
  struct Client : ListNode<FairClientTag> {
    Key key;
    List<Part, FairPartTag> parts;  // the next one first; in each somebody waits
    std::size_t size = 0;
    std::size_t part_count = 0;
    std::uint32_t deficit = 0;
  };
  struct Lane {
    std::uint32_t weight = 1;
    std::uint32_t credit = 0;             // turns that are left to it in this round
    List<Client, FairClientTag> clients;  // the next one first
  };

  Client& client_of(const FairShare& share, bool first);
  Part& part_of(Client& client, const FairShare& share, bool first);
  enum class Turn : std::uint8_t { last, first_of_part, next };
  void insert(FairWaiter& waiter, Turn turn);
  Lane& next_lane();
  void take(FairWaiter& waiter);

  std::vector<Lane> lanes_;
  std::size_t lane_ = 0;
  std::unordered_map<Key, Client, Hasher> clients_;
  std::unordered_map<PartKey, Part, Hasher> parts_;
  std::size_t cycle_ = 0;  // turns in which each lane has one
  std::size_t size_ = 0;
};

// A base of what waits.
class FairWaiter : public ListNode<FairWaiterTag> {
 public:
  FairWaiter() = default;
  FairWaiter(const FairWaiter&) = delete;
  FairWaiter& operator=(const FairWaiter&) = delete;
  ~FairWaiter() { leave_fair_queue(); }
  bool in_fair_queue() const { return queue_ != nullptr; }
  void leave_fair_queue() {
    if (queue_ != nullptr) queue_->remove(*this);
  }

 private:
  friend class FairQueue;
  FairQueue* queue_ = nullptr;
  FairQueue::Client* client_ = nullptr;
  FairQueue::Part* part_ = nullptr;
  FairShare share_;
};

}  // namespace sluice::balance
