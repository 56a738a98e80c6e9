// SPDX-License-Identifier: GPL-3.0-or-later
// What one client makes a worker hold, all of its connections and requests together. An account
// lives as long as somebody refers to it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

namespace sluice::proxy {

class ClientAccounts;

struct ClientAccount {
  std::size_t bytes = 0;
  std::uint32_t references = 0;
  std::uint64_t client = 0;  // its name, see ClientKeys
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

class ClientAccounts {
 public:
  ClientAccounts() = default;
  ~ClientAccounts();  // CHECKs that nobody refers to one
  ClientAccounts(const ClientAccounts&) = delete;
  ClientAccounts& operator=(const ClientAccounts&) = delete;

  AccountRef open(std::uint64_t client);
  // The same for one whose account was the last that its connection asked for, which is kept in
  // `last`: without a search.
  ClientAccount& open(std::uint64_t client, AccountRef& last);
  std::size_t size() const { return accounts_.size(); }

 private:
  friend class AccountRef;
  std::unordered_map<std::uint64_t, ClientAccount> accounts_;
};

}  // namespace sluice::proxy
