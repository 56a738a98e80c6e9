// SPDX-License-Identifier: GPL-3.0-or-later
// The version of the codec that is linked in.
#include <nghttp2/nghttp2.h>

#include "sluice/http2/session.h"

namespace sluice::http2 {

std::string library_version() { return nghttp2_version(0)->version_str; }

}  // namespace sluice::http2
