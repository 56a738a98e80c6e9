// SPDX-License-Identifier: GPL-3.0-or-later
// The fields of one protobuf message that is there as a whole
// (protobuf.dev/programming-guides/encoding). The last one of a number counts, as in every reader;
// of a message that is not in order no field is there.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::kubernetes {

class ProtobufFields {
 public:
  // A view of it, which must outlive the results.
  explicit ProtobufFields(std::string_view message) : message_(message) {}

  // Text, bytes or a message; empty when there is no such field.
  std::string_view bytes(std::uint64_t field) const { return find(field).bytes; }
  // A varint.
  std::optional<std::uint64_t> number(std::uint64_t field) const { return find(field).number; }

 private:
  struct Value {
    std::optional<std::uint64_t> number;
    std::string_view bytes;
  };
  Value find(std::uint64_t field) const;

  std::string_view message_;
};

}  // namespace sluice::kubernetes
