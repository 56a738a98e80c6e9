// SPDX-License-Identifier: GPL-3.0-or-later
// What a request asks for: the verb, resource and parameters that a path and its query mean.
// Written for the simulated servers alone, so that a mistake in the proxy's reading of a path is
// not repeated here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::apisim {

enum class Verb : std::uint8_t { get, list, watch, create, update, patch, remove, other };
constexpr std::size_t verb_count = 8;
std::string_view to_string(Verb verb);

struct Query {
  // First value of each parameter matters to the handlers, as with Go's url.Values.Get.
  std::vector<std::pair<std::string, std::string>> parameters;

  static Query parse(std::string_view text);
  std::string_view get(std::string_view name) const;
  // strconv.ParseBool, with the empty text being false.
  bool flag(std::string_view name) const;
};

struct Request {
  Verb verb = Verb::other;
  bool resource_request = false;
  std::string_view path;  // without the query
  std::string group;      // "" is the core group
  std::string version;
  std::string resource;
  std::string subresource;
  std::string namespace_;
  std::string name;
  Query query;

  static Request parse(std::string_view method, std::string_view path_and_query);
};

// %XX decoded; nothing when an escape is malformed. With `plus` a '+' is a space.
std::optional<std::string> percent_decode(std::string_view text, bool plus);

}  // namespace sluice::apisim
