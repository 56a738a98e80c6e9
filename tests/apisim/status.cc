// SPDX-License-Identifier: GPL-3.0-or-later
// Status objects.
#include "status.h"

#include <fmt/format.h>

#include "json.h"

namespace sluice::apisim {

std::string StatusError::to_json() const {
  std::string out = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure")";
  out += ",\"message\":";
  append_json_string(out, message);
  if (!reason.empty()) {
    out += ",\"reason\":";
    append_json_string(out, reason);
  }
  if (!details.empty()) out += ",\"details\":" + details;
  out += fmt::format(",\"code\":{}}}\n", code);
  return out;
}

namespace {
std::string named(std::string_view resource, std::string_view name) {
  return fmt::format("{{\"name\":{},\"kind\":{}}}", json_string(name), json_string(resource));
}
}  // namespace

StatusError not_found(std::string_view resource, std::string_view name) {
  return {404, "NotFound", fmt::format("{} \"{}\" not found", resource, name),
          named(resource, name)};
}

StatusError already_exists(std::string_view resource, std::string_view name) {
  return {409, "AlreadyExists", fmt::format("{} \"{}\" already exists", resource, name),
          named(resource, name)};
}

StatusError conflict(std::string_view resource, std::string_view name, std::string_view why) {
  return {409, "Conflict",
          fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", resource, name, why),
          named(resource, name)};
}

StatusError bad_request(std::string_view why) { return {400, "BadRequest", std::string(why), {}}; }

StatusError invalid(std::string_view kind, std::string_view name, std::string_view why) {
  return {422, "Invalid", fmt::format("{} \"{}\" is invalid: {}", kind, name, why),
          named(kind, name)};
}

StatusError unauthorized() { return {401, "Unauthorized", "Unauthorized", {}}; }

StatusError forbidden(std::string_view message) {
  return {403, "Forbidden", std::string(message), {}};
}

StatusError expired(std::string_view message) { return {410, "Expired", std::string(message), {}}; }

StatusError too_large_revision(std::uint64_t wanted, std::uint64_t current) {
  return {
      504, "Timeout", fmt::format("Too large resource version: {}, current: {}", wanted, current),
      R"({"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],)"
      R"("retryAfterSeconds":1})"};
}

StatusError method_not_allowed() {
  return {405, "MethodNotAllowed",
          "the server does not allow this method on the requested resource", "{}"};
}

StatusError unsupported_media_type(std::string_view got) {
  return {415,
          "UnsupportedMediaType",
          fmt::format("the body of the request was in an unknown format - accepted media types "
                      "include: application/json (got {})",
                      got),
          {}};
}

StatusError body_too_large() {
  return {413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", {}};
}

StatusError internal_error(std::string_view why) {
  return {500, "InternalError", fmt::format("Internal error occurred: {}", why),
          fmt::format(R"({{"causes":[{{"message":{}}}]}})", json_string(why))};
}

// pkg/storage/cacher/ready.go.
StatusError initializing() {
  return {429, "TooManyRequests", "storage is (re)initializing", R"({"retryAfterSeconds":1})"};
}

StatusError page_not_found() {
  return {404, "NotFound", "the server could not find the requested resource", "{}"};
}

}  // namespace sluice::apisim
