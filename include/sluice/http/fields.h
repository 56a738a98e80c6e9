// SPDX-License-Identifier: GPL-3.0-or-later
// A list of header fields in the order in which they arrived, names in lower case. All bytes lie in
// one arena, so that a list costs two allocations however long it is, and none when it is reused.
// Views returned are valid until the next add or clear.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::http {

struct Field {
  std::string_view name;
  std::string_view value;
  bool never_indexed;  // RFC 7541 section 7.1.3: must not enter a compression table
};

class Fields {
 public:
  // `name` must be lower case (RFC 9113 section 8.2).
  void add(std::string_view name, std::string_view value, bool never_indexed = false);

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Field operator[](std::size_t index) const;

  // The value of the first field of that name.
  std::optional<std::string_view> find(std::string_view name) const;
  bool contains(std::string_view name) const { return find(name).has_value(); }

  // Removes each field for which `drop(field)` is true, keeping the order of the others.
  template <class F>
  std::size_t remove_if(F&& drop) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!drop((*this)[i])) entries_[kept++] = entries_[i];
    }
    const std::size_t removed = entries_.size() - kept;
    entries_.resize(kept);
    return removed;
  }

  // Forgets all but the first field of that name, of which it keeps `value_bytes_max`; memory above
  // `kept_bytes_max` is given back.
  void keep_only(std::string_view name, std::size_t value_bytes_max);
  static constexpr std::size_t kept_bytes_max = 4096;

  // The size of the list as RFC 9113 section 6.5.2 counts it: 32 bytes are added to each field.
  std::size_t list_bytes() const;

  void clear() {
    arena_.clear();
    entries_.clear();
  }
  // Memory that is held, whether used or not.
  std::size_t held_bytes() const { return arena_.capacity() + entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    std::uint32_t name_begin;
    std::uint32_t name_size;
    std::uint32_t value_begin;
    std::uint32_t value_size;
    bool never_indexed;
  };
  std::string arena_;
  std::vector<Entry> entries_;
};

}  // namespace sluice::http
