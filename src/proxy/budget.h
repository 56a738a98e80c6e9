// SPDX-License-Identifier: GPL-3.0-or-later
// The bytes that requests and connections make one worker hold, and those that their peers may send
// on top of it. Each byte is on a lease, which pays it back when it is destroyed, and is charged to
// its client.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/proxy/client_account.h"

namespace sluice::proxy {

// Bytes on one account of the worker, and, once it is known whose they are, on that client's.
// Move-only. Outlived by the accounts.
class BytesLease {
 public:
  BytesLease() = default;
  explicit BytesLease(std::size_t& account) : account_(&account) {}
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
    DCHECK(bytes_ <= *account_);
    DCHECK(client_ == nullptr || bytes_ <= client_->bytes);
    *account_ += bytes - bytes_;
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
  std::size_t* account_ = nullptr;
  ClientAccount* client_ = nullptr;
  std::size_t bytes_ = 0;
};

struct BudgetOptions {
  std::size_t bytes_max = 0;         // above it no request is admitted
  std::size_t client_bytes_max = 0;  // above it none of that client is
  std::size_t replay_bytes_max = 0;  // of request bodies that could be sent again
};

class Budget {
 public:
  explicit Budget(const BudgetOptions& options) : options_(options) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  BytesLease requests() { return BytesLease(request_bytes_); }
  BytesLease bodies() { return BytesLease(body_bytes_); }
  BytesLease window() { return BytesLease(lent_bytes_); }
  BytesLease replay() { return BytesLease(replay_bytes_); }
  // Of connections that are there for one request: they are among all connections' already, and
  // only charged here.
  BytesLease own_connections() { return BytesLease(own_connection_bytes_); }
  // Of connections, outside of requests, as of now.
  // What they cost by themselves takes half of everything at most: they are bounded in number, too,
  // and as many as that allows must leave something for what they ask.
  void set_connections(std::size_t held, std::size_t own) {
    connection_bytes_ = held + std::min(own, options_.bytes_max / 2);
  }

  bool used_up() const { return committed() > options_.bytes_max; }
  // For whoever is proven and holds next to nothing, a twentieth later: or a few who fill
  // everything together would be a reason to refuse everybody else.
  bool used_up_for(const ClientAccount& client) const {
    const bool holds_little = client.proven && client.bytes <= options_.client_bytes_max / 64;
    return committed() > options_.bytes_max + (holds_little ? options_.bytes_max / 20 : 0);
  }
  // A little earlier: what is asked to go takes a moment to do so.
  bool wants_room() const { return missing_room() > 0; }
  // What must go so that it is not wanted any more.
  std::size_t missing_room() const {
    const std::size_t enough = options_.bytes_max - options_.bytes_max / 16;
    return committed() > enough ? committed() - enough : 0;
  }
  // Even for what must be served as long as anything is: that has a tenth more.
  bool exhausted() const { return committed() > options_.bytes_max + options_.bytes_max / 10; }
  bool used_up_by(const ClientAccount& client) const {
    return client.bytes > options_.client_bytes_max;
  }
  // Close to where nothing is admitted any more.
  bool short_of_memory() const { return held() > options_.bytes_max / 4 * 3; }
  // Half of a budget stays for what is really held, so that growing windows alone never stop
  // admission, neither of all clients nor of one.
  bool may_lend(std::size_t bytes, const ClientAccount* client) const {
    return committed() + bytes <= options_.bytes_max / 2 &&
           (client == nullptr || client->bytes + bytes <= options_.client_bytes_max / 2);
  }
  bool replays_used_up() const { return replay_bytes_ > options_.replay_bytes_max; }

  std::size_t body_bytes() const { return body_bytes_; }
  std::size_t lent_bytes() const { return lent_bytes_; }

 private:
  // What requests in progress, and connections, make us hold.
  std::size_t held() const { return body_bytes_ + request_bytes_ + connection_bytes_; }
  // And what peers may send on top of it whenever they like, because a window has grown.
  std::size_t committed() const { return held() + lent_bytes_; }

  const BudgetOptions options_;
  std::size_t request_bytes_ = 0;  // themselves, and heads of both directions
  std::size_t body_bytes_ = 0;     // in whole blocks
  std::size_t connection_bytes_ = 0;
  std::size_t lent_bytes_ = 0;    // by which windows have grown
  std::size_t replay_bytes_ = 0;  // of request bodies that could be sent again
  std::size_t own_connection_bytes_ = 0;
};

}  // namespace sluice::proxy
