// SPDX-License-Identifier: GPL-3.0-or-later
// The shared object store.
#include "store.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "sluice/base/check.h"

namespace sluice::apisim {

namespace {

constexpr std::string_view name_column =
    R"({"name":"Name","type":"string","format":"name","description":"Name","priority":0})";
constexpr std::string_view age_column =
    R"({"name":"Age","type":"string","format":"","description":"Age","priority":0})";

std::string column(std::string_view name, std::string_view type, int priority) {
  return fmt::format(
      R"(,{{"name":"{0}","type":"{1}","format":"","description":"{0}","priority":{2}}})", name,
      type, priority);
}

const std::string namespace_columns =
    fmt::format("{}{},{}", name_column, column("Status", "string", 0), age_column);
const std::string pod_columns =
    fmt::format("{}{}{}{},{}{}{}", name_column, column("Ready", "string", 0),
                column("Status", "string", 0), column("Restarts", "string", 0), age_column,
                column("IP", "string", 1), column("Node", "string", 1));
const std::string configmap_columns =
    fmt::format("{}{},{}", name_column, column("Data", "integer", 0), age_column);

const std::array<ResourceType, resource_count> types = {{
    {Resource::namespaces, "namespaces", "namespace", "Namespace", "ns", false, namespace_columns},
    {Resource::pods, "pods", "pod", "Pod", "po", true, pod_columns},
    {Resource::configmaps, "configmaps", "configmap", "ConfigMap", "cm", true, configmap_columns},
}};

// What clients create must not fill the memory.
constexpr std::size_t objects_max = 200'000;

std::string key_of(std::string_view namespace_, std::string_view name) {
  std::string key(namespace_);
  key.push_back('/');
  key.append(name);
  return key;
}

std::int64_t wall_seconds() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

Labels labels_of(const Json& metadata) {
  Labels labels;
  const Json* member = metadata.find("labels");
  if (member == nullptr || member->object() == nullptr) return labels;
  for (const auto& [key, value] : *member->object()) {
    if (value.string() != nullptr) labels.emplace_back(key, *value.string());
  }
  return labels;
}

std::string_view text_at(const Json& json, std::string_view outer, std::string_view inner) {
  const Json* member = json.find(outer);
  return member == nullptr ? std::string_view() : member->text(inner);
}

// Table cells around the age.
void set_cells(Object& object, const Json& json) {
  object.cells_before_age = json_string(object.name);
  switch (object.resource) {
    case Resource::namespaces: {
      object.cells_before_age += ",\"Active\"";
      break;
    }
    case Resource::pods: {
      std::uint64_t ready = 0;
      std::uint64_t all = 0;
      std::string restarts = "0";
      const Json* status = json.find("status");
      const Json* containers = status == nullptr ? nullptr : status->find("containerStatuses");
      if (containers != nullptr && containers->array() != nullptr) {
        for (const Json& container : *containers->array()) {
          ++all;
          const Json* is_ready = container.find("ready");
          if (is_ready != nullptr && is_ready->to_string() == "true") ++ready;
          if (const Json* count = container.find("restartCount")) restarts = count->to_string();
        }
      }
      const std::string_view phase = text_at(json, "status", "phase");
      object.cells_before_age +=
          fmt::format(",\"{}/{}\",{},{}", ready, all,
                      json_string(phase.empty() ? "Pending" : phase), json_string(restarts));
      const std::string_view ip = text_at(json, "status", "podIP");
      const std::string_view node = text_at(json, "spec", "nodeName");
      object.cells_after_age = fmt::format(",{},{}", json_string(ip.empty() ? "<none>" : ip),
                                           json_string(node.empty() ? "<none>" : node));
      break;
    }
    case Resource::configmaps: {
      std::size_t data = 0;
      for (const std::string_view member : {"data", "binaryData"}) {
        const Json* values = json.find(member);
        if (values != nullptr && values->object() != nullptr) data += values->object()->size();
      }
      object.cells_before_age += fmt::format(",{}", data);
      break;
    }
  }
}

// A whole object from its document; what the server decides is set here.
ObjectPtr make_object(Resource resource, std::string_view namespace_, std::string_view name,
                      std::string uid, std::int64_t created, std::uint64_t revision, Json json) {
  auto object = std::make_shared<Object>();
  object->resource = resource;
  object->namespace_ = namespace_;
  object->name = name;
  object->uid = std::move(uid);
  object->created = created;
  object->revision = revision;

  Json given = json.find("metadata") == nullptr ? Json() : *json.find("metadata");
  Json metadata = Json::Object();
  metadata.set("name", name);
  if (!namespace_.empty()) metadata.set("namespace", namespace_);
  metadata.set("uid", object->uid);
  metadata.set("resourceVersion", std::to_string(revision));
  metadata.set("creationTimestamp", timestamp(created));
  for (const std::string_view kept : {"labels", "annotations", "finalizers", "ownerReferences"}) {
    if (Json* member = given.find(kept); member != nullptr && !member->is_null()) {
      metadata.set(kept, std::move(*member));
    }
  }
  object->labels = labels_of(metadata);
  object->metadata = metadata.to_string();
  set_cells(*object, json);
  for (const std::string_view dropped : {"kind", "apiVersion", "metadata"}) json.erase(dropped);
  if (const Json::Object* members = json.object()) {
    for (const auto& [member, value] : *members) {
      object->rest.push_back(',');
      append_json_string(object->rest, member);
      object->rest.push_back(':');
      value.append_to(object->rest);
    }
  }
  return object;
}

Json document_of(const Object& object) {
  std::string text;
  object.append_json(text);
  auto json = Json::parse(text);
  return json ? std::move(*json) : Json();
}

}  // namespace

std::string timestamp(std::int64_t seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

const ResourceType& type_of(Resource resource) { return types[static_cast<std::size_t>(resource)]; }

const ResourceType* find_type(std::string_view plural) {
  const auto found = std::ranges::find(types, plural, &ResourceType::plural);
  return found == types.end() ? nullptr : &*found;
}

void Object::append_json(std::string& out, bool bare) const {
  if (bare) {
    out += "{\"metadata\":";
  } else {
    out += "{\"kind\":\"";
    out += type_of(resource).kind;
    out += "\",\"apiVersion\":\"v1\",\"metadata\":";
  }
  out += metadata;
  out += rest;
  out.push_back('}');
}

bool Filter::matches(const Object& object) const {
  return (namespace_.empty() || object.namespace_ == namespace_) &&
         (fields.name.empty() || object.name == fields.name) &&
         (fields.namespace_.empty() || object.namespace_ == fields.namespace_) &&
         (labels.empty() || labels.matches(object.labels));
}

Store::Store(const StoreOptions& options) : options_(options), random_(options.seed) {
  for (std::uint32_t i = 0; i < std::max(options_.namespaces, 2U); ++i) {
    Json json = Json::Object();
    Json metadata = Json::Object();
    metadata.set("name", namespace_name(i));
    json.set("metadata", std::move(metadata));
    (void)store_new(Resource::namespaces, {}, std::move(json));
  }
  for (std::uint32_t i = 0; i < options_.pods; ++i) add_simulated_pod();
  for (std::uint32_t i = 0; i < options_.configmaps; ++i) add_simulated_configmap();
  // What was there when the servers started is in no watch's history.
  for (Table& each : tables_) {
    each.first_place += each.history.size();
    each.history.clear();
    each.compacted = revision();
  }
}

std::string Store::namespace_name(std::uint32_t index) const {
  if (index == 0) return "default";
  if (index == 1) return "kube-system";
  return fmt::format("team-{}", index - 1);
}

std::string Store::new_uid() {
  const std::uint64_t a = random_.next();
  const std::uint64_t b = random_.next();
  return fmt::format("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", a >> 32, (a >> 16) & 0xFFFF,
                     a & 0xFFF, b >> 52, b & 0xFFFFFFFFFFFF);
}

std::string Store::new_suffix() {
  constexpr std::string_view letters = "bcdfghjklmnpqrstvwxz2456789";
  std::string suffix;
  for (int i = 0; i < 5; ++i) {
    suffix.push_back(letters[random_.below(static_cast<std::uint32_t>(letters.size()))]);
  }
  return suffix;
}

void Store::append_event(Resource resource, Event event) {
  Table& its = table(resource);
  its.history.push_back(std::make_shared<const Event>(std::move(event)));
  while (its.history.size() > options_.history_events) {
    its.compacted = its.history.front()->object->revision;
    its.history.pop_front();
    ++its.first_place;
  }
}

void Store::on_change(std::function<void()> notify) {
  const std::lock_guard lock(notify_mutex_);
  notify_.push_back(std::move(notify));
}

void Store::changed() const {
  const std::lock_guard lock(notify_mutex_);
  for (const auto& notify : notify_) notify();
}

std::uint64_t Store::compacted(Resource resource) const {
  const std::lock_guard lock(mutex_);
  return table(resource).compacted;
}

ApiResult<ObjectPtr> Store::get(Resource resource, std::string_view namespace_,
                                std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto& objects = table(resource).objects;
  const auto found = objects.find(key_of(namespace_, name));
  if (found == objects.end()) return std::unexpected(not_found(type_of(resource).plural, name));
  return found->second;
}

Store::ListResult Store::list(Resource resource, const Filter& filter, std::string_view from,
                              std::size_t limit) const {
  ListResult result;
  const std::lock_guard lock(mutex_);
  result.revision = revision();
  const auto& objects = table(resource).objects;
  if (filter.by_namespace_only()) result.objects.reserve(std::min(objects.size(), limit));
  for (auto entry = objects.lower_bound(from); entry != objects.end(); ++entry) {
    if (!filter.matches(*entry->second)) continue;
    if (result.objects.size() < limit) {
      result.objects.push_back(entry->second);
      continue;
    }
    if (result.next.empty()) result.next = entry->first;
    ++result.remaining;
  }
  return result;
}

ApiResult<ObjectPtr> Store::store_new(Resource resource, std::string_view namespace_, Json json) {
  const ResourceType& type = type_of(resource);
  std::string name(text_at(json, "metadata", "name"));
  if (name.empty()) {
    const std::string_view prefix = text_at(json, "metadata", "generateName");
    if (prefix.empty()) {
      return std::unexpected(invalid(
          type.kind, "", "metadata.name: Required value: name or generateName is required"));
    }
    name = std::string(prefix) + new_suffix();
  }
  const std::string key = key_of(namespace_, name);
  if (table(resource).objects.contains(key)) {
    return std::unexpected(already_exists(type.plural, name));
  }
  if (table(resource).objects.size() >= objects_max) {
    return std::unexpected(
        forbidden(fmt::format("{} \"{}\" is forbidden: exceeded quota", type.plural, name)));
  }
  const std::uint64_t revision = revision_.load(std::memory_order_relaxed) + 1;
  ObjectPtr object =
      make_object(resource, namespace_, name, new_uid(), wall_seconds(), revision, std::move(json));
  table(resource).objects.emplace(key, object);
  append_event(resource, {Event::Type::added, object, nullptr});
  revision_.store(revision, std::memory_order_release);
  return object;
}

ObjectPtr Store::replace(Resource resource, const Object& previous, Json json) {
  const std::uint64_t revision = revision_.load(std::memory_order_relaxed) + 1;
  ObjectPtr object = make_object(resource, previous.namespace_, previous.name, previous.uid,
                                 previous.created, revision, std::move(json));
  ObjectPtr& place =
      table(resource).objects.find(key_of(previous.namespace_, previous.name))->second;
  append_event(resource, {Event::Type::modified, object, place});
  place = object;
  revision_.store(revision, std::memory_order_release);
  return object;
}

ObjectPtr Store::remove_key(Resource resource, std::string_view key) {
  auto& objects = table(resource).objects;
  const auto found = objects.find(key);
  if (found == objects.end()) return nullptr;
  const ObjectPtr previous = found->second;
  const std::uint64_t revision = revision_.load(std::memory_order_relaxed) + 1;
  ObjectPtr last = make_object(resource, previous->namespace_, previous->name, previous->uid,
                               previous->created, revision, document_of(*previous));
  objects.erase(found);
  append_event(resource, {Event::Type::deleted, last, previous});
  revision_.store(revision, std::memory_order_release);
  return last;
}

ApiResult<ObjectPtr> Store::create(Resource resource, std::string_view namespace_, Json json) {
  const std::string_view inside = text_at(json, "metadata", "namespace");
  if (!inside.empty() && inside != namespace_) {
    return std::unexpected(bad_request(
        "the namespace of the provided object does not match the namespace sent on the request"));
  }
  ApiResult<ObjectPtr> created = [&]() -> ApiResult<ObjectPtr> {
    const std::lock_guard lock(mutex_);
    if (type_of(resource).namespaced &&
        !table(Resource::namespaces).objects.contains(key_of({}, namespace_))) {
      return std::unexpected(not_found("namespaces", namespace_));
    }
    return store_new(resource, namespace_, std::move(json));
  }();
  if (created) changed();
  return created;
}

ApiResult<ObjectPtr> Store::update(Resource resource, std::string_view namespace_,
                                   std::string_view name, Json json) {
  ApiResult<ObjectPtr> updated = [&]() -> ApiResult<ObjectPtr> {
    const std::lock_guard lock(mutex_);
    const auto& objects = table(resource).objects;
    const auto found = objects.find(key_of(namespace_, name));
    if (found == objects.end()) return std::unexpected(not_found(type_of(resource).plural, name));
    const ObjectPtr previous = found->second;
    const std::string_view wanted = text_at(json, "metadata", "resourceVersion");
    if (!wanted.empty() && wanted != std::to_string(previous->revision)) {
      return std::unexpected(conflict(type_of(resource).plural, name,
                                      "the object has been modified; please apply your changes to "
                                      "the latest version and try again"));
    }
    return replace(resource, *previous, std::move(json));
  }();
  if (updated) changed();
  return updated;
}

ApiResult<ObjectPtr> Store::patch(Resource resource, std::string_view namespace_,
                                  std::string_view name, const Json& patch, bool create_missing) {
  ApiResult<ObjectPtr> patched = [&]() -> ApiResult<ObjectPtr> {
    const std::lock_guard lock(mutex_);
    const auto& objects = table(resource).objects;
    const auto found = objects.find(key_of(namespace_, name));
    if (found == objects.end()) {
      if (create_missing) return store_new(resource, namespace_, patch);
      return std::unexpected(not_found(type_of(resource).plural, name));
    }
    const ObjectPtr previous = found->second;
    Json json = document_of(*previous);
    merge_patch(json, patch);
    return replace(resource, *previous, std::move(json));
  }();
  if (patched) changed();
  return patched;
}

ApiResult<ObjectPtr> Store::remove(Resource resource, std::string_view namespace_,
                                   std::string_view name) {
  ObjectPtr removed;
  {
    const std::lock_guard lock(mutex_);
    removed = remove_key(resource, key_of(namespace_, name));
  }
  if (!removed) return std::unexpected(not_found(type_of(resource).plural, name));
  changed();
  return removed;
}

std::optional<std::uint64_t> Store::history_after(Resource resource, std::uint64_t revision) const {
  const std::lock_guard lock(mutex_);
  const Table& its = table(resource);
  if (revision < its.compacted) return std::nullopt;
  const auto first = std::ranges::upper_bound(
      its.history, revision, {}, [](const EventPtr& event) { return event->object->revision; });
  return its.first_place + static_cast<std::uint64_t>(first - its.history.begin());
}

Store::Next Store::next_event(Resource resource, std::uint64_t place) const {
  const std::lock_guard lock(mutex_);
  const Table& its = table(resource);
  if (place < its.first_place) return {nullptr, true, 0};
  const std::uint64_t offset = place - its.first_place;
  if (offset >= its.history.size()) return {nullptr, false, revision()};
  return {its.history[offset], false, 0};
}

Json Store::pod(std::string_view name, std::uint32_t restarts) const {
  const std::size_t number = std::hash<std::string_view>()(name);
  const std::string text = fmt::format(
      R"({{"metadata":{{"name":{0},"labels":{{"app":"simulated","shard":"{1}"}}}},)"
      R"("spec":{{"containers":[{{"name":"main","image":"registry.example/simulated:1"}}],)"
      R"("nodeName":"node-{1}"}},)"
      R"("status":{{"phase":"Running","podIP":"10.0.{1}.{2}","conditions":[{{"type":"Ready","status":"True"}}],)"
      R"("containerStatuses":[{{"name":"main","ready":true,"restartCount":{3}}}]}}}})",
      json_string(name), number % 8, number / 8 % 250 + 1, restarts);
  auto json = Json::parse(text);
  CHECK(json.has_value());
  // Filled up to the wanted size by an annotation.
  if (const std::size_t bytes = text.size() + 220; bytes < options_.pod_bytes) {
    Json annotations = Json::Object();
    annotations.set("example.com/filling", std::string(options_.pod_bytes - bytes, 'x'));
    json->find("metadata")->set("annotations", std::move(annotations));
  }
  return std::move(*json);
}

void Store::add_simulated_pod() {
  const std::uint64_t number = simulated_names_++;
  const std::string name = fmt::format("pod-{:05}", number);
  const std::string namespace_ =
      namespace_name(static_cast<std::uint32_t>(number % std::max(options_.namespaces, 2U)));
  if (store_new(Resource::pods, namespace_, pod(name, 0))) {
    table(Resource::pods).simulated.push_back(key_of(namespace_, name));
  }
}

void Store::add_simulated_configmap() {
  const std::uint64_t number = simulated_names_++;
  const std::string name = fmt::format("config-{:05}", number);
  const std::string namespace_ =
      namespace_name(static_cast<std::uint32_t>(number % std::max(options_.namespaces, 2U)));
  Json metadata = Json::Object();
  metadata.set("name", name);
  Json data = Json::Object();
  data.set("revision", "0");
  const std::size_t around = 330;
  if (options_.configmap_bytes > around) {
    data.set("filling", std::string(options_.configmap_bytes - around, 'x'));
  }
  Json json = Json::Object();
  json.set("metadata", std::move(metadata));
  json.set("data", std::move(data));
  if (store_new(Resource::configmaps, namespace_, std::move(json))) {
    table(Resource::configmaps).simulated.push_back(key_of(namespace_, name));
  }
}

void Store::simulate_events(std::uint32_t count) {
  {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t dice = random_.below(20);
      const Resource resource = dice < 16 ? Resource::pods : Resource::configmaps;
      std::vector<std::string>& keys = table(resource).simulated;
      if (keys.empty()) continue;
      const std::size_t which = random_.below(static_cast<std::uint32_t>(keys.size()));
      const auto found = table(resource).objects.find(keys[which]);
      if (found == table(resource).objects.end() || dice == 0) {
        // Deleted by a client, or its time has come: another takes its place.
        remove_key(resource, keys[which]);
        keys[which] = keys.back();
        keys.pop_back();
        if (resource == Resource::pods) {
          add_simulated_pod();
        } else {
          add_simulated_configmap();
        }
        continue;
      }
      const ObjectPtr previous = found->second;
      if (resource == Resource::pods) {
        replace(resource, *previous, pod(previous->name, random_.below(100)));
      } else {
        Json json = document_of(*previous);
        Json patch = Json::Object();
        Json data = Json::Object();
        data.set("revision", std::to_string(revision()));
        patch.set("data", std::move(data));
        merge_patch(json, patch);
        replace(resource, *previous, std::move(json));
      }
    }
  }
  changed();
}

}  // namespace sluice::apisim
