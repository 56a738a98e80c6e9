// SPDX-License-Identifier: GPL-3.0-or-later
// Errors as a kube-apiserver words them: Status objects (k8s.io/apimachinery pkg/api/errors).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace sluice::apisim {

struct StatusError {
  int code = 500;
  std::string reason;
  std::string message;
  std::string details;            // JSON of `details`, empty for none
  std::uint32_t retry_after = 0;  // seconds; 0 for no Retry-After field

  std::string to_json() const;
};

template <class T>
using ApiResult = std::expected<T, StatusError>;

StatusError not_found(std::string_view resource, std::string_view name);
StatusError already_exists(std::string_view resource, std::string_view name);
StatusError conflict(std::string_view resource, std::string_view name, std::string_view why);
StatusError bad_request(std::string_view why);
StatusError invalid(std::string_view kind, std::string_view name, std::string_view why);
StatusError unauthorized();
StatusError forbidden(std::string_view message);
StatusError expired(std::string_view message);
StatusError too_large_revision(std::uint64_t wanted, std::uint64_t current);
StatusError method_not_allowed();
StatusError unsupported_media_type(std::string_view got);
StatusError body_too_large();
StatusError internal_error(std::string_view why);
StatusError initializing();
StatusError page_not_found();

}  // namespace sluice::apisim
