// SPDX-License-Identifier: GPL-3.0-or-later
// Copies in vectors, to aligned addresses.
#include "sluice/base/copy.h"

#include <cstdint>

#include "sluice/base/check.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace sluice::copy_detail {

namespace {

constexpr std::size_t line_bytes = 64;

void copy_with_library(void* to, const void* from, std::size_t size) {
  std::memcpy(to, from, size);
}

#if defined(__x86_64__)
// Everything is loaded before anything is stored: compilers would otherwise make a call of memcpy
// out of the loop around this.
inline void copy_line(std::uint8_t* to, const std::uint8_t* from) {
  const auto* in = reinterpret_cast<const __m128i*>(from);
  auto* out = reinterpret_cast<__m128i*>(to);
  const __m128i a = _mm_loadu_si128(in);
  const __m128i b = _mm_loadu_si128(in + 1);
  const __m128i c = _mm_loadu_si128(in + 2);
  const __m128i d = _mm_loadu_si128(in + 3);
  _mm_storeu_si128(out, a);
  _mm_storeu_si128(out + 1, b);
  _mm_storeu_si128(out + 2, c);
  _mm_storeu_si128(out + 3, d);
}
#else
void copy_line(std::uint8_t* to, const std::uint8_t* from) { std::memcpy(to, from, line_bytes); }
#endif

CopyFunction choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_is("amd")) return copy_in_vectors;
#endif
  return copy_with_library;
}

}  // namespace

const CopyFunction copy_large = choose();

void copy_in_vectors(void* to, const void* from, std::size_t size) {
  DCHECK(size >= large_copy_bytes);
  auto* const out = static_cast<std::uint8_t*>(to);
  const auto* const in = static_cast<const std::uint8_t*>(from);
  // The first and the last line as they lie, what is between to whole lines of the destination.
  copy_line(out, in);
  std::size_t at = line_bytes - reinterpret_cast<std::uintptr_t>(to) % line_bytes;
  for (; at + line_bytes <= size; at += line_bytes) copy_line(out + at, in + at);
  copy_line(out + size - line_bytes, in + size - line_bytes);
}

}  // namespace sluice::copy_detail
