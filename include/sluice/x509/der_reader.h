// SPDX-License-Identifier: GPL-3.0-or-later
// A reader of DER (ITU-T X.690 section 10), as strict as encoding/asn1 and cryptobyte of Go, which
// API servers read certificates with: definite, shortest lengths, single-byte tags, one encoding of
// each value. Views only; nothing is copied or kept.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "sluice/base/bytes.h"

namespace sluice::x509 {

namespace tag {
constexpr std::uint8_t boolean = 0x01;
constexpr std::uint8_t integer = 0x02;
constexpr std::uint8_t bit_string = 0x03;
constexpr std::uint8_t octet_string = 0x04;
constexpr std::uint8_t object_identifier = 0x06;
constexpr std::uint8_t utf8_string = 0x0c;
constexpr std::uint8_t numeric_string = 0x12;
constexpr std::uint8_t printable_string = 0x13;
constexpr std::uint8_t t61_string = 0x14;
constexpr std::uint8_t ia5_string = 0x16;
constexpr std::uint8_t utc_time = 0x17;
constexpr std::uint8_t generalized_time = 0x18;
constexpr std::uint8_t bmp_string = 0x1e;
constexpr std::uint8_t sequence = 0x30;
constexpr std::uint8_t set = 0x31;
// Context-specific ones.
constexpr std::uint8_t primitive(unsigned number) {
  return static_cast<std::uint8_t>(0x80 | number);
}
constexpr std::uint8_t constructed(unsigned number) {
  return static_cast<std::uint8_t>(0xa0 | number);
}
}  // namespace tag

inline bool equal(Bytes a, Bytes b) { return std::ranges::equal(a, b); }

struct Element {
  std::uint8_t tag = 0;
  Bytes content;
  Bytes whole;  // with tag and length
};

// Reads one element after the other; what is malformed leaves it `failed`, and everything after
// that reads as nothing.
class DerReader {
 public:
  explicit DerReader(Bytes bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  bool at_end() const { return failed_ || rest_.empty(); }
  // Everything was read, and all of it was well formed.
  bool done() const { return !failed_ && rest_.empty(); }
  bool next_is(std::uint8_t tag) const { return !at_end() && rest_[0] == tag; }

  Element any() {
    if (failed_ || rest_.size() < 2) return fail_here();
    const std::uint8_t tag = rest_[0];
    if ((tag & 0x1f) == 0x1f) return fail_here();  // no tag of a certificate is that large
    std::size_t header = 2;
    std::size_t length = rest_[1];
    if (length >= 0x80) {
      const std::size_t digits = length & 0x7f;
      if (digits == 0 || digits > 4 || rest_.size() < 2 + digits) return fail_here();
      length = 0;
      for (std::size_t i = 0; i < digits; ++i) length = length << 8 | rest_[2 + i];
      // The shortest form is the only one in DER.
      if (length < 0x80 || rest_[2] == 0) return fail_here();
      header += digits;
    }
    if (rest_.size() - header < length) return fail_here();
    const Element element{tag, rest_.subspan(header, length), rest_.first(header + length)};
    rest_ = rest_.subspan(header + length);
    return element;
  }

  Element expect(std::uint8_t tag) {
    if (!next_is(tag)) return fail_here();
    return any();
  }

  // The contents of one that may be absent.
  Bytes optional(std::uint8_t tag) { return next_is(tag) ? any().content : Bytes(); }

  bool boolean() {
    const Bytes content = expect(tag::boolean).content;
    if (content.size() != 1 || (content[0] != 0 && content[0] != 0xff)) {
      fail_here();
      return false;
    }
    return content[0] != 0;
  }

  // A non-negative integer in its shortest form, without the zero that keeps it positive.
  Bytes unsigned_integer() {
    Bytes digits = expect(tag::integer).content;
    if (digits.empty() || (digits[0] & 0x80) != 0) return fail_here().content;
    if (digits.size() == 1) return digits;
    if (digits[0] == 0) {
      if ((digits[1] & 0x80) == 0) return fail_here().content;
      digits = digits.subspan(1);
    }
    return digits;
  }

  // The bytes of a bit string, and how many bits of the last one do not count.
  Bytes bits(unsigned& unused) {
    const Bytes content = expect(tag::bit_string).content;
    if (content.empty() || content[0] > 7) return fail_here().content;
    unused = content[0];
    if (content.size() == 1 && unused != 0) return fail_here().content;
    if ((content.back() & ((1U << unused) - 1)) != 0 && content.size() > 1) {
      return fail_here().content;
    }
    return content.subspan(1);
  }

  // The contents of an object identifier whose components are in their shortest form.
  Bytes object_identifier() {
    const Bytes content = expect(tag::object_identifier).content;
    std::uint32_t component = 0;
    bool begins = true;
    if (content.empty()) return fail_here().content;
    for (const std::uint8_t byte : content) {
      if ((begins && byte == 0x80) || component >= (1U << 24)) return fail_here().content;
      component = component << 7 | (byte & 0x7fU);
      begins = (byte & 0x80) == 0;
      if (begins) component = 0;
    }
    return begins ? content : fail_here().content;
  }

 private:
  Element fail_here() {
    failed_ = true;
    rest_ = {};
    return {};
  }

  Bytes rest_;
  bool failed_ = false;
};

}  // namespace sluice::x509
