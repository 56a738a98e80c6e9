// SPDX-License-Identifier: GPL-3.0-or-later
// The field list.
#include "sluice/http/fields.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::http {

void Fields::add(std::string_view name, std::string_view value, bool never_indexed) {
  const auto begin = static_cast<std::uint32_t>(arena_.size());
  CHECK_LE(arena_.size() + name.size() + value.size(), std::size_t{UINT32_MAX});
  arena_.append(name).append(value);
  entries_.push_back({begin, static_cast<std::uint32_t>(name.size()),
                      begin + static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(value.size()), never_indexed});
}

Field Fields::operator[](std::size_t index) const {
  const Entry& entry = entries_[index];
  const std::string_view all(arena_);
  return {all.substr(entry.name_begin, entry.name_size),
          all.substr(entry.value_begin, entry.value_size), entry.never_indexed};
}

std::optional<std::string_view> Fields::find(std::string_view name) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (const Field field = (*this)[i]; field.name == name) return field.value;
  }
  return std::nullopt;
}

void Fields::keep_only(std::string_view name, std::size_t value_bytes_max) {
  const auto found = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return std::string_view(arena_).substr(entry.name_begin, entry.name_size) == name;
  });
  if (found == entries_.end()) {
    clear();
  } else {
    Entry kept = *found;
    kept.value_size =
        static_cast<std::uint32_t>(std::min<std::size_t>(kept.value_size, value_bytes_max));
    arena_.resize(kept.value_begin + kept.value_size);
    arena_.erase(0, kept.name_begin);
    kept.value_begin -= kept.name_begin;
    kept.name_begin = 0;
    entries_.assign(1, kept);
  }
  if (held_bytes() <= kept_bytes_max) return;
  arena_.shrink_to_fit();
  entries_.shrink_to_fit();
}

std::size_t Fields::list_bytes() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.name_size + entry.value_size + 32;
  return bytes;
}

}  // namespace sluice::http
