// SPDX-License-Identifier: GPL-3.0-or-later
// The heads of a request and of a response, as both HTTP versions deliver them.
#pragma once

#include <cstddef>
#include <string>

#include "sluice/http/fields.h"

namespace sluice::http {

// A head of usual size leaves its memory to the next one; what is above this is given back.
constexpr std::size_t usual_head_bytes = 16 * 1024;

struct RequestHead {
  std::string method;
  std::string scheme;
  std::string authority;
  std::string path;  // with the query, byte for byte as the client sent it
  // What it asks to switch to, as HTTP/1.1's Upgrade names it; empty: it does not. It is the last
  // request of its connection.
  std::string protocol;
  Fields fields;

  void clear() {
    method.clear();
    scheme.clear();
    authority.clear();
    path.clear();
    protocol.clear();
    fields.clear();
  }
  // Memory that is held, whether used or not.
  std::size_t held_bytes() const {
    return method.capacity() + scheme.capacity() + authority.capacity() + path.capacity() +
           protocol.capacity() + fields.held_bytes();
  }
};

struct ResponseHead {
  int status = 0;
  Fields fields;

  void clear() {
    status = 0;
    fields.clear();
  }
};

}  // namespace sluice::http
