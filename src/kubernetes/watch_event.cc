// SPDX-License-Identifier: GPL-3.0-or-later
// A look into three encodings, as far as one event of one form goes.
#include "sluice/kubernetes/watch_event.h"

#include <algorithm>
#include <array>
#include <optional>

#include "cbor_reader.h"
#include "inflate_begin.h"
#include "protobuf_fields.h"
#include "sluice/base/ascii.h"

namespace sluice::kubernetes {
namespace {

constexpr std::string_view error_type = "ERROR";
constexpr std::uint64_t gone = 410;  // http.StatusGone, of the reasons Gone and Expired

// Whether one of them begins with the other.
bool agree(std::string_view a, std::string_view b) {
  const std::size_t n = std::min(a.size(), b.size());
  return a.substr(0, n) == b.substr(0, n);
}

FirstEvent verdict(bool expired) { return expired ? FirstEvent::expired : FirstEvent::other; }

// --- JSON ------------------------------------------------------------------------------------

// Behind the string that begins at `quote`; nothing when it does not end.
std::optional<std::size_t> end_of_string(std::string_view text, std::size_t quote) {
  for (std::size_t i = quote + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i;
    }
  }
  return std::nullopt;
}

// The member "code" of the object that has just begun, up to the end of the event behind it.
FirstEvent look_at_status(std::string_view text) {
  int depth = 1;
  std::string_view last_string;
  std::string_view member;
  std::string_view code;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const auto end = end_of_string(text, i);
      if (!end) return FirstEvent::unfinished;
      if (depth == 1) last_string = text.substr(i + 1, *end - i - 1);
      i = *end;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (--depth > 0) continue;
      if (i + 1 == text.size()) return FirstEvent::unfinished;
      return verdict(text[i + 1] == '}' && code == "410");
    } else if (depth == 1 && c == ':') {
      member = last_string;
    } else if (depth == 1 && c == ',') {
      member = {};
    } else if (depth == 1 && member == "code") {
      const std::size_t end = text.find_first_of(",}", i);
      if (end == std::string_view::npos) return FirstEvent::unfinished;
      code = text.substr(i, end - i);
      i = end - 1;
    }
  }
  return FirstEvent::unfinished;
}

// Servers write an event's members in the order of metav1.WatchEvent, without spaces.
FirstEvent look_at_json(std::string_view text) {
  constexpr std::string_view begin = R"({"type":"ERROR","object":{)";
  if (!agree(text, begin)) return FirstEvent::other;
  if (text.size() < begin.size()) return FirstEvent::unfinished;
  return look_at_status(text.substr(begin.size()));
}

// --- Protobuf --------------------------------------------------------------------------------

// k8s.io/apimachinery pkg/apis/meta/v1/generated.proto, pkg/runtime/generated.proto.
FirstEvent look_at_protobuf(std::string_view text) {
  constexpr std::size_t length_bytes = 4;
  constexpr std::string_view begin =
      "\x0a\x05"
      "ERROR";  // field 1
  constexpr std::string_view magic{"k8s\0", 4};
  if (text.size() < length_bytes) return FirstEvent::unfinished;
  std::size_t length = 0;
  for (const char c : text.substr(0, length_bytes)) {
    length = length << 8 | static_cast<unsigned char>(c);
  }
  const std::string_view event = text.substr(length_bytes, length);
  if (length > first_event_bytes_max || !agree(event, begin)) return FirstEvent::other;
  if (event.size() < length) return FirstEvent::unfinished;
  const ProtobufFields fields(event);
  if (fields.bytes(1) != error_type) return FirstEvent::other;
  const std::string_view object = ProtobufFields(fields.bytes(2)).bytes(1);
  if (!object.starts_with(magic)) return FirstEvent::other;
  const std::string_view status = ProtobufFields(object.substr(magic.size())).bytes(2);
  return verdict(ProtobufFields(status).number(6) == gone);
}

// --- CBOR ------------------------------------------------------------------------------------

std::optional<std::uint64_t> code_of_status(CborReader& in) {
  std::optional<std::uint64_t> code;
  const auto members = in.map();
  if (!members) return std::nullopt;
  for (std::uint64_t i = 0; i < *members && in.good(); ++i) {
    if (in.text() == "code") {
      code = in.number();
    } else {
      in.skip();
    }
  }
  return code;
}

// Servers write maps in any order.
FirstEvent look_at_cbor(std::string_view text) {
  CborReader in(text);
  bool is_error = false;
  std::optional<std::uint64_t> code;
  const auto members = in.map();
  for (std::uint64_t i = 0; members && i < *members && in.good(); ++i) {
    const auto member = in.text();
    if (member == "type") {
      const auto type = in.text();
      if (type && *type != error_type) return FirstEvent::other;
      is_error = type.has_value();
    } else if (member == "object") {
      code = code_of_status(in);
    } else {
      in.skip();
    }
  }
  if (in.unfinished()) return FirstEvent::unfinished;
  return verdict(in.good() && is_error && code == gone);
}

// ---------------------------------------------------------------------------------------------

using Look = FirstEvent (*)(std::string_view);

// Without its parameters.
Look look_for(std::string_view content_type) {
  const std::string_view type = content_type.substr(0, content_type.find_first_of("; \t"));
  if (ascii::equal_ignoring_case(type, "application/json")) return look_at_json;
  if (ascii::equal_ignoring_case(type, "application/vnd.kubernetes.protobuf"))
    return look_at_protobuf;
  if (ascii::equal_ignoring_case(type, "application/cbor-seq")) return look_at_cbor;
  return nullptr;
}

}  // namespace

FirstEvent look_at_first_event(const http::ResponseHead& head, std::string_view body) {
  const Look look = look_for(head.fields.find("content-type").value_or(""));
  if (look == nullptr || body.size() > first_event_bytes_max) return FirstEvent::other;
  FirstEvent seen = FirstEvent::unfinished;
  std::size_t bytes = body.size();
  if (const auto encoding = head.fields.find("content-encoding"); !encoding) {
    seen = look(body);
  } else if (*encoding == "gzip") {
    std::array<char, first_event_bytes_max> room;
    const auto inflated = inflate_begin(body, room);
    if (!inflated) return FirstEvent::other;
    seen = look(*inflated);
    bytes = std::max(bytes, inflated->size());
  } else {
    return FirstEvent::other;
  }
  const bool full = bytes >= first_event_bytes_max;
  return full && seen == FirstEvent::unfinished ? FirstEvent::other : seen;
}

}  // namespace sluice::kubernetes
