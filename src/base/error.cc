// SPDX-License-Identifier: GPL-3.0-or-later
// Texts of errors.
#include "sluice/base/error.h"

#include <system_error>

namespace sluice {

std::unexpected<Error> fail_errno(std::string_view what, int error_number) {
  return fail(ErrorKind::system,
              std::string(what) + ": " + std::generic_category().message(error_number));
}

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid_argument: return "invalid_argument";
    case ErrorKind::system: return "system";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::timeout: return "timeout";
    case ErrorKind::closed: return "closed";
    case ErrorKind::reset: return "reset";
    case ErrorKind::refused: return "refused";
    case ErrorKind::protocol: return "protocol";
    case ErrorKind::tls: return "tls";
    case ErrorKind::limit: return "limit";
    case ErrorKind::unauthenticated: return "unauthenticated";
    case ErrorKind::misdirected: return "misdirected";
  }
  return "unknown";
}

std::string_view to_string(Side side) {
  switch (side) {
    case Side::self: return "self";
    case Side::client: return "client";
    case Side::backend: return "backend";
  }
  return "unknown";
}

}  // namespace sluice
