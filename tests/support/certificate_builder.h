// SPDX-License-Identifier: GPL-3.0-or-later
// Builds certificates piece by piece, right or wrong ones, for tests of what reads them. Nothing in
// them is signed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::test {

using namespace std::string_literals;

inline std::string der(unsigned tag, std::string_view contents) {
  std::string out(1, static_cast<char>(tag));
  const std::size_t size = contents.size();
  if (size < 0x80) {
    out += static_cast<char>(size);
  } else {
    std::string length;
    for (std::size_t rest = size; rest > 0; rest >>= 8) {
      length.insert(length.begin(), static_cast<char>(rest & 0xff));
    }
    out += static_cast<char>(0x80 + length.size());
    out += length;
  }
  out += contents;
  return out;
}

inline std::string sequence(std::string_view contents) { return der(0x30, contents); }

inline const std::string common_name = "\x55\x04\x03"s;
inline const std::string organization = "\x55\x04\x0a"s;
inline const std::string unit = "\x55\x04\x0b"s;
inline const std::string uid = "\x2b\x06\x01\x04\x01\x83\xc2\x53\x02"s;

inline constexpr unsigned utf8_string = 0x0c, numeric = 0x12, printable = 0x13, t61 = 0x14,
                          ia5 = 0x16, universal = 0x1c, bmp = 0x1e;

struct Attribute {
  std::string type;
  std::string value;
  unsigned tag = utf8_string;
};

inline std::string attribute(const Attribute& a) {
  return sequence(der(0x06, a.type) + der(a.tag, a.value));
}

// The contents of a Name with one attribute per set.
inline std::string name(const std::vector<Attribute>& attributes) {
  std::string out;
  for (const Attribute& a : attributes) out += der(0x31, attribute(a));
  return out;
}

struct Extension {
  std::string id;
  std::string value;
  std::string critical;  // "", or the DER of a BOOLEAN
};

inline const std::string critical = "\x01\x01\xff"s;

inline Extension basic_constraints(std::string contents) {
  return {"\x55\x1d\x13"s, sequence(contents), critical};
}

inline Extension extended_key_usage(const std::vector<std::string>& usages) {
  std::string contents;
  for (const std::string& usage : usages) contents += der(0x06, usage);
  return {"\x55\x1d\x25"s, sequence(contents), ""};
}

inline const std::string server_auth = "\x2b\x06\x01\x05\x05\x07\x03\x01"s;
inline const std::string client_auth = "\x2b\x06\x01\x05\x05\x07\x03\x02"s;
inline const std::string any_usage = "\x55\x1d\x25\x00"s;

struct Certificate {
  std::string version = der(0xa0, "\x02\x01\x02"s);
  std::string serial = "\x01"s;
  std::string algorithm = der(0x06, "\x2a\x86\x48\xce\x3d\x04\x03\x02"s);
  std::string outer_algorithm = algorithm;
  std::string issuer = name({{common_name, "authority"}});
  std::string not_before = der(0x17, "260101000000Z");
  std::string not_after = der(0x17, "270101000000Z");
  std::string subject = name({{common_name, "alice"}});
  std::string key = sequence(der(0x06, "\x2b\x65\x70"s)) + der(0x03, "\0"s + std::string(32, 'k'));
  std::string unique_ids;
  std::vector<Extension> extensions;
  std::string trailer;  // behind the extensions

  std::string build() const {
    std::string tbs = version + der(0x02, serial) + sequence(algorithm) + sequence(issuer) +
                      sequence(not_before + not_after) + sequence(subject) + sequence(key) +
                      unique_ids;
    if (!extensions.empty()) {
      std::string list;
      for (const Extension& e : extensions) {
        list += sequence(der(0x06, e.id) + e.critical + der(0x04, e.value));
      }
      tbs += der(0xa3, sequence(list));
    }
    tbs += trailer;
    return sequence(sequence(tbs) + sequence(outer_algorithm) + der(0x03, "\0signature"s));
  }
};

}  // namespace sluice::test
