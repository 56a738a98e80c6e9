// SPDX-License-Identifier: GPL-3.0-or-later
// A small JSON document: what clients send in the bodies of writes, and what the control interface
// answers. Members keep their order and numbers keep their spelling, so that an object that is
// stored and read again is the same text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "sluice/base/error.h"

namespace sluice::apisim {

// Appends `text` with quotes and escapes. Bytes above 0x7F pass as they are.
void append_json_string(std::string& out, std::string_view text);
std::string json_string(std::string_view text);

class Json {
 public:
  struct Number {
    std::string text;
  };
  using Array = std::vector<Json>;
  using Member = std::pair<std::string, Json>;
  using Object = std::vector<Member>;

  Json() = default;
  Json(bool value) : value_(value) {}                           // NOLINT: implicit by intent
  Json(std::string value) : value_(std::move(value)) {}         // NOLINT
  Json(std::string_view value) : value_(std::string(value)) {}  // NOLINT
  Json(const char* value) : value_(std::string(value)) {}       // NOLINT
  Json(std::uint64_t value) : value_(Number{std::to_string(value)}) {}  // NOLINT
  Json(Array value) : value_(std::move(value)) {}                       // NOLINT
  Json(Object value) : value_(std::move(value)) {}                      // NOLINT

  static Result<Json> parse(std::string_view text);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  const std::string* string() const { return std::get_if<std::string>(&value_); }
  const Array* array() const { return std::get_if<Array>(&value_); }
  Array* array() { return std::get_if<Array>(&value_); }
  const Object* object() const { return std::get_if<Object>(&value_); }
  Object* object() { return std::get_if<Object>(&value_); }

  // The member of an object; null when this is no object or has no such member.
  const Json* find(std::string_view name) const;
  Json* find(std::string_view name);
  // The string at this member, or an empty one.
  std::string_view text(std::string_view name) const;
  // Sets or adds a member; this becomes an object if it is none.
  void set(std::string_view name, Json value);
  void erase(std::string_view name);

  void append_to(std::string& out) const;
  std::string to_string() const;

 private:
  friend class JsonParser;
  std::variant<std::monostate, bool, Number, std::string, Array, Object> value_;
};

// RFC 7386: members of `patch` replace, null removes, objects merge.
void merge_patch(Json& target, const Json& patch);

}  // namespace sluice::apisim
