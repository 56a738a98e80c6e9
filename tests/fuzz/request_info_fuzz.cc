// SPDX-License-Identifier: GPL-3.0-or-later
// Request info of any method and path: the first line is the method, the rest the path. Beyond not
// crashing, the views must lie in the input or in the scratch memory, and the facts must agree with
// each other.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/kubernetes/request_info.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  using namespace sluice::kubernetes;
  const std::string_view input = as_text({data, size});
  const std::size_t line = input.find('\n');
  const std::string_view method = line == std::string_view::npos ? "GET" : input.substr(0, line);
  const std::string_view path = line == std::string_view::npos ? input : input.substr(line + 1);

  const RequestInfo info = parse_request_info(method, path);
  const auto touch = [](std::string_view text) {  // so that a sanitizer sees views of freed memory
    std::size_t sum = 0;
    for (const char c : text) sum += static_cast<unsigned char>(c);
    CHECK(sum <= 255 * text.size());
  };
  for (const std::string_view text :
       {info.path, info.verb, info.api_prefix, info.api_group, info.api_version,
        info.namespace_name, info.resource, info.subresource, info.name, info.field_selector,
        info.label_selector, info.resource_version, info.continue_token}) {
    touch(text);
  }
  CHECK(info.scratch != nullptr || path.find_first_of("%+\\") != std::string_view::npos ||
        info.path == path.substr(0, path.find('?')));
  if (!info.is_resource)
    CHECK(info.resource.empty() && info.name.empty() && info.api_version.empty());
  if (info.path_verb) CHECK(info.verb == "watch" || info.verb == "proxy");

  const RequestClass request_class = classify(info);
  // Nothing that the API server lets run for long may get a deadline, nothing malformed a replay.
  if (is_long_running(info) || info.malformed) CHECK(!has_deadline(request_class));
  if (info.malformed) CHECK(!may_replay_when_lost(request_class));
  if (check_path(path)) {
    CHECK(path.starts_with('/'));
    const auto plain = path.substr(0, path.find('?'));
    CHECK(std::all_of(plain.begin(), plain.end(), [](char c) { return c > 0x20 && c < 0x7f; }));
    CHECK(std::none_of(path.begin(), path.end(),
                       [](char c) { return (c >= 0 && c <= 0x20) || c == 0x7f; }));
    CHECK(info.path.find('\0') == std::string_view::npos);
  }
  return 0;
}
