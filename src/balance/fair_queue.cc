// SPDX-License-Identifier: GPL-3.0-or-later
// Deficit round robin between clients, within weighted lanes.
#include "sluice/balance/fair_queue.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::balance {

FairQueue::FairQueue(std::initializer_list<std::uint32_t> weights) : lanes_(weights.size()) {
  CHECK_GT(weights.size(), std::size_t{0});
  std::size_t i = 0;
  for (const std::uint32_t weight : weights) {
    CHECK_GT(weight, 0U);
    lanes_[i++].weight = weight;
    cycle_ += weight;
  }
}

FairQueue::~FairQueue() { CHECK(empty()); }

FairQueue::Client& FairQueue::client_of(const FairShare& share, bool first) {
  const Key key{share.client, share.lane};
  const auto [found, added] = clients_.try_emplace(key);
  Client& client = found->second;
  Lane& lane = lanes_[share.lane];
  if (added) client.key = key;
  if (first) {
    client.unlink();
    lane.clients.push_front(client);
  } else if (added) {
    lane.clients.push_back(client);
  }
  return client;
}

FairQueue::Part& FairQueue::part_of(Client& client, const FairShare& share, bool first) {
  const PartKey key{client.key, share.part};
  const auto [found, added] = parts_.try_emplace(key);
  Part& part = found->second;
  if (added) {
    part.key = key;
    ++client.part_count;
  }
  if (first) {
    part.unlink();
    client.parts.push_front(part);
  } else if (added) {
    client.parts.push_back(part);
  }
  return part;
}

void FairQueue::insert(FairWaiter& waiter, Turn turn) {
  const bool next = turn == Turn::next;
  Client& client = client_of(waiter.share_, next);
  Part& part = part_of(client, waiter.share_, next);
  if (turn == Turn::last) {
    part.waiters.push_back(waiter);
  } else {
    part.waiters.push_front(waiter);
  }
  ++part.size;
  ++client.size;
  ++size_;
  waiter.queue_ = this;
  waiter.client_ = &client;
  waiter.part_ = &part;
}

void FairQueue::push(FairWaiter& waiter, const FairShare& share) {
  CHECK(waiter.queue_ == nullptr);
  CHECK_LT(share.lane, lanes_.size());
  waiter.share_ = share;
  waiter.share_.cost = std::clamp(share.cost, 1U, cost_max);
  insert(waiter, Turn::last);
}

// A lane has as many turns in a row as it has weight; one where nobody waits saves none.
FairQueue::Lane& FairQueue::next_lane() {
  for (;;) {
    Lane& lane = lanes_[lane_];
    if (!lane.clients.empty()) {
      if (lane.credit == 0) lane.credit = lane.weight;
      return lane;
    }
    lane.credit = 0;
    lane_ = (lane_ + 1) % lanes_.size();
  }
}

FairWaiter* FairQueue::pop() {
  if (empty()) return nullptr;
  Lane& lane = next_lane();
  for (;;) {
    Client& client = lane.clients.front();
    Part& part = client.parts.front();
    FairWaiter& waiter = part.waiters.front();
    if (client.deficit < waiter.share_.cost) {
      // What is dear waits some rounds; nobody waits for it.
      ++client.deficit;
      if (client.deficit < waiter.share_.cost) {
        client.unlink();
        lane.clients.push_back(client);
        continue;
      }
    }
    client.deficit -= waiter.share_.cost;
    client.unlink();
    lane.clients.push_back(client);
    part.unlink();
    client.parts.push_back(part);
    if (--lane.credit == 0) lane_ = (lane_ + 1) % lanes_.size();
    take(waiter);
    return &waiter;
  }
}

void FairQueue::give_back(FairWaiter& waiter) {
  CHECK(waiter.queue_ == nullptr);
  CHECK_LT(waiter.share_.lane, lanes_.size());
  insert(waiter, Turn::next);
  waiter.client_->deficit += waiter.share_.cost;
  lane_ = waiter.share_.lane;
  ++lanes_[lane_].credit;
}

void FairQueue::pass_over(FairWaiter& waiter) {
  CHECK(waiter.queue_ == nullptr);
  CHECK_LT(waiter.share_.lane, lanes_.size());
  insert(waiter, Turn::first_of_part);
  waiter.client_->deficit += waiter.share_.cost;
}

void FairQueue::remove(FairWaiter& waiter) {
  if (waiter.queue_ == nullptr) return;
  CHECK(waiter.queue_ == this);
  take(waiter);
}

void FairQueue::take(FairWaiter& waiter) {
  Client& client = *waiter.client_;
  Part& part = *waiter.part_;
  static_cast<ListNode<FairWaiterTag>&>(waiter).unlink();
  waiter.queue_ = nullptr;
  waiter.client_ = nullptr;
  waiter.part_ = nullptr;
  if (--part.size == 0) {
    --client.part_count;
    parts_.erase(part.key);
  }
  --client.size;
  --size_;
  // With nothing to wait for it saves nothing up, either.
  if (client.size == 0) clients_.erase(client.key);
}

std::size_t FairQueue::waiting(const FairShare& share) const {
  const auto found = parts_.find({{share.client, share.lane}, share.part});
  return found == parts_.end() ? 0 : found->second.size;
}

std::size_t FairQueue::places_of(const FairShare& share, std::size_t places) const {
  const auto found = clients_.find({share.client, share.lane});
  const std::size_t parts = found == clients_.end() ? 1 : found->second.part_count;
  return std::max(places / std::max(clients_.size(), 1UZ) / parts, 1UZ);
}

}  // namespace sluice::balance
