// SPDX-License-Identifier: GPL-3.0-or-later
// A strict parser of HTTP/1.1 request heads (RFC 9112) for our own small servers, which take no
// bodies: the admin listener. Refuses whatever two readers could understand differently.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/http/message.h"

namespace sluice::http1 {

struct ParserOptions {
  std::size_t head_bytes_max = 8192;
  std::size_t fields_max = 64;
};

class RequestParser {
 public:
  explicit RequestParser(ParserOptions options = {});
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes bytes up to the end of one request and returns how many; what follows belongs to the next
  // one. Error kind `limit`: answer 431; `invalid_argument`: answer 400; close in both cases.
  Result<std::size_t> feed(Bytes bytes);

  // The whole request is there; until reset() feed() takes nothing more.
  bool complete() const;
  // Valid when complete. `authority` is the Host field, the field list is without it.
  const http::RequestHead& head() const;
  // Whether the client will send another request on this connection.
  bool keep_alive() const;
  // Bytes of a request have arrived, but not all: a deadline for the head applies.
  bool started() const;
  // Begins the next request.
  void reset();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The version of the library that is linked in.
std::string library_version();

}  // namespace sluice::http1
