// SPDX-License-Identifier: GPL-3.0-or-later
// Response bodies that are made while they are sent, so that a LIST of any size and a watch of any
// length hold only references to the shared objects and one piece of text.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/http2/session.h"
#include "store.h"

namespace sluice::apisim {

class Body {
 public:
  virtual ~Body() = default;
  // Fills `room` from pieces of text.
  http2::BodyResult produce(MutableBytes room);

 protected:
  enum class Next : std::uint8_t { piece, wait, end };
  // Appends the next piece to `out`, which is empty.
  virtual Next next(std::string& out) = 0;

 private:
  std::string piece_;
  std::size_t sent_ = 0;
};

// How objects are to be shown.
struct View {
  bool table = false;
  enum class Include : std::uint8_t { none, metadata, object } include = Include::metadata;
};

// A Table row of `object`, or a whole Table of it where `with_table`.
void append_row(std::string& out, const Object& object, const View& view);
void append_table_head(std::string& out, Resource resource, bool with_columns);

std::unique_ptr<Body> make_list_body(Resource resource, Store::ListResult result,
                                     std::string continue_token, bool show_remaining, View view);

struct WatchStart {
  Resource resource = Resource::pods;
  Filter filter;
  View view;
  std::vector<ObjectPtr> initial;       // sent first, as ADDED
  bool bookmark_after_initial = false;  // ends the initial events of a watch-list
  std::uint64_t initial_revision = 0;
  std::uint64_t place = 0;  // in the store's history
};

class WatchBody : public Body {
 public:
  WatchBody(const Store& store, WatchStart start);

  // Asks for a bookmark when everything before it is sent.
  void want_bookmark() { bookmark_wanted_ = true; }
  // The body ends after what is begun; with `final_bookmark` what has happened until now is sent
  // before, and a bookmark last.
  void finish(bool final_bookmark) {
    bookmark_wanted_ = final_bookmark;
    ending_ = final_bookmark ? Ending::with_bookmark : Ending::now;
  }
  Resource resource() const { return start_.resource; }
  bool initial_events_sent() const { return initial_sent_ >= start_.initial.size(); }

 protected:
  Next next(std::string& out) override;

 private:
  void append_event(std::string& out, std::string_view type, const Object& object);
  void append_bookmark(std::string& out, std::uint64_t revision, bool initial_end);
  bool append_change(std::string& out, const Event& event);

  const Store& store_;
  WatchStart start_;
  std::size_t initial_sent_ = 0;
  bool columns_sent_ = false;
  bool bookmark_wanted_ = false;
  enum class Ending : std::uint8_t { none, with_bookmark, now } ending_ = Ending::none;
};

// One ERROR event with a Status, then the end.
std::string error_event(const StatusError& error);

}  // namespace sluice::apisim
