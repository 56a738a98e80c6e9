// SPDX-License-Identifier: GPL-3.0-or-later
// Header blocks become heads.
#include "http2/head_builder.h"

#include <algorithm>

namespace sluice::http2 {

namespace {

// What a list counts for each field beside its bytes (RFC 9113 section 6.5.2).
constexpr std::size_t field_overhead = 32;

// Up to this much too large, a head is decoded to its end and answered. The codec checks every byte
// of every field again, however often one byte on the wire repeats it.
constexpr std::uint64_t hopeless_factor = 2;

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

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
    return fields_count_ > hopeless_factor * fields_max_ || bytes_ > hopeless_factor * bytes_max_
               ? Added::hopeless
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

bool HeadBuilder::finish_request() {
  if (request_.method.empty() || request_.method == "CONNECT" || request_.path.empty()) {
    return false;
  }
  // The codec checks the form of the path for these schemes only.
  if (!equal_ignoring_case(request_.scheme, "https") &&
      !equal_ignoring_case(request_.scheme, "http")) {
    return false;
  }
  if (request_.authority.empty()) {
    request_.authority = host_;
  } else if (!host_.empty() && !equal_ignoring_case(host_, request_.authority)) {
    return false;  // Two authorities: somebody would believe the other one.
  }
  return !request_.authority.empty();
}

void HeadBuilder::release() {
  request_ = {};
  response_ = {};
  trailers_ = {};
}

}  // namespace sluice::http2
