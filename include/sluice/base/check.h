// SPDX-License-Identifier: GPL-3.0-or-later
// Assertions for our own mistakes. CHECK is always on, DCHECK only in debug builds. Both print the
// condition with its place (and the values, for the comparing forms) to standard error and abort.
// Never used on what a peer sent: that is a Result.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

namespace sluice {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& values);

namespace check_detail {
template <class T>
std::string show(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<long long>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_pointer_v<T>) {
    return value == nullptr ? "null" : "pointer";
  } else {
    return "?";
  }
}
}  // namespace check_detail

}  // namespace sluice

#define SLUICE_CHECK_IMPL(condition)                              \
  do {                                                            \
    if (!(condition)) [[unlikely]] {                              \
      ::sluice::check_failed(__FILE__, __LINE__, #condition, {}); \
    }                                                             \
  } while (false)

#define SLUICE_CHECK_OP_IMPL(a, op, b)                                             \
  do {                                                                             \
    const auto& check_a = (a);                                                     \
    const auto& check_b = (b);                                                     \
    if (!(check_a op check_b)) [[unlikely]] {                                      \
      ::sluice::check_failed(__FILE__, __LINE__, #a " " #op " " #b,                \
                             ::sluice::check_detail::show(check_a) + " " #op " " + \
                                 ::sluice::check_detail::show(check_b));           \
    }                                                                              \
  } while (false)

#define CHECK(condition) SLUICE_CHECK_IMPL(condition)
#define CHECK_EQ(a, b) SLUICE_CHECK_OP_IMPL(a, ==, b)
#define CHECK_NE(a, b) SLUICE_CHECK_OP_IMPL(a, !=, b)
#define CHECK_LE(a, b) SLUICE_CHECK_OP_IMPL(a, <=, b)
#define CHECK_LT(a, b) SLUICE_CHECK_OP_IMPL(a, <, b)
#define CHECK_GE(a, b) SLUICE_CHECK_OP_IMPL(a, >=, b)
#define CHECK_GT(a, b) SLUICE_CHECK_OP_IMPL(a, >, b)

#ifdef NDEBUG
#define DCHECK(condition)    \
  do {                       \
    (void)sizeof(condition); \
  } while (false)
#else
#define DCHECK(condition) SLUICE_CHECK_IMPL(condition)
#endif
