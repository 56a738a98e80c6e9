// SPDX-License-Identifier: GPL-3.0-or-later
// The bytes that requests and connections make one worker hold, and those that their peers may send
// on top of it. Each byte is on a lease, which pays it back when it is destroyed, and is charged to
// its client. What a cluster's requests hold is part of what those of all clusters do:
//
//   Budget (all clusters of the worker) ── Budget (a cluster) ── ClientAccount ── BytesLease
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/proxy/client_account.h"

namespace sluice::proxy {

// What a cluster's requests hold, of which as much as is guaranteed to it is kept for it.
struct ClusterShare {
  std::size_t bytes = 0;
  std::size_t guaranteed = 0;
  std::size_t* all_beyond = nullptr;  // of all clusters together

  std::size_t beyond() const { return bytes > guaranteed ? bytes - guaranteed : 0; }
  void change(std::size_t difference) {
    *all_beyond -= beyond();
    bytes += difference;
    *all_beyond += beyond();
  }
};

// Bytes of one kind, which are part of sums if there are some.
struct BytesAccount {
  std::size_t bytes = 0;
  BytesAccount* whole = nullptr;  // of all clusters; outlives this
  ClusterShare* share = nullptr;  // of all kinds

  // By so many more, or fewer: a difference of two unsigned numbers.
  void change(std::size_t difference) {
    bytes += difference;
    if (whole != nullptr) whole->bytes += difference;
    if (share != nullptr) share->change(difference);
  }
};

// Bytes on one account of the worker, and, once it is known whose they are, on that client's.
// Move-only. Outlived by the accounts.
class BytesLease {
 public:
  BytesLease() = default;
  explicit BytesLease(BytesAccount& account) : account_(&account) {}
  BytesLease(BytesLease&& other) noexcept
      : account_(other.account_),
        client_(std::exchange(other.client_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  BytesLease& operator=(BytesLease&& other) noexcept {
    if (this == &other) return *this;
    release();
    account_ = other.account_;
    client_ = std::exchange(other.client_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    return *this;
  }
  ~BytesLease() { release(); }

  // What it has and what it will have, until it is released.
  void charge(ClientAccount& client) {
    if (client_ != nullptr) client_->bytes -= bytes_;
    client_ = &client;
    client_->bytes += bytes_;
  }
  void set(std::size_t bytes) {
    DCHECK(account_ != nullptr);
    DCHECK(bytes_ <= account_->bytes);
    DCHECK(client_ == nullptr || bytes_ <= client_->bytes);
    account_->change(bytes - bytes_);
    if (client_ != nullptr) client_->bytes += bytes - bytes_;
    bytes_ = bytes;
  }
  void add(std::size_t bytes) { set(bytes_ + bytes); }
  void release() {
    if (bytes_ > 0) set(0);
    client_ = nullptr;
  }
  std::size_t bytes() const { return bytes_; }
  const ClientAccount* client() const { return client_; }  // null: nobody is charged

 private:
  BytesAccount* account_ = nullptr;
  ClientAccount* client_ = nullptr;
  std::size_t bytes_ = 0;
};

struct BudgetOptions {
  std::size_t bytes_max = 0;         // above it no request is admitted
  std::size_t client_bytes_max = 0;  // above it none of that client is
  std::size_t replay_bytes_max = 0;  // of request bodies that could be sent again
};

// A quarter of what there is is guaranteed, in equal parts, to the clusters that are used: it is
// kept for them, so that whatever others do, a cluster is admitted up to its part. The rest is for
// whom needs it. One cluster alone has all.
class Budget {
 public:
  // As a part of `whole`, which outlives this, and whose limits on bytes hold then instead of ours;
  // or, without it, as that whole. What a client may hold is its cluster's to say.
  explicit Budget(const BudgetOptions& options, Budget* whole = nullptr)
      : options_(options), whole_(whole) {
    if (whole == nullptr) return;
    request_ = {.whole = &whole->request_, .share = &share_};
    body_ = {.whole = &whole->body_, .share = &share_};
    lent_ = {.whole = &whole->lent_, .share = &share_};
    replay_ = {.whole = &whole->replay_};
    own_connection_ = {.whole = &whole->own_connection_};
    share_.all_beyond = &whole->beyond_;
    whole->parts_.push_back(this);
    whole->divide();
  }
  ~Budget() {
    if (whole_ == nullptr) return;
    std::erase(whole_->parts_, this);
    whole_->divide();
  }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void set_client_bytes_max(std::size_t bytes) { options_.client_bytes_max = bytes; }

  BytesLease requests() { return BytesLease(request_); }
  BytesLease bodies() { return BytesLease(body_); }
  BytesLease window() { return BytesLease(lent_); }
  BytesLease replay() { return BytesLease(replay_); }
  // Of connections that are there for one request: they are among all connections' already, and
  // only charged here.
  BytesLease own_connections() { return BytesLease(own_connection_); }
  // Of connections, outside of requests, as of now. Of the whole. What they cost by themselves is a
  // reason to make room, up to half of everything, and none to refuse anybody: they are bounded in
  // number, too, and those who ask are not to pay for those who rest.
  void set_connections(std::size_t held, std::size_t own) {
    connection_bytes_ = held;
    own_bytes_ = std::min(own, options_.bytes_max / 2);
  }

  // For whoever is proven and holds next to nothing, a twentieth later: or a few who fill
  // everything together would be a reason to refuse everybody else.
  bool used_up_for(const ClientAccount& client) const {
    const bool holds_little = client.proven && client.bytes <= options_.client_bytes_max / 64;
    const std::size_t max = bytes_max();
    return spoken_for() > max + (holds_little ? max / 20 : 0);
  }
  // A little earlier than nothing is admitted: what is asked to go takes a moment to do so. Of the
  // whole.
  bool wants_room() const { return missing_room() > 0; }
  // What must go so that it is not wanted any more. Nothing goes for the sake of what is kept,
  // unless there is a cluster that holds more than is guaranteed to it.
  std::size_t missing_room() const {
    const std::size_t enough = bytes_max() - bytes_max() / 16;
    const auto above = [enough](std::size_t bytes) { return bytes > enough ? bytes - enough : 0; };
    const std::size_t own = all().own_bytes_;
    return std::max(above(all().committed() + own),
                    std::min(above(all().reserved() + own), all().beyond_));
  }
  // Even for what must be served as long as anything is: that has a tenth more.
  bool exhausted() const { return spoken_for() > bytes_max() + bytes_max() / 10; }
  bool used_up_by(const ClientAccount& client) const {
    return client.bytes > options_.client_bytes_max;
  }
  // Close to where nothing is admitted any more.
  bool short_of_memory() const { return !within_guarantee() && all().held() > bytes_max() / 4 * 3; }
  // Half of a budget stays for what is really held, so that growing windows alone never stop
  // admission, neither of all clients nor of one; and where there are several clusters, none has
  // more than half of the rest.
  bool may_lend(std::size_t bytes, const ClientAccount* client) const {
    return all().committed() + bytes <= bytes_max() / 2 &&
           (!is_one_of_several() || share_.bytes + bytes <= bytes_max() / 4) &&
           (client == nullptr || client->bytes + bytes <= options_.client_bytes_max / 2);
  }
  bool replays_used_up() const { return all().replay_.bytes > all().options_.replay_bytes_max; }

  // This part's.
  std::size_t charged_bytes() const { return body_.bytes + request_.bytes; }
  std::size_t body_bytes() const { return body_.bytes; }
  std::size_t lent_bytes() const { return lent_.bytes; }

 private:
  const Budget& all() const { return whole_ == nullptr ? *this : *whole_; }
  std::size_t bytes_max() const { return all().options_.bytes_max; }
  bool is_one_of_several() const { return whole_ != nullptr && whole_->parts_.size() > 1; }
  bool within_guarantee() const { return is_one_of_several() && share_.bytes < share_.guaranteed; }

  // What requests in progress, and connections, make us hold.
  std::size_t held() const { return body_.bytes + request_.bytes + connection_bytes_; }
  // And what peers may send on top of it whenever they like, because a window has grown.
  std::size_t committed() const { return held() + lent_.bytes; }
  // And what is kept for clusters that do not need it now. Of the whole.
  std::size_t reserved() const {
    return parts_.size() > 1 ? options_.bytes_max / 4 + beyond_ + connection_bytes_ : committed();
  }
  // What this part must find room beside.
  std::size_t spoken_for() const {
    return within_guarantee() ? all().committed() : all().reserved();
  }

  void divide() {
    beyond_ = 0;
    for (Budget* part : parts_) {
      part->share_.guaranteed = options_.bytes_max / 4 / parts_.size();
      beyond_ += part->share_.beyond();
    }
  }

  BudgetOptions options_;
  Budget* const whole_;
  ClusterShare share_;    // of the whole, as a part of it
  BytesAccount request_;  // themselves, and heads of both directions
  BytesAccount body_;     // in whole blocks
  BytesAccount lent_;     // by which windows have grown
  BytesAccount replay_;   // of request bodies that could be sent again
  BytesAccount own_connection_;
  std::size_t connection_bytes_ = 0;
  std::size_t own_bytes_ = 0;   // of connections themselves
  std::vector<Budget*> parts_;  // as the whole
  std::size_t beyond_ = 0;      // what they hold beyond what is guaranteed to each
};

}  // namespace sluice::proxy
