// SPDX-License-Identifier: GPL-3.0-or-later
// Kubeconfigs. One that is taken says where, whom to trust and who we are; one that is not says
// why.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/base/check.h"
#include "sluice/discovery/kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = sluice::discovery::parse_kubeconfig(text);
  if (!config) {
    CHECK(!config.error().context.empty());
    return 0;
  }
  CHECK(config->authority.given() && !config->server_name.empty());
  CHECK(config->certificate.given() == config->key.given());
  CHECK(config->token.given() || config->certificate.given());
  CHECK(config->path.empty() || (config->path.starts_with('/') && !config->path.ends_with('/')));
  return 0;
}
