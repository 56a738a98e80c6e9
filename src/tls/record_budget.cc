// SPDX-License-Identifier: GPL-3.0-or-later
// Follows the headers of records (RFC 8446 section 5.1), in whatever pieces they come.
#include "record_budget.h"

#include <algorithm>
#include <cstring>

namespace sluice::tls {

void RecordBudget::taken(Bytes bytes) {
  while (!bytes.empty()) {
    if (record_left_ > 0) {
      const std::size_t part = std::min<std::size_t>(record_left_, bytes.size());
      record_left_ -= static_cast<std::uint32_t>(part);
      bytes = bytes.subspan(part);
      if (record_left_ == 0) --left_;
      continue;
    }
    const std::size_t part = std::min(sizeof(header_) - header_bytes_, bytes.size());
    std::memcpy(header_ + header_bytes_, bytes.data(), part);
    header_bytes_ = static_cast<std::uint8_t>(header_bytes_ + part);
    bytes = bytes.subspan(part);
    if (header_bytes_ < sizeof(header_)) return;
    header_bytes_ = 0;
    record_left_ = static_cast<std::uint32_t>(header_[3]) << 8 | header_[4];
    if (record_left_ == 0) --left_;
  }
}

// The record's own place in the budget, and something on top for every few of them.
void RecordBudget::data_read() {
  int earned = 1;
  if (++data_records_ >= data_records_per_idle_record) {
    data_records_ = 0;
    ++earned;
  }
  left_ = std::min(left_ + earned, idle_records_max);
}

}  // namespace sluice::tls
