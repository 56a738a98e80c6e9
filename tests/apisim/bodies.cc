// SPDX-License-Identifier: GPL-3.0-or-later
// Lists, Tables and watches as streams of text.
#include "bodies.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace sluice::apisim {

namespace {

constexpr std::size_t list_piece_bytes = 16 * 1024;

// As kubectl shows ages: k8s.io/apimachinery pkg/util/duration HumanDuration, coarser.
std::string age_of(const Object& object) {
  using namespace std::chrono;
  const std::int64_t now = duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
  const std::int64_t age = std::max<std::int64_t>(now - object.created, 0);
  if (age < 120) return fmt::format("{}s", age);
  if (age < 600) return fmt::format("{}m{}s", age / 60, age % 60);
  if (age < 3 * 3600) return fmt::format("{}m", age / 60);
  if (age < 48 * 3600) return fmt::format("{}h", age / 3600);
  return fmt::format("{}d", age / 86400);
}

class ListBody : public Body {
 public:
  ListBody(Resource resource, Store::ListResult result, std::string continue_token,
           bool show_remaining, View view)
      : resource_(resource),
        result_(std::move(result)),
        continue_token_(std::move(continue_token)),
        show_remaining_(show_remaining),
        view_(view) {}

 protected:
  Next next(std::string& out) override {
    switch (stage_) {
      case Stage::head: append_head(out); break;
      case Stage::items: append_items(out); break;
      case Stage::end: return Next::end;
    }
    return Next::piece;
  }

 private:
  enum class Stage : std::uint8_t { head, items, end };

  void append_metadata(std::string& out) const {
    out += fmt::format("\"metadata\":{{\"resourceVersion\":\"{}\"", result_.revision);
    if (!continue_token_.empty()) {
      out += fmt::format(",\"continue\":\"{}\"", continue_token_);
      if (show_remaining_) out += fmt::format(",\"remainingItemCount\":{}", result_.remaining);
    }
    out.push_back('}');
  }

  void append_head(std::string& out) {
    if (view_.table) {
      out += "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",";
      append_metadata(out);
      out += fmt::format(",\"columnDefinitions\":[{}],\"rows\":[", type_of(resource_).columns);
    } else {
      out += fmt::format("{{\"kind\":\"{}List\",\"apiVersion\":\"v1\",", type_of(resource_).kind);
      append_metadata(out);
      out += ",\"items\":[";
    }
    stage_ = Stage::items;
  }

  void append_items(std::string& out) {
    while (index_ < result_.objects.size() && out.size() < list_piece_bytes) {
      if (index_ > 0) out.push_back(',');
      const Object& object = *result_.objects[index_];
      if (view_.table) {
        append_row(out, object, view_);
      } else {
        object.append_json(out, true);
      }
      ++index_;
    }
    if (index_ == result_.objects.size()) {
      out += "]}\n";
      stage_ = Stage::end;
    }
  }

  Resource resource_;
  Store::ListResult result_;
  std::string continue_token_;
  bool show_remaining_;
  View view_;
  Stage stage_ = Stage::head;
  std::size_t index_ = 0;
};

}  // namespace

http2::BodyResult Body::produce(MutableBytes room) {
  std::size_t filled = 0;
  while (true) {
    const std::size_t bytes = std::min(piece_.size() - sent_, room.size() - filled);
    if (bytes > 0) std::memcpy(room.data() + filled, piece_.data() + sent_, bytes);
    filled += bytes;
    sent_ += bytes;
    if (sent_ < piece_.size()) return {filled, http2::BodyStatus::more};
    piece_.clear();
    sent_ = 0;
    // Also with a full room: a body whose last byte was sent says so at once.
    switch (next(piece_)) {
      case Next::piece: break;
      case Next::wait: return {filled, http2::BodyStatus::more};
      case Next::end: return {filled, http2::BodyStatus::finished};
    }
  }
}

void append_row(std::string& out, const Object& object, const View& view) {
  out += fmt::format("{{\"cells\":[{},\"{}\"{}],\"object\":", object.cells_before_age,
                     age_of(object), object.cells_after_age);
  switch (view.include) {
    case View::Include::none: out += "null"; break;
    case View::Include::metadata:
      out += "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";
      out += object.metadata;
      out.push_back('}');
      break;
    case View::Include::object: object.append_json(out); break;
  }
  out.push_back('}');
}

