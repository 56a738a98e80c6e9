// SPDX-License-Identifier: GPL-3.0-or-later
// What one client makes a worker hold and do, all of its connections and requests together. An
// account lives as long as somebody refers to it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace sluice::proxy {

class ClientAccounts;

struct ClientAccount {
  std::size_t bytes = 0;
  // Requests that travel and have no answer yet: without a credential, and with a token that has
  // proven nothing.
  std::uint32_t anonymous = 0;
  std::uint32_t unproven = 0;
  std::uint32_t tunnels = 0;  // and requests for one
  // Whose last request was this client's.
  std::uint32_t connections = 0;
  std::uint32_t references = 0;
  std::uint64_t client = 0;   // its name, see ClientKeys
  std::uint64_t network = 0;  // where it comes from
  bool proven = false;        // else it is a connection's, or a network's
  ClientAccounts* owner = nullptr;
};

// Keeps an account. Move-only; outlived by the accounts.
class AccountRef {
 public:
  AccountRef() = default;
  explicit AccountRef(ClientAccount& account) : account_(&account) { ++account.references; }
  AccountRef(AccountRef&& other) noexcept : account_(std::exchange(other.account_, nullptr)) {}
  AccountRef& operator=(AccountRef&& other) noexcept {
    if (this == &other) return *this;
    reset();
    account_ = std::exchange(other.account_, nullptr);
    return *this;
  }
  ~AccountRef() { reset(); }

  void reset();
  ClientAccount* get() const { return account_; }

 private:
  ClientAccount* account_ = nullptr;
};

// One of something that an account counts, which it keeps until it is released. Move-only.
class CountLease {
 public:
  using Count = std::uint32_t ClientAccount::*;

  CountLease() = default;
  CountLease(AccountRef account, Count count) : account_(std::move(account)), count_(count) {
    ++(account_.get()->*count_);
  }
  CountLease(CountLease&&) noexcept = default;
  CountLease& operator=(CountLease&& other) noexcept {
    if (this == &other) return *this;
    release();
    account_ = std::move(other.account_);
    count_ = other.count_;
    return *this;
  }
  ~CountLease() { release(); }

  void release() {
    if (account_.get() == nullptr) return;
    --(account_.get()->*count_);
    account_.reset();
  }
  bool held() const { return account_.get() != nullptr; }

 private:
  AccountRef account_;
  Count count_ = nullptr;
};

// The account of the client of a connection's last request, which counts the connection.
class LastAccount {
 public:
  LastAccount() = default;
  ~LastAccount() { reset(); }
  LastAccount(const LastAccount&) = delete;
  LastAccount& operator=(const LastAccount&) = delete;

  void set(AccountRef account) {
    reset();
    account_ = std::move(account);
    ++account_.get()->connections;
  }
  void reset() {
    if (ClientAccount* account = account_.get()) --account->connections;
    account_.reset();
  }
  ClientAccount* get() const { return account_.get(); }

 private:
  AccountRef account_;
};

class ClientAccounts {
 public:
  ClientAccounts() = default;
  ~ClientAccounts();  // CHECKs that nobody refers to one
  ClientAccounts(const ClientAccounts&) = delete;
  ClientAccounts& operator=(const ClientAccounts&) = delete;

  AccountRef open(std::uint64_t client, std::uint64_t network, bool proven = false);
  // The same for one whose account was the last that its connection asked for, which is kept in
  // `last`: without a search.
  ClientAccount& open(std::uint64_t client, std::uint64_t network, bool proven, LastAccount& last);
  std::size_t size() const { return accounts_.size(); }
  // Each of them: `what(account)`.
  template <class F>
  void for_each(F&& what) const {
    for (const auto& [name, account] : accounts_) what(account);
  }

 private:
  friend class AccountRef;
  std::unordered_map<std::uint64_t, ClientAccount> accounts_;
};

}  // namespace sluice::proxy
