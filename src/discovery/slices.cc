// SPDX-License-Identifier: GPL-3.0-or-later
// JSON to addresses.
#include "sluice/discovery/slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "sluice/base/ascii.h"
#include "sluice/discovery/address_order.h"
#include "sluice/discovery/target.h"

namespace sluice::discovery {
namespace {

using Json = nlohmann::json;

constexpr int depth_max = 32;
constexpr std::size_t name_bytes_max = 253;
// Opaque; in practice a number.
constexpr std::size_t version_bytes_max = 128;

std::unexpected<Error> bad(std::string what) {
  return fail(ErrorKind::protocol, std::move(what), Side::backend);
}

// Discarded: it is none, or nested too deeply.
Json parse(std::string_view text) {
  bool deep = false;
  const auto look = [&](int depth, Json::parse_event_t, Json&) {
    deep = deep || depth > depth_max;
    return !deep;
  };
  Json parsed = Json::parse(text.begin(), text.end(), look, false);
  return deep ? Json(Json::value_t::discarded) : parsed;
}

// Null: there is none, or it is JSON's null.
const Json* find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string text_of(const Json& object, const char* key) {
  const Json* found = find(object, key);
  const auto* text = found == nullptr ? nullptr : found->get_ptr<const std::string*>();
  return text == nullptr ? std::string() : *text;
}

// Without a value: nobody has said it.
std::optional<bool> condition(const Json& endpoint, const char* name) {
  const Json* conditions = find(endpoint, "conditions");
  const Json* found = conditions == nullptr ? nullptr : find(*conditions, name);
  if (found == nullptr || !found->is_boolean()) return std::nullopt;
  return *found->get_ptr<const bool*>();
}

bool counts(const Json& endpoint) {
  if (condition(endpoint, "terminating").value_or(false)) return false;
  const bool ready = condition(endpoint, "ready").value_or(true);
  return condition(endpoint, "serving").value_or(ready);
}

std::optional<std::uint16_t> port_of(const Json& slice, const std::string& wanted) {
  const Json* ports = find(slice, "ports");
  if (ports == nullptr || !ports->is_array()) return std::nullopt;
  std::optional<std::uint16_t> found;
  for (const Json& each : *ports) {
    const std::string protocol = text_of(each, "protocol");
    if (!protocol.empty() && protocol != "TCP") continue;
    if (!wanted.empty() && text_of(each, "name") != wanted) continue;
    const Json* port = find(each, "port");
    if (port == nullptr || !port->is_number_unsigned()) continue;
    const auto number = *port->get_ptr<const Json::number_unsigned_t*>();
    if (number == 0 || number > 65535) continue;
    // Which of several is not for us to guess.
    if (found) return std::nullopt;
    found = static_cast<std::uint16_t>(number);
  }
  return found;
}

std::optional<io::Address> address_of(const std::string& host, std::uint16_t port) {
  const bool v6 = host.contains(':');
  const auto address =
      io::Address::parse(fmt::format("{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port));
  if (!address || !can_be_reached(*address)) return std::nullopt;
  return *address;
}

std::vector<io::Address> addresses_of(const Json& slice, const std::string& port_name) {
  const std::string type = text_of(slice, "addressType");
  const Json* endpoints = find(slice, "endpoints");
  const auto port = port_of(slice, port_name);
  std::vector<io::Address> addresses;
  if ((type != "IPv4" && type != "IPv6") || !port || endpoints == nullptr ||
      !endpoints->is_array()) {
    return addresses;
  }
  for (const Json& endpoint : *endpoints) {
    const Json* own = find(endpoint, "addresses");
    if (own == nullptr || !own->is_array() || own->empty() || !counts(endpoint)) continue;
    // Consumers take the first of them alone (Endpoint.addresses in the same file).
    const auto* host = own->front().get_ptr<const std::string*>();
    if (host == nullptr) continue;
    if (const auto address = address_of(*host, *port)) addresses.push_back(*address);
  }
  return addresses;
}

bool is_of(const Json& slice, const std::string& service) {
  const Json* metadata = find(slice, "metadata");
  const Json* labels = metadata == nullptr ? nullptr : find(*metadata, "labels");
  return labels != nullptr && text_of(*labels, "kubernetes.io/service-name") == service;
}

std::string metadata_of(const Json& object, const char* key) {
  const Json* metadata = find(object, "metadata");
  return metadata == nullptr ? std::string() : text_of(*metadata, key);
}

// It goes into a query.
bool is_version(const std::string& text) {
  return !text.empty() && text.size() <= version_bytes_max &&
         std::ranges::all_of(text, ascii::is_alphanumeric);
}

bool fits(std::size_t slices, std::size_t addresses) {
  return slices <= Slices::slices_max && addresses <= Slices::addresses_max;
}

}  // namespace

Result<void> Slices::take_list(std::string_view json) {
  const Json list = parse(json);
  const Json* items = find(list, "items");
  if (text_of(list, "kind") != "EndpointSliceList")
    return bad("the answer is no EndpointSliceList");
  const std::string version = metadata_of(list, "resourceVersion");
  if (!is_version(version)) return bad("the list has no resourceVersion");
  ByName slices;
  if (items != nullptr && items->is_array()) {
    for (const Json& slice : *items) {
      const std::string name = metadata_of(slice, "name");
      if (name.empty() || name.size() > name_bytes_max || !is_one(name)) continue;
      if (!is_of(slice, service_)) continue;
      slices[name] = addresses_of(slice, port_name_);
    }
  }
  std::size_t sum = 0;
  for (const auto& [name, addresses] : slices) sum += addresses.size();
  if (!fits(slices.size(), sum)) return bad("there are too many of them");
  slices_ = std::move(slices);
  sum_ = sum;
  resource_version_ = version;
  return {};
}

Result<Slices::Event> Slices::take_event(std::string_view json) {
  const Json event = parse(json);
  const std::string type = text_of(event, "type");
  const Json* object = find(event, "object");
  if (type.empty() || object == nullptr) return bad("the watch sent no event");
  // 410, or whatever else: the list has it all.
  if (type == "ERROR") return Event::expired;
  const std::string version = metadata_of(*object, "resourceVersion");
  if (!is_version(version)) return bad("an event has no resourceVersion");
  const std::string name = metadata_of(*object, "name");
  bool changed = false;
  if (type == "ADDED" || type == "MODIFIED" || type == "DELETED") {
    if (name.empty() || name.size() > name_bytes_max) return bad("a slice has no name");
    std::optional<std::vector<io::Address>> addresses;
    if (type != "DELETED" && is_one(name) && is_of(*object, service_)) {
      addresses = addresses_of(*object, port_name_);
    }
    const auto replaced = replace(name, std::move(addresses));
    if (!replaced) return std::unexpected(replaced.error());
    changed = *replaced;
  }
  resource_version_ = version;
  return changed ? Event::changed : Event::taken;
}

Result<bool> Slices::replace(const std::string& name,
                             std::optional<std::vector<io::Address>> addresses) {
  const auto before = slices_.find(name);
  const bool known = before != slices_.end();
  if (!addresses) {
    if (!known) return false;
    sum_ -= before->second.size();
    slices_.erase(before);
    return true;
  }
  const std::size_t sum = sum_ - (known ? before->second.size() : 0) + addresses->size();
  if (!fits(slices_.size() + (known ? 0 : 1), sum)) return bad("there are too many slices");
  if (known && before->second == *addresses) return false;
  slices_[name] = std::move(*addresses);
  sum_ = sum;
  return true;
}

std::vector<io::Address> Slices::addresses() const {
  std::vector<io::Address> all;
  for (const auto& [name, addresses] : slices_)
    std::ranges::copy(addresses, std::back_inserter(all));
  std::ranges::sort(all, AddressOrder());
  const auto repeated = std::ranges::unique(all);
  all.erase(repeated.begin(), repeated.end());
  return all;
}

std::string json_version() {
  return fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                     NLOHMANN_JSON_VERSION_PATCH);
}

}  // namespace sluice::discovery
