// SPDX-License-Identifier: GPL-3.0-or-later
// Header blocks become heads.
#include "http2/head_builder.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/http/authority.h"

namespace sluice::http2 {

namespace {

// What a list counts for each field beside its bytes (RFC 9113 section 6.5.2).
constexpr std::size_t field_overhead = 32;

}  // namespace

void HeadBuilder::begin(Kind kind) {
  kind_ = kind;
  fields_count_ = 0;
  bytes_ = 0;
  switch (kind) {
    case Kind::request:
      request_.clear();
      host_.clear();
      request_.fields = roomy_;
      break;
    case Kind::response:
      response_.clear();
      response_.fields = roomy_;
      break;
    case Kind::trailers: break;
  }
  fields().clear();
}

http::Fields& HeadBuilder::fields() {
  if (kind_ == Kind::request) return request_.fields;
  return kind_ == Kind::response ? response_.fields : trailers_;
}

HeadBuilder::Added HeadBuilder::add(std::string_view name, std::string_view value,
                                    bool never_indexed) {
  bytes_ += name.size() + value.size() + field_overhead;
  ++fields_count_;
  if (fields_count_ > fields_max_ || bytes_ > bytes_max_) [[unlikely]] {
    // The codec checks every byte of every field again, however often one byte on the wire repeats
    // it: there is an end to that.
    return bytes_ > std::max<std::uint64_t>(bytes_max_, head_answered_bytes_max) ? Added::hopeless
                                                                                 : Added::too_large;
  }
  if (name.starts_with(':')) {
    add_pseudo(name, value);
  } else if (kind_ == Kind::request && name == "host") {
    host_ = value;
  } else {
    fields().add(name, value, never_indexed);
  }
  return Added::kept;
}

void HeadBuilder::add_pseudo(std::string_view name, std::string_view value) {
  if (kind_ == Kind::response) {
    // The codec lets exactly three digits through.
    if (name == ":status" && value.size() == 3) {
      response_.status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0');
    }
    return;
  }
  if (name == ":path") {
    request_.path = value;
  } else if (name == ":method") {
    request_.method = value;
  } else if (name == ":scheme") {
    request_.scheme = value;
  } else if (name == ":authority") {
    request_.authority = value;
  }
}

std::string_view HeadBuilder::finish_request() {
  if (request_.method.empty()) return ":method is missing";
  if (request_.method == "CONNECT") return ":method is CONNECT, which is not served";
  if (request_.path.empty()) return ":path is missing";
  // The codec checks the form of the path for these schemes only.
  const bool secure = ascii::equal_ignoring_case(request_.scheme, "https");
  if (!secure && !ascii::equal_ignoring_case(request_.scheme, "http")) {
    return ":scheme is neither https nor http";
  }
  if (request_.authority.empty()) {
    request_.authority = host_;
  } else if (!host_.empty() &&
             !http::same_authority(host_, request_.authority, secure ? "443" : "80")) {
    // Two authorities: somebody would believe the other one.
    return "host names another authority than :authority";
  }
  return request_.authority.empty() ? "neither :authority nor host is there" : "";
}

void HeadBuilder::release() {
  // Assigning an empty list leaves the strings in it their memory; swapping takes it away.
  const auto empty = [](auto& held, std::size_t bytes) {
    std::remove_reference_t<decltype(held)> nothing;
    if (bytes > http::usual_head_bytes) {
      std::swap(held, nothing);
    } else {
      held = std::move(nothing);
    }
  };
  empty(request_, request_.held_bytes());
  empty(response_, response_.fields.held_bytes());
  empty(trailers_, trailers_.held_bytes());
  empty(host_, host_.capacity());
}

void HeadBuilder::keep_request_line() {
  http::Fields nothing;
  std::swap(request_.fields, nothing);
}

std::size_t HeadBuilder::held_bytes() const {
  return request_.held_bytes() + response_.fields.held_bytes() + trailers_.held_bytes() +
         host_.capacity();
}

}  // namespace sluice::http2
