// SPDX-License-Identifier: GPL-3.0-or-later
// Holders in classes by what they hold.
#include "sluice/balance/holders.h"

#include <bit>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::balance {

Holders::~Holders() { CHECK_EQ(held_, std::size_t{0}); }

// Behind those of its class.
void Holders::place(Holder& holder) {
  holder.unlink();
  if (holder.resting.empty()) return;
  by_size_[static_cast<std::size_t>(std::bit_width(holder.held)) - 1].push_back(holder);
}

void Holders::add(Holding& holding, std::uint64_t client) {
  CHECK(!holding.is_held());
  Holder& holder = clients_[client];
  holder.client = client;
  holding.holders_ = this;
  holding.holder_ = &holder;
  ++holder.held;
  ++held_;
  holder.resting.push_back(holding);
  if (std::has_single_bit(holder.held) || !holder.linked()) place(holder);
}

void Holders::remove(Holder& holder) {
  CHECK_GT(held_, std::size_t{0});
  --held_;
  if (--holder.held > 0) return place(holder);
  clients_.erase(holder.client);
}

Holding* Holders::first() {
  for (std::size_t size = classes; size-- > 0;) {
    if (!by_size_[size].empty()) return &by_size_[size].front().resting.front();
  }
  return nullptr;
}

void Holding::work() {
  if (!rests()) return;
  node().unlink();
  if (holder_->resting.empty()) holder_->unlink();
}

void Holding::rest() {
  if (!is_held()) return;
  node().unlink();
  holder_->resting.push_back(*this);
  if (!holder_->linked()) holders_->place(*holder_);
}

void Holding::let_go() {
  if (!is_held()) return;
  node().unlink();
  std::exchange(holders_, nullptr)->remove(*std::exchange(holder_, nullptr));
}

}  // namespace sluice::balance
