// SPDX-License-Identifier: GPL-3.0-or-later
// Where a backend is reached: a value.
#pragma once

#include <string>

#include "sluice/io/address.h"

namespace sluice::backend {

struct Endpoint {
  io::Address address;
  std::string name;         // as configured; the label in logs and metrics
  std::string server_name;  // what its certificate must carry: a DNS name or an IP address

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

}  // namespace sluice::backend
