// SPDX-License-Identifier: GPL-3.0-or-later
// The heads of a request and of a response, as both HTTP versions deliver them.
#pragma once

#include <string>

#include "sluice/http/fields.h"

namespace sluice::http {

struct RequestHead {
  std::string method;
  std::string scheme;
  std::string authority;
  std::string path;  // with the query, byte for byte as the client sent it
  Fields fields;

  void clear() {
    method.clear();
    scheme.clear();
    authority.clear();
    path.clear();
    fields.clear();
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
