// SPDX-License-Identifier: GPL-3.0-or-later
// Resources that a connection has seen.
#include "sluice/proxy/resource_memory.h"

#include <algorithm>
#include <array>
#include <functional>

namespace sluice::proxy {

struct ResourceMemory::State {
  std::array<Entry, resources_max> entries;
  std::size_t used = 0;
};

void ResourceMemory::Free::operator()(State* state) const { delete state; }

ResourceMemory::Name ResourceMemory::name_of(std::string_view group, std::string_view resource) {
  const std::hash<std::string_view> hash;
  return Name{hash(resource) * 31 + hash(group)};
}

const ResourceMemory::Entry* ResourceMemory::find(Name resource) const {
  if (empty()) return nullptr;
  for (std::size_t i = 0; i < state_->used; ++i) {
    if (state_->entries[i].resource == resource) return &state_->entries[i];
  }
  return nullptr;
}

ResourceMemory::Entry& ResourceMemory::entry(Name resource) {
  if (empty()) state_.reset(new State);
  for (std::size_t i = 0; i < state_->used; ++i) {
    if (state_->entries[i].resource == resource) return state_->entries[i];
  }
  Entry& taken =
      state_->used < resources_max
          ? state_->entries[state_->used++]
          : *std::ranges::min_element(
                state_->entries, {}, [](const Entry& entry) { return entry.newest.when; });
  taken = {.resource = resource, .written = {}, .newest = {}};
  return taken;
}

void ResourceMemory::wrote(Name resource, std::size_t backend, Instant now) {
  Entry& noted = entry(resource);
  noted.written = noted.newest = {now, backend};
}

void ResourceMemory::read(Name resource, std::size_t backend, Instant now) {
  entry(resource).newest = {now, backend};
}

std::optional<std::size_t> ResourceMemory::within(const Seen& seen, Duration within, Instant now) {
  if (seen.backend == SIZE_MAX || now - seen.when >= within) return std::nullopt;
  return seen.backend;
}

std::optional<std::size_t> ResourceMemory::written_at(Name resource, Duration within,
                                                      Instant now) const {
  const Entry* found = find(resource);
  return found == nullptr ? std::nullopt : ResourceMemory::within(found->written, within, now);
}

std::optional<std::size_t> ResourceMemory::newest_at(Name resource, Duration within,
                                                     Instant now) const {
  const Entry* found = find(resource);
  return found == nullptr ? std::nullopt : ResourceMemory::within(found->newest, within, now);
}

}  // namespace sluice::proxy
