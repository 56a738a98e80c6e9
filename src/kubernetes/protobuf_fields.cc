// SPDX-License-Identifier: GPL-3.0-or-later
// One pass over a message.
#include "protobuf_fields.h"

namespace sluice::kubernetes {
namespace {

// Takes it off `rest`; nothing when it has no end, or more than 64 bits.
std::optional<std::uint64_t> take_varint(std::string_view& rest) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < rest.size() && i < 10; ++i) {
    const auto byte = static_cast<unsigned char>(rest[i]);
    if (i == 9 && byte > 1) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      rest.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> take_bytes(std::string_view& rest, std::uint64_t count) {
  if (count > rest.size()) return std::nullopt;
  const std::string_view taken = rest.substr(0, static_cast<std::size_t>(count));
  rest.remove_prefix(taken.size());
  return taken;
}

}  // namespace

ProtobufFields::Value ProtobufFields::find(std::uint64_t field) const {
  Value found;
  for (std::string_view rest = message_; !rest.empty();) {
    const auto tag = take_varint(rest);
    if (!tag) return {};
    Value value;
    std::optional<std::string_view> bytes;
    switch (*tag & 7) {
      case 0:
        value.number = take_varint(rest);
        if (!value.number) return {};
        break;
      case 1: bytes = take_bytes(rest, 8); break;
      case 2:
        if (const auto length = take_varint(rest)) bytes = take_bytes(rest, *length);
        break;
      case 5: bytes = take_bytes(rest, 4); break;
      default: return {};
    }
    if (!value.number && !bytes) return {};
    if (bytes && (*tag & 7) == 2) value.bytes = *bytes;
    if (*tag >> 3 == field) found = value;
  }
  return found;
}

}  // namespace sluice::kubernetes
