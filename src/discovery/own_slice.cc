// SPDX-License-Identifier: GPL-3.0-or-later
// Candidates, and who was found among them.
#include "sluice/discovery/own_slice.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sluice/discovery/target.h"

namespace sluice::discovery {
namespace {

// Addresses that every machine has for itself: 127.0.0.0/8, 169.254.0.0/16, ::1/128, fe80::/10 (RFC
// 6890). A network that has others, too, does not mean them.
struct Special {
  std::array<std::uint8_t, 2> first;
  std::array<std::uint8_t, 2> mask;
  std::size_t ip_bytes;
  std::size_t prefix_bits;
};
constexpr std::array special_networks = {
    Special{{127, 0}, {0xff, 0}, 4, 8},
    Special{{169, 254}, {0xff, 0xff}, 4, 16},
    Special{{0xfe, 0x80}, {0xff, 0xc0}, 16, 10},
};

// 0: it is an ordinary address.
std::size_t special_prefix_bits(const io::Address& address) {
  const Bytes ip = address.ip();
  for (const Special& special : special_networks) {
    if (ip.size() == special.ip_bytes && (ip[0] & special.mask[0]) == special.first[0] &&
        (ip[1] & special.mask[1]) == special.first[1]) {
      return special.prefix_bits;
    }
  }
  return address.host() == "::1" ? 128 : 0;
}

}  // namespace

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::port: return "another port";
    case Refusal::network: return "outside of the networks";
    case Refusal::ours: return "our own";
  }
  return "unknown";
}

std::optional<Refusal> refusal_of(const OwnSliceOptions& options, const io::Address& address) {
  if (address.port() != options.port) return Refusal::port;
  const std::size_t at_least = special_prefix_bits(address);
  const bool allowed = std::ranges::any_of(options.networks, [&](const io::Network& network) {
    return network.prefix_bits() >= at_least && network.contains(address);
  });
  if (!allowed || !can_be_reached(address)) return Refusal::network;
  return std::nullopt;
}

void OwnSlice::use(const OwnSliceOptions& options) {
  if (options_ == options) return;
  options_ = options;
  std::erase_if(entries_, [&](const auto& entry) {
    return !entry.second.trying && refusal_of(options_, entry.first);
  });
  for (auto& [address, entry] : entries_) {
    if (!refusal_of(options_, address)) continue;
    entry.named = false;
    entry.found = false;
  }
}

std::vector<OwnSlice::Refused> OwnSlice::take(const std::vector<io::Address>& named,
                                              const Known& known, Instant now) {
  asked_ = true;
  if (named.empty()) return {};
  named_ = named;
  return judge_again(known, now);
}

std::vector<OwnSlice::Refused> OwnSlice::judge_again(const Known& known, Instant now) {
  for (auto& [address, entry] : entries_) entry.named = false;
  const auto before = std::exchange(refused_, {});
  std::vector<Refused> news;
  for (const io::Address& address : named_) {
    if (known.written(address)) continue;
    auto refusal = refusal_of(options_, address);
    if (!refusal && known.ours(address)) refusal = Refusal::ours;
    if (refusal) {
      refused_.emplace(address, *refusal);
      if (before.contains(address)) continue;
      ++refused_total_;
      news.push_back({address, *refusal});
      continue;
    }
    const auto [entry, is_new] = entries_.try_emplace(address);
    entry->second.named = true;
    if (is_new) entry->second.next = now;
  }
  // Named or not: what has become ours is nobody else's.
  for (auto& [address, entry] : entries_) {
    if (entry.found && known.ours(address)) entry.found = false;
  }
  forget_unnamed();
  return news;
}

void OwnSlice::forget_unnamed() {
  std::erase_if(entries_, [](const auto& entry) {
    return !entry.second.named && !entry.second.found && !entry.second.trying;
  });
}

std::vector<io::Address> OwnSlice::due(std::size_t found_max, Instant now) {
  std::size_t trying = 0;
  std::size_t found = 0;
  std::vector<std::pair<Instant, io::Address>> waiting;
  for (const auto& [address, entry] : entries_) {
    trying += entry.trying ? 1 : 0;
    found += entry.found ? 1 : 0;
    if (entry.trying || entry.found || !entry.named || entry.next > now) continue;
    waiting.emplace_back(entry.next, address);
  }
  if (trying >= tried_at_once || found >= found_max) return {};
  // Who has waited longest: however many a slice names, nobody is passed over.
  std::ranges::sort(waiting, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : AddressOrder()(a.second, b.second);
  });
  if (waiting.size() > tried_at_once - trying) waiting.resize(tried_at_once - trying);
  std::vector<io::Address> due;
  for (const auto& [since, address] : waiting) {
    entries_.at(address).trying = true;
    due.push_back(address);
  }
  return due;
}

OwnSlice::Outcome OwnSlice::tried(const io::Address& address, const std::string& why_not,
                                  Instant now) {
  const auto known = entries_.find(address);
  if (known == entries_.end()) return Outcome::nobodys;
  Entry& entry = known->second;
  entry.trying = false;
  entry.tried = true;
  if (!entry.named) {
    forget_unnamed();
    return Outcome::nobodys;
  }
  if (why_not.empty()) {
    entry.found = true;
    entry.retry = {};
    entry.why_not.clear();
    entry.lost_since.reset();
    return Outcome::found;
  }
  entry.retry = std::clamp(entry.retry * 2, retry_first, retry_max);
  entry.next = now + entry.retry;
  return std::exchange(entry.why_not, why_not) == why_not ? Outcome::repeats : Outcome::waits;
}

std::optional<io::Address> OwnSlice::look(std::span<const io::Address> lost, Instant now) {
  std::optional<io::Address> gone;
  for (auto& [address, entry] : entries_) {
    if (!entry.found) continue;
    if (std::ranges::find(lost, address) == lost.end()) {
      entry.lost_since.reset();
      continue;
    }
    if (!entry.lost_since) entry.lost_since = now;
    if (gone || entry.named || now - *entry.lost_since < loss_min) continue;
    gone = address;
  }
  if (gone) entries_.erase(*gone);
  return gone;
}

std::vector<io::Address> OwnSlice::found() const {
  std::vector<io::Address> found;
  for (const auto& [address, entry] : entries_) {
    if (entry.found) found.push_back(address);
  }
  return found;
}

bool OwnSlice::settled() const {
  return asked_ && std::ranges::all_of(entries_, [](const auto& entry) {
           return entry.second.tried || entry.second.found;
         });
}

std::size_t OwnSlice::candidates() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      entries_, [](const auto& entry) { return entry.second.named && !entry.second.found; }));
}

}  // namespace sluice::discovery
