// SPDX-License-Identifier: GPL-3.0-or-later
// Answers compressed as a kube-apiserver compresses them: gzip at its lowest level, from 128 KB on,
// for clients that accept it (k8s.io/apiserver pkg/endpoints/handlers/responsewriters/writers.go);
// of watches those that begin with the objects that exist (pkg/endpoints/handlers/watch.go).
#pragma once

#include <zlib.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "api.h"
#include "bodies.h"
#include "sluice/http/fields.h"

namespace sluice::apisim {

constexpr std::size_t gzip_bytes_min = std::size_t{128} * 1024;

bool accepts_gzip(const http::Fields& fields);
std::string gzip(std::string_view text);
// Compresses what is large enough in place; false when nothing was changed.
bool compress(Reply& reply);

// What is left of another body, compressed; `begun` was produced by it already.
class GzipBody : public Body {
 public:
  GzipBody(std::unique_ptr<Body> body, std::string begun);
  ~GzipBody() override;
  GzipBody(const GzipBody&) = delete;
  GzipBody& operator=(const GzipBody&) = delete;

 protected:
  Next next(std::string& out) override;

 private:
  std::unique_ptr<Body> body_;
  std::string piece_;  // not compressed yet
  z_stream stream_{};
};

// A watch's events: one gzip member for what there is each time, so that none waits for the next.
class GzipWatchBody : public Body {
 public:
  explicit GzipWatchBody(std::unique_ptr<Body> body) : body_(std::move(body)) {}

 protected:
  Next next(std::string& out) override;

 private:
  std::unique_ptr<Body> body_;  // to the end: its owner still speaks to it
  bool ended_ = false;
};

}  // namespace sluice::apisim
