// SPDX-License-Identifier: GPL-3.0-or-later
// Requests without a proxy, and an API server that obeys the test, on the simulated ring.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/backend/backend_stream.h"

namespace sluice::backend {

using namespace std::chrono_literals;

inline io::Address address_of(int number) {
  return *io::Address::parse("10.0.0." + std::to_string(number) + ":6443");
}

inline http::RequestHead get(std::string_view path) {
  http::RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "kubernetes";
  head.path = path;
  return head;
}

// What an exchange is to its stream, as far as a pool can see.
class Caller final : public StreamHandler {
 public:
  explicit Caller(std::string_view path = "/version") : head(get(path)) {}

  const http::RequestHead& request_head() override { return head; }
  void on_response(http::ResponseHead&& answer, bool) override { status = answer.status; }
  void on_response_body(Bytes bytes) override {
    body += as_text(bytes);
    stream.consume(bytes.size());
  }
  void on_response_trailers(http::Fields&&) override {}
  http2::BodyResult on_request_body_wanted(MutableBytes) override {
    return {0, http2::BodyStatus::finished};
  }
  void on_stream_ended(const StreamEnd& how) override {
    EXPECT_FALSE(end.has_value()) << "a stream ends once";
    end = how;
    if (on_end) on_end();
  }
  bool on_connection_retiring(Retiring who) override {
    if (who == Retiring::those_that_resume && !resumes) return false;
    if (told_to_move > 0 || (moves_for && who != *moves_for)) return false;
    ++told_to_move;
    asked_by = who;
    return true;
  }

  bool open() const { return stream.state() == BackendStream::State::open; }
  bool waiting() const { return stream.state() == BackendStream::State::waiting; }
  bool completed() const { return end && end->cause == StreamEnd::Cause::completed; }

  http::RequestHead head;
  int status = 0;
  std::string body;
  bool resumes = true;
  int told_to_move = 0;
  std::optional<Retiring> moves_for;  // only for that; none: for whatever asks
  Retiring asked_by{};
  std::optional<StreamEnd> end;
  std::function<void()> on_end;
  BackendStream stream{*this};
};

}  // namespace sluice::backend
