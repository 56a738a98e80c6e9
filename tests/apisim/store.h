// SPDX-License-Identifier: GPL-3.0-or-later
// The objects that all simulated servers of a process share, as real ones share etcd: one revision
// counts all changes, each resource keeps its latest events for watches.
//
// Thread: any; one lock inside. Objects and events are immutable, so that readers keep them without
// the lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "definitions.h"
#include "json.h"
#include "selector.h"
#include "sluice/base/random.h"
#include "status.h"

namespace sluice::apisim {

enum class Resource : std::uint8_t { namespaces, pods, configmaps };
constexpr std::size_t resource_count = 3;

struct ResourceType {
  Resource id;
  std::string_view plural;
  std::string_view singular;
  std::string_view kind;
  std::string_view short_name;
  bool namespaced;
  std::string_view columns;  // Table column definitions
};
const ResourceType& type_of(Resource resource);
const ResourceType* find_type(std::string_view plural);

struct Object {
  Resource resource;
  std::string namespace_;
  std::string name;
  std::string uid;
  Labels labels;
  std::uint64_t revision = 0;
  std::int64_t created = 0;      // seconds since 1970
  std::string metadata;          // JSON of metadata
  std::string rest;              // what follows metadata: `,"spec":{...}` or nothing
  std::string cells_before_age;  // cells of a Table row, each but the first led by a comma
  std::string cells_after_age;

  // {"kind":...,"apiVersion":"v1","metadata":...}; `bare` leaves kind and version out, as in lists.
  void append_json(std::string& out, bool bare = false) const;
};
using ObjectPtr = std::shared_ptr<const Object>;

struct Event {
  enum class Type : std::uint8_t { added, modified, deleted };
  Type type;
  ObjectPtr object;    // a deleted object carries the revision of its deletion
  ObjectPtr previous;  // null when added
};
using EventPtr = std::shared_ptr<const Event>;

// Which objects a list or a watch is about.
struct Filter {
  std::string namespace_;  // empty: all
  LabelSelector labels;
  FieldSelector fields;
  bool matches(const Object& object) const;
  bool by_namespace_only() const { return labels.empty() && fields.empty(); }
};

struct StoreOptions {
  std::uint32_t namespaces = 3;  // default and kube-system are the first two
  std::uint32_t pods = 30;
  std::uint32_t configmaps = 10;
  std::size_t pod_bytes = 2000;
  std::size_t configmap_bytes = 1000;
  std::size_t history_events = 10'000;  // for each resource
  std::uint64_t seed = 1;
};

class Store {
 public:
  explicit Store(const StoreOptions& options);

  std::uint64_t revision() const { return revision_.load(std::memory_order_acquire); }
  // Events up to here have left the history.
  std::uint64_t compacted(Resource resource) const;

  ApiResult<ObjectPtr> get(Resource resource, std::string_view namespace_,
                           std::string_view name) const;

  struct ListResult {
    std::uint64_t revision = 0;
    std::vector<ObjectPtr> objects;
    std::string next;           // where the next page begins, empty at the end
    std::size_t remaining = 0;  // objects after this page
  };
  // `from` is the `next` of the page before.
  ListResult list(Resource resource, const Filter& filter, std::string_view from,
                  std::size_t limit) const;

  ApiResult<ObjectPtr> create(Resource resource, std::string_view namespace_, Json object);
  ApiResult<ObjectPtr> update(Resource resource, std::string_view namespace_, std::string_view name,
                              Json object);
  // `create_missing`: as server-side apply does.
  ApiResult<ObjectPtr> patch(Resource resource, std::string_view namespace_, std::string_view name,
                             const Json& patch, bool create_missing);
  ApiResult<ObjectPtr> remove(Resource resource, std::string_view namespace_,
                              std::string_view name);

  // The place in the history of the first event after `revision`; nothing when it is gone.
  std::optional<std::uint64_t> history_after(Resource resource, std::uint64_t revision) const;
  struct Next {
    EventPtr event;              // null: none yet
    bool lost = false;           // the history has moved past this place
    std::uint64_t revision = 0;  // when there is no event: everything up to here was seen
  };
  Next next_event(Resource resource, std::uint64_t place) const;

  // Changes `count` objects as a running cluster would: mostly status updates of pods, now and then
  // one goes and another comes.
  void simulate_events(std::uint32_t count);

  Definitions& definitions() { return definitions_; }

  // Called after changes, on the changing thread, without the lock.
  void on_change(std::function<void()> notify);

 private:
  struct Table {
    std::map<std::string, ObjectPtr, std::less<>> objects;  // by namespace and name
    std::deque<EventPtr> history;
    std::uint64_t first_place = 0;  // of history.front()
    std::uint64_t compacted = 0;
    std::vector<std::string> simulated;  // keys of objects that simulate_events changes
  };

  Table& table(Resource resource) { return tables_[static_cast<std::size_t>(resource)]; }
  const Table& table(Resource resource) const {
    return tables_[static_cast<std::size_t>(resource)];
  }
  void changed() const;
  // With the lock held.
  void append_event(Resource resource, Event event);
  ApiResult<ObjectPtr> store_new(Resource resource, std::string_view namespace_, Json object);
  ObjectPtr replace(Resource resource, const Object& previous, Json object);
  ObjectPtr remove_key(Resource resource, std::string_view key);
  void add_simulated_pod();
  void add_simulated_configmap();
  std::string namespace_name(std::uint32_t index) const;
  Json pod(std::string_view name, std::uint32_t restarts) const;
  std::string new_uid();
  std::string new_suffix();

  StoreOptions options_;
  Definitions definitions_;
  mutable std::mutex mutex_;
  std::atomic<std::uint64_t> revision_{0};
  Table tables_[resource_count];
  Random random_;
  std::uint64_t simulated_names_ = 0;
  mutable std::mutex notify_mutex_;
  std::vector<std::function<void()>> notify_;
};

std::string timestamp(std::int64_t seconds);

}  // namespace sluice::apisim
