// SPDX-License-Identifier: GPL-3.0-or-later
// A reader of DER (X.690): definite, minimal lengths and single-byte tags only. Each read either
// takes one whole element off the front or fails and changes nothing; it never looks past the end.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/base/bytes.h"

namespace sluice::kubernetes {

enum class DerTag : std::uint8_t {
  boolean = 0x01,
  integer = 0x02,
  bit_string = 0x03,
  octet_string = 0x04,
  object_identifier = 0x06,
  utf8_string = 0x0c,
  numeric_string = 0x12,
  printable_string = 0x13,
  t61_string = 0x14,
  ia5_string = 0x16,
  utc_time = 0x17,
  generalized_time = 0x18,
  bmp_string = 0x1e,
  sequence = 0x30,
  set = 0x31,
};

constexpr DerTag context_tag(unsigned number, bool constructed) {
  return static_cast<DerTag>(0x80U | number | (constructed ? 0x20U : 0U));
}

class DerReader {
 public:
  explicit DerReader(Bytes bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  bool next_is(DerTag tag) const {
    return !rest_.empty() && rest_[0] == static_cast<std::uint8_t>(tag);
  }

  // Takes one element of any kind.
  bool read_any(DerTag& tag, Bytes& contents) {
    if (rest_.size() < 2 || (rest_[0] & 0x1f) == 0x1f) return false;
    std::size_t header = 2;
    std::size_t length = rest_[1];
    if (length >= 0x80) {
      const std::size_t octets = length & 0x7f;
      if (octets == 0 || octets > 4 || rest_.size() < 2 + octets || rest_[2] == 0) return false;
      length = 0;
      for (std::size_t i = 0; i < octets; ++i) length = (length << 8) | rest_[2 + i];
      if (length < 0x80) return false;
      header += octets;
    }
    if (rest_.size() - header < length) return false;
    tag = static_cast<DerTag>(rest_[0]);
    contents = rest_.subspan(header, length);
    rest_ = rest_.subspan(header + length);
    return true;
  }

  // Takes one element, which must be of this kind.
  bool read(DerTag tag, Bytes& contents) {
    DerTag found{};
    return next_is(tag) && read_any(found, contents);
  }

 private:
  Bytes rest_;
};

}  // namespace sluice::kubernetes
