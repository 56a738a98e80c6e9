// SPDX-License-Identifier: GPL-3.0-or-later
// Request fields of any kind, one `name:value` per line. After sanitizing, nothing may be left that
// a server could read as an identity, however generously it reads names.
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/http/fields.h"
#include "sluice/kubernetes/identity_fields.h"

namespace {

// A second reading of names, written without the first one's helpers: decode escapes, then fold.
std::string generous(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    int c = static_cast<unsigned char>(name[i]);
    if (c == '%' && i + 2 < name.size() &&
        std::isxdigit(static_cast<unsigned char>(name[i + 1])) != 0 &&
        std::isxdigit(static_cast<unsigned char>(name[i + 2])) != 0) {
      c = std::stoi(std::string(name.substr(i + 1, 2)), nullptr, 16);
      i += 2;
    }
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    out += c == '_' ? '-' : static_cast<char>(c);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  using namespace sluice::kubernetes;
  static const IdentityFields identity_fields = IdentityFields::make({}).value();
  std::string_view input = as_text({data, size});
  http::Fields fields;
  while (!input.empty()) {
    const std::size_t end = input.find('\n');
    const std::string_view line = input.substr(0, end);
    const std::size_t colon = line.find(':');
    std::string name(line.substr(0, colon));
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    fields.add(name, colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1));
    if (end == std::string_view::npos) break;
    input.remove_prefix(end + 1);
  }
  const Credential credential = classify_credential(fields, true);
  CHECK((credential.kind == CredentialKind::bearer) == !credential.token.empty());
  for (const bool vouching : {false, true}) {
    const std::size_t before = fields.size();
    const Sanitized result = identity_fields.sanitize(fields, vouching);
    CHECK_LE(fields.size(), before);
    CHECK_LE(before, fields.size() + result.identity_fields + result.other_fields);
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const std::string name = generous(fields[i].name);
      CHECK(!name.starts_with("x-remote-") && !name.starts_with("x-forwarded-") &&
            name != "x-real-ip");
      if (vouching) CHECK(name != "authorization" || fields[i].name != "authorization");
    }
  }
  CHECK(classify_credential(fields, true).kind == CredentialKind::none);
  return 0;
}
