// SPDX-License-Identifier: GPL-3.0-or-later
// The blocks of a PEM text, by their first and last lines.
#include "pem.h"

#include "library.h"

namespace sluice::tls {

Result<std::vector<Der>> certificates_of_pem(std::string_view pem) {
  constexpr std::string_view begin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view end = "-----END CERTIFICATE-----";
  std::vector<Der> certificates;
  for (;;) {
    const std::size_t start = pem.find(begin);
    if (start == std::string_view::npos) break;
    pem.remove_prefix(start + begin.size());
    const std::size_t stop = pem.find(end);
    if (stop == std::string_view::npos) {
      return fail(ErrorKind::invalid_argument, "a PEM certificate has no end line");
    }
    const Bytes text = as_bytes(pem.substr(0, stop));
    pem.remove_prefix(stop + end.size());
    Der der(text.size());
    auto size = static_cast<word32>(der.size());
    if (text.empty() ||
        Base64_Decode(text.data(), static_cast<word32>(text.size()), der.data(), &size) != 0) {
      return fail(ErrorKind::invalid_argument, "a PEM certificate is not valid base64");
    }
    der.resize(size);
    certificates.push_back(std::move(der));
  }
  if (certificates.empty()) {
    return fail(ErrorKind::invalid_argument, "there is no PEM certificate in it");
  }
  return certificates;
}

}  // namespace sluice::tls
