// SPDX-License-Identifier: GPL-3.0-or-later
// Which version of Kubernetes' API a server serves, as numbers that can be compared: while a
// cluster is upgraded, or some of its servers emulate an older version, they differ. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::backend {

struct ApiVersion {
  std::uint16_t major = 0;
  std::uint16_t minor = 0;

  // One number, larger for what is newer; 0: not known.
  constexpr std::uint32_t number() const { return std::uint32_t{major} << 16 | minor; }
  static constexpr ApiVersion of(std::uint32_t number) {
    return {static_cast<std::uint16_t>(number >> 16), static_cast<std::uint16_t>(number & 0xffff)};
  }
  std::string to_string() const;  // "1.37"
  friend bool operator==(const ApiVersion&, const ApiVersion&) = default;
};

// Of the answer to /version (k8s.io/apimachinery pkg/version/types.go): the version that is
// emulated, else that of the program. Nothing when it is not such an answer.
std::optional<ApiVersion> read_api_version(std::string_view json);

}  // namespace sluice::backend
