// SPDX-License-Identifier: GPL-3.0-or-later
// Start of the library: hooks for time and entropy, and the self-test without which nothing of ours
// begins to serve.
#include "library.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>

#include "context_state.h"
#include "sluice/base/check.h"
#include "sluice/tls/context.h"

// Instrumented code is slow for reasons of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLUICE_SANITIZED 1
#elif defined(__has_feature)
#define SLUICE_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SLUICE_SANITIZED 0
#endif

namespace sluice::tls {

time_t library_time(time_t* out);  // clock.cc

namespace {

std::atomic<Entropy> entropy{nullptr};

int seed(OS_Seed* os, byte* output, word32 size) {
  if (const Entropy source = entropy.load(std::memory_order_relaxed)) {
    source(MutableBytes(output, size));
    return 0;
  }
  return wc_GenerateSeed(os, output, size);
}

bool processor_has_aes() {
#if defined(WOLFSSL_AESNI)
  return IS_INTEL_AESNI(cpuid_get_flags());
#else
  return false;
#endif
}

bool encrypt(Aes& aes, MutableBytes text, MutableBytes tag) {
  const std::array<std::uint8_t, 12> nonce{};
  return wc_AesGcmEncrypt(&aes, text.data(), text.data(), static_cast<word32>(text.size()),
                          nonce.data(), nonce.size(), tag.data(), static_cast<word32>(tag.size()),
                          nullptr, 0) == 0;
}

// Known answers: SHA-256 of "abc" (FIPS 180-4) and AES-128-GCM of sixteen zero bytes under a zero
// key (test case 2 of the mode's specification).
Result<void> known_answers() {
  constexpr std::array<std::uint8_t, 32> digest = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                   0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                   0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                                   0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
  if (sha256(as_bytes("abc")) != digest) {
    return fail(ErrorKind::tls, "the self-test of SHA-256 gave a wrong result");
  }
  constexpr std::array<std::uint8_t, 16> cipher_text = {0x03, 0x88, 0xda, 0xce, 0x60, 0xb6,
                                                        0xa3, 0x92, 0xf3, 0x28, 0xc2, 0xb9,
                                                        0x71, 0xb2, 0xfe, 0x78};
  constexpr std::array<std::uint8_t, 16> cipher_tag = {0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec,
                                                       0x13, 0xbd, 0xf5, 0x3a, 0x67, 0xb2,
                                                       0x12, 0x57, 0xbd, 0xdf};
  Aes aes;
  const std::array<std::uint8_t, 16> key{};
  std::array<std::uint8_t, 16> text{};
  std::array<std::uint8_t, 16> tag{};
  CHECK_EQ(wc_AesInit(&aes, nullptr, INVALID_DEVID), 0);
  const bool good = wc_AesGcmSetKey(&aes, key.data(), key.size()) == 0 && encrypt(aes, text, tag) &&
                    text == cipher_text && tag == cipher_tag;
  wc_AesFree(&aes);
  if (!good) return fail(ErrorKind::tls, "the self-test of AES-GCM gave a wrong result");
  return {};
}

// The library chooses code for this processor at the first use of an algorithm, and notes its
// choice without a lock: that must happen before there are threads.
void choose_implementations() {
  std::array<std::uint8_t, 64> digest{};
  CHECK_EQ(wc_Sha384Hash(digest.data(), 1, digest.data()), 0);
  CHECK_EQ(wc_Sha512Hash(digest.data(), 1, digest.data()), 0);
  CHECK_EQ(wc_Sha3_256Hash(digest.data(), 1, digest.data()), 0);
  MlKemKey key;
  CHECK_EQ(wc_MlKemKey_Init(&key, WC_ML_KEM_768, nullptr, INVALID_DEVID), 0);
  wc_MlKemKey_Free(&key);
}

// Bytes per second of AES-128-GCM over records, the best of a few rounds: others may be busy, too.
[[maybe_unused]] double aes_gcm_speed() {
  using Clock = std::chrono::steady_clock;
  Aes aes;
  const std::array<std::uint8_t, 16> key{};
  std::vector<std::uint8_t> text(16384);
  std::array<std::uint8_t, 16> tag{};
  CHECK_EQ(wc_AesInit(&aes, nullptr, INVALID_DEVID), 0);
  CHECK_EQ(wc_AesGcmSetKey(&aes, key.data(), key.size()), 0);
  double best = 0;
  for (int round = 0; round < 32; ++round) {
    const auto begin = Clock::now();
    CHECK(encrypt(aes, text, tag));
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    best = std::max(best, static_cast<double>(text.size()) / std::max(seconds, 1e-9));
  }
  wc_AesFree(&aes);
  return best;
}

// Without instructions of its own for AES a processor reaches about 0.2 GB/s, with them several.
[[maybe_unused]] constexpr double aes_gcm_speed_min = 0.6e9;

Result<void> start() {
  if (wolfSSL_Init() != WOLFSSL_SUCCESS) return fail(ErrorKind::tls, "wolfSSL does not start");
  if (wc_SetSeed_Cb(seed) != 0 || wc_SetTimeCb(library_time) != 0) {
    return fail(ErrorKind::tls, "wolfSSL was built without its hooks for entropy and time");
  }
  sluice_hooks.judge = EngineCallbacks::judge;
  sluice_hooks.authorities = EngineCallbacks::authorities;
  if (auto good = known_answers(); !good) return good;
  choose_implementations();
#if defined(NDEBUG) && !SLUICE_SANITIZED
  if (!processor_has_aes()) {
    return fail(
        ErrorKind::tls,
        "this processor, or this build, has no instructions for AES: TLS would be too slow to "
        "serve with");
  }
  if (const double speed = aes_gcm_speed(); speed < aes_gcm_speed_min) {
    return fail(ErrorKind::tls,
                fmt::format("AES-GCM reaches only {:.0f} MB/s here: this build does not use the "
                            "processor's instructions for it",
                            speed / 1e6));
  }
#endif
  return {};
}

}  // namespace

Result<void> initialize() {
  static std::once_flag once;
  static Result<void> result;
  std::call_once(once, [] { result = start(); });
  return result;
}

void set_entropy(Entropy source) { entropy.store(source, std::memory_order_relaxed); }

LibraryInfo library_info() { return {LIBWOLFSSL_VERSION_STRING, processor_has_aes()}; }

std::array<std::uint8_t, 32> sha256(Bytes data) {
  std::array<std::uint8_t, 32> digest{};
  CHECK_EQ(wc_Sha256Hash(data.data(), static_cast<word32>(data.size()), digest.data()), 0);
  return digest;
}

}  // namespace sluice::tls
