// SPDX-License-Identifier: GPL-3.0-or-later
// memcpy for records and blocks of kilobytes that lie at any address.
//
// The C library copies so much with `rep movsb`, which processors of AMD do slowly unless the
// destination is aligned; where a record lies in a batch of records is left to chance. There, and
// only there, a loop of vectors takes its place.
#pragma once

#include <cstddef>
#include <cstring>

namespace sluice {

// Below it the C library copies with vectors by itself.
constexpr std::size_t large_copy_bytes = 1024;

namespace copy_detail {
using CopyFunction = void (*)(void* to, const void* from, std::size_t size);
extern const CopyFunction copy_large;  // chosen for this processor before main()
// At least large_copy_bytes.
void copy_in_vectors(void* to, const void* from, std::size_t size);
}  // namespace copy_detail

// The two must not overlap.
inline void copy_bytes(void* to, const void* from, std::size_t size) {
  if (size >= large_copy_bytes) {
    copy_detail::copy_large(to, from, size);
  } else if (size > 0) {  // an empty view may have no address
    std::memcpy(to, from, size);
  }
}

}  // namespace sluice
