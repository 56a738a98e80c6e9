// SPDX-License-Identifier: GPL-3.0-or-later
// A reader of protobuf's wire format, and the few messages that are needed.
#include "protobuf.h"

#include <cstdint>
#include <optional>

namespace sluice::apisim {

namespace {

using namespace std::string_view_literals;

std::unexpected<Error> bad(std::string_view why) {
  return fail(ErrorKind::invalid_argument, std::string(why), Side::client);
}

// One field of a message: its number, and its bytes when it is length-delimited.
struct Field {
  std::uint64_t number = 0;
  std::string_view bytes;
};

class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  // Nothing at the end and after an error.
  std::optional<Field> next() {
    if (rest_.empty() || failed_) return std::nullopt;
    const std::uint64_t key = varint();
    Field field{key >> 3, {}};
    switch (key & 7) {
      case 0: varint(); break;
      case 1: take(8); break;
      case 2: field.bytes = take(varint()); break;
      case 5: take(4); break;
      default: failed_ = true;
    }
    if (failed_) return std::nullopt;
    return field;
  }
  bool failed() const { return failed_; }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const std::string_view byte = take(1);
      if (failed_) return 0;
      const auto bits = static_cast<unsigned char>(byte.front());
      value |= static_cast<std::uint64_t>(bits & 0x7F) << shift;
      if (bits < 0x80) return value;
    }
    failed_ = true;
    return 0;
  }
  std::string_view take(std::uint64_t bytes) {
    if (bytes > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
  bool failed_ = false;
};

// A map entry: key 1, value 2.
bool add_entry(Json& map, std::string_view bytes, bool base64) {
  Message entry(bytes);
  std::string key;
  std::string value;
  while (const auto field = entry.next()) {
    if (field->number == 1) key = field->bytes;
    if (field->number == 2) value = field->bytes;
  }
  if (entry.failed()) return false;
  if (base64) {
    constexpr std::string_view digits =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t i = 0; i < value.size(); i += 3) {
      std::uint32_t bits = 0;
      for (std::size_t j = 0; j < 3; ++j) {
        bits <<= 8;
        if (i + j < value.size()) bits |= static_cast<unsigned char>(value[i + j]);
      }
      for (std::size_t j = 0; j < 4; ++j) {
        const bool filled = i + j <= value.size();
        text.push_back(filled ? digits[(bits >> (18 - 6 * j)) & 63] : '=');
      }
    }
    value = std::move(text);
  }
  map.set(key, std::move(value));
  return true;
}

bool read_metadata(std::string_view bytes, Json& object) {
  Json metadata = Json::Object();
  Json labels;
  Json annotations;
  Message message(bytes);
  while (const auto field = message.next()) {
    switch (field->number) {
      case 1: metadata.set("name", field->bytes); break;
      case 2: metadata.set("generateName", field->bytes); break;
      case 3: metadata.set("namespace", field->bytes); break;
      case 6: metadata.set("resourceVersion", field->bytes); break;
      case 11:
        if (!add_entry(labels, field->bytes, false)) return false;
        break;
      case 12:
        if (!add_entry(annotations, field->bytes, false)) return false;
        break;
      default: break;
    }
  }
  if (!labels.is_null()) metadata.set("labels", std::move(labels));
  if (!annotations.is_null()) metadata.set("annotations", std::move(annotations));
  object.set("metadata", std::move(metadata));
  return !message.failed();
}

}  // namespace

Result<Json> read_protobuf(std::string_view body, Resource resource) {
  constexpr std::string_view magic = "k8s\0"sv;
  if (!body.starts_with(magic)) return bad("the body has no protobuf prefix");
  if (resource == Resource::pods) return bad("pods are understood as JSON only");
  Message unknown(body.substr(magic.size()));
  std::string_view raw;
  while (const auto field = unknown.next()) {
    if (field->number == 2) raw = field->bytes;
  }
  if (unknown.failed()) return bad("the protobuf envelope is broken");

  Json object = Json::Object();
  Json data;
  Json binary_data;
  Message message(raw);
  while (const auto field = message.next()) {
    bool good = true;
    if (field->number == 1) good = read_metadata(field->bytes, object);
    if (resource == Resource::configmaps) {
      if (field->number == 2) good = add_entry(data, field->bytes, false);
      if (field->number == 3) good = add_entry(binary_data, field->bytes, true);
    }
    if (!good) return bad("the protobuf object is broken");
  }
  if (message.failed()) return bad("the protobuf object is broken");
  if (!data.is_null()) object.set("data", std::move(data));
  if (!binary_data.is_null()) object.set("binaryData", std::move(binary_data));
  return object;
}

}  // namespace sluice::apisim
