// SPDX-License-Identifier: GPL-3.0-or-later
// A short list.
#include "expired_resources.h"

#include <algorithm>

#include "sluice/base/ascii.h"

namespace sluice::proxy {
namespace {

bool is(std::string_view name, std::string_view api_group, std::string_view resource) {
  return name.size() == api_group.size() + 1 + resource.size() && name.starts_with(api_group) &&
         name[api_group.size()] == '/' && name.ends_with(resource);
}

bool is_number(std::string_view version) {
  return !version.empty() && std::ranges::all_of(version, ascii::is_digit);
}

// Of numbers of any length (etcd's have up to 19 digits), and without leading zeros.
bool is_at_most(std::string_view version, std::string_view newest) {
  if (!is_number(version) || !is_number(newest)) return version == newest;
  return version.size() != newest.size() ? version.size() < newest.size() : version <= newest;
}

}  // namespace

bool ExpiredResources::learn(std::string_view api_group, std::string_view resource,
                             std::string_view version, Instant now) {
  if (api_group.size() + 1 + resource.size() > name_bytes_max) return false;
  if (version.size() > version_bytes_max) return false;
  bool known = false;
  std::string newest(version);
  std::erase_if(entries_, [&](Entry& entry) {
    if (entry.until <= now) return true;
    if (!is(entry.name, api_group, resource)) return false;
    known = true;
    if (is_number(entry.version) && is_at_most(version, entry.version)) newest = entry.version;
    return true;
  });
  if (entries_.size() == entries_max) entries_.erase(entries_.begin());
  std::string name(api_group);
  name += '/';
  name += resource;
  entries_.push_back({std::move(name), std::move(newest), now + kept});
  return !known;
}

bool ExpiredResources::contains(std::string_view api_group, std::string_view resource,
                                std::string_view version, Instant now) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) {
    return entry.until > now && is(entry.name, api_group, resource) &&
           is_at_most(version, entry.version);
  });
}

}  // namespace sluice::proxy
