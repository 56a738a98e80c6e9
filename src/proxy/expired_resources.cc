// SPDX-License-Identifier: GPL-3.0-or-later
// A short list.
#include "expired_resources.h"

#include <algorithm>

namespace sluice::proxy {
namespace {

bool is(std::string_view name, std::string_view api_group, std::string_view resource) {
  return name.size() == api_group.size() + 1 + resource.size() && name.starts_with(api_group) &&
         name[api_group.size()] == '/' && name.ends_with(resource);
}

}  // namespace

void ExpiredResources::learn(std::string_view api_group, std::string_view resource, Instant now) {
  if (api_group.size() + 1 + resource.size() > name_bytes_max) return;
  std::erase_if(entries_, [&](const Entry& entry) {
    return entry.until <= now || is(entry.name, api_group, resource);
  });
  if (entries_.size() == entries_max) entries_.erase(entries_.begin());
  std::string name(api_group);
  name += '/';
  name += resource;
  entries_.push_back({std::move(name), now + kept});
}

bool ExpiredResources::contains(std::string_view api_group, std::string_view resource,
                                Instant now) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) {
    return entry.until > now && is(entry.name, api_group, resource);
  });
}

}  // namespace sluice::proxy
