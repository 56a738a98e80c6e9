// SPDX-License-Identifier: GPL-3.0-or-later
// Requests without bodies.
#include "sluice/http1/parser.h"

#include <fmt/format.h>

#include "request_reader.h"
#include "sluice/base/check.h"

namespace sluice::http1 {

struct RequestParser::State {
  explicit State(const ParserOptions& options)
      : reader({.fields_max = options.fields_max,
                .head_bytes_max = options.head_bytes_max,
                .scheme = "http",
                .whole_server = false}) {}

  RequestReader reader;
};

RequestParser::RequestParser(ParserOptions options) : state_(std::make_unique<State>(options)) {}

RequestParser::~RequestParser() = default;

Result<std::size_t> RequestParser::feed(Bytes bytes) {
  RequestReader& reader = state_->reader;
  if (reader.complete() || bytes.empty()) return 0;
  std::size_t taken = 0;
  for (;;) {
    const RequestReader::Read read = reader.read(bytes.subspan(taken));
    taken += read.taken;
    if (read.event == RequestReader::Event::refused) {
      const Refusal why = reader.refusal();
      return fail(why == Refusal::head_too_large ? ErrorKind::limit : ErrorKind::invalid_argument,
                  std::string(sentence(why)), Side::client);
    }
    if (read.event == RequestReader::Event::head && reader.has_body()) {
      return fail(ErrorKind::invalid_argument, std::string(sentence(Refusal::body)), Side::client);
    }
    // With the head comes the end.
    if (read.event != RequestReader::Event::head) return taken;
  }
}

bool RequestParser::complete() const { return state_->reader.complete(); }

const http::RequestHead& RequestParser::head() const {
  CHECK(complete());
  return state_->reader.head();
}

bool RequestParser::keep_alive() const { return complete() && state_->reader.keep_alive(); }

bool RequestParser::started() const { return state_->reader.in_head(); }

void RequestParser::reset() { state_->reader.next(); }

std::string library_version() {
  return fmt::format("{}.{}.{}", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}

}  // namespace sluice::http1
