// SPDX-License-Identifier: GPL-3.0-or-later
// The field list.
#include "sluice/http/fields.h"

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

std::size_t Fields::list_bytes() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.name_size + entry.value_size + 32;
  return bytes;
}

}  // namespace sluice::http