void append_table_head(std::string& out, Resource resource, bool with_columns) {
  out += "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"columnDefinitions\":";
  if (with_columns) {
    out.push_back('[');
    out += type_of(resource).columns;
    out.push_back(']');
  } else {
    out += "null";
  }
}

std::unique_ptr<Body> make_list_body(Resource resource, Store::ListResult result,
                                     std::string continue_token, bool show_remaining, View view) {
  return std::make_unique<ListBody>(resource, std::move(result), std::move(continue_token),
                                    show_remaining, view);
}

WatchBody::WatchBody(const Store& store, WatchStart start)
    : store_(store), start_(std::move(start)) {}

void WatchBody::append_event(std::string& out, std::string_view type, const Object& object) {
  out += "{\"type\":\"";
  out += type;
  out += "\",\"object\":";
  if (start_.view.table) {
    append_table_head(out, start_.resource, !columns_sent_);
    columns_sent_ = true;
    out += fmt::format(",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"rows\":[", object.revision);
    append_row(out, object, start_.view);
    out += "]}";
  } else {
    object.append_json(out);
  }
  out += "}\n";
}

void WatchBody::append_bookmark(std::string& out, std::uint64_t revision, bool initial_end) {
  const std::string metadata =
      fmt::format("{{\"resourceVersion\":\"{}\",\"creationTimestamp\":null{}}}", revision,
                  initial_end ? R"(,"annotations":{"k8s.io/initial-events-end":"true"})" : "");
  out += "{\"type\":\"BOOKMARK\",\"object\":";
  if (start_.view.table) {
    append_table_head(out, start_.resource, !columns_sent_);
    columns_sent_ = true;
    out += fmt::format(
        ",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"rows\":[{{\"cells\":[],\"object\":"
        "{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/"
        "v1\",\"metadata\":{}}}}}]}}",
        revision, metadata);
  } else {
    out += fmt::format("{{\"kind\":\"{}\",\"apiVersion\":\"v1\",\"metadata\":{}}}",
                       type_of(start_.resource).kind, metadata);
  }
  out += "}\n";
}

// False when the watch does not care. An object that begins or ceases to match looks added or
// deleted to this watch.
bool WatchBody::append_change(std::string& out, const Event& event) {
  const bool now = event.type != Event::Type::deleted && start_.filter.matches(*event.object);
  const bool before = event.previous && start_.filter.matches(*event.previous);
  if (!now && !before) return false;
  append_event(out, now ? (before ? "MODIFIED" : "ADDED") : "DELETED", *event.object);
  return true;
}

Body::Next WatchBody::next(std::string& out) {
  if (!initial_events_sent()) {
    while (!initial_events_sent() && out.size() < list_piece_bytes) {
      append_event(out, "ADDED", *start_.initial[initial_sent_++]);
    }
    return Next::piece;
  }
  if (!start_.initial.empty()) {
    start_.initial = {};
    initial_sent_ = 0;
  }
  if (start_.bookmark_after_initial) {
    start_.bookmark_after_initial = false;
    append_bookmark(out, start_.initial_revision, true);
    return Next::piece;
  }
  if (ending_ == Ending::now) return Next::end;
  while (true) {
    const Store::Next found = store_.next_event(start_.resource, start_.place);
    if (found.lost) return Next::end;  // Too slow: a real server ends such watches, too.
    if (found.event) {
      ++start_.place;
      if (append_change(out, *found.event)) return Next::piece;
      continue;
    }
    if (!bookmark_wanted_) return ending_ == Ending::none ? Next::wait : Next::end;
    bookmark_wanted_ = false;
    append_bookmark(out, found.revision, false);
    return Next::piece;
  }
}

std::string error_event(const StatusError& error) {
  std::string status = error.to_json();
  status.pop_back();
  return fmt::format("{{\"type\":\"ERROR\",\"object\":{}}}\n", status);
}

}  // namespace sluice::apisim
