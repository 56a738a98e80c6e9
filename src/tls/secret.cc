// SPDX-License-Identifier: GPL-3.0-or-later
// Overwrites what compilers would leave.
#include "sluice/tls/secret.h"

#include <cstring>

namespace sluice::tls {

void Secret::wipe() {
  text_.resize(text_.capacity());
  explicit_bzero(text_.data(), text_.size());
  text_.clear();
}

}  // namespace sluice::tls
