// SPDX-License-Identifier: GPL-3.0-or-later
// What a peer may make us do without sending application data: key updates, empty records, alerts
// and change-cipher-specs all cost work and bring nothing, so they are counted, record by record.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"

namespace sluice::tls {

class RecordBudget {
 public:
  // `read_ahead`: the library may take records without looking at them yet.
  explicit RecordBudget(bool read_ahead) : read_ahead_(read_ahead) {}

  // The library has taken these bytes: each record counts with its last byte.
  void taken(Bytes bytes);
  // From here on it is for what comes between application data.
  void established() { left_ = idle_records_max; }
  // One record with application data was read.
  void data_read();

  bool exhausted() const { return left_ < 0; }
  // Not even what the library might have taken ahead explains how many there were.
  bool far_exhausted() const { return left_ < (read_ahead_ ? -records_ahead_max : -1); }

 private:
  static constexpr int handshake_records_max = 2048;
  // Records without application data: so many at once, and one more for so many with it.
  static constexpr int idle_records_max = 64;
  static constexpr int data_records_per_idle_record = 16;
  static constexpr int records_ahead_max = 1024;

  bool read_ahead_;
  int left_ = handshake_records_max;
  int data_records_ = 0;
  // Where in a record the bytes that were taken end.
  std::uint8_t header_[5] = {};
  std::uint8_t header_bytes_ = 0;
  std::uint32_t record_left_ = 0;
};

}  // namespace sluice::tls
