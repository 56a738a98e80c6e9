/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What of wolfSSL is built: TLS 1.2 (ECDHE with AEAD) and 1.3, both sides, x509 verification, nothing else. A small
 * feature set is a small attack surface: what is not named here does not exist in the binary. The assembler reads this
 * file, too, so it holds macros alone. Included by the library's sources and by everyone who includes its headers.
 */
#ifndef SLUICE_WOLFSSL_USER_SETTINGS_H
#define SLUICE_WOLFSSL_USER_SETTINGS_H

/* --- host: what a configure script would have found out on Linux with glibc ------------------------------------ */
#define HAVE_STDINT_H
#define HAVE_UINTPTR_T
#define HAVE_LIMITS_H
#define HAVE_ERRNO_H
#define HAVE_NETDB_H
#define HAVE_SYS_TIME_H
#define HAVE_GETTIMEOFDAY
#define HAVE_GMTIME_R
#define HAVE_GETRANDOM
#define WOLFSSL_GETRANDOM
#define HAVE_EXPLICIT_BZERO
#define HAVE_PTHREAD
#define _POSIX_THREADS
#define HAVE_THREAD_LS
#define HAVE___UINT128_T 1
#define SIZEOF_LONG 8
#define SIZEOF_LONG_LONG 8
#define SIZEOF_TIME_T 8
#define NO_FILESYSTEM                 /* keys and certificates come as buffers */
#define WOLFSSL_USER_IO               /* bytes come and go through callbacks; no sockets */
#define WOLFSSL_NO_SOCK
#define NO_WRITEV
#ifndef SLUICE_WOLFCRYPT_TEST
#define NO_MAIN_DRIVER
#endif
#define WOLFSSL_IGNORE_FILE_WARN
#define WOLFSSL_USE_ALIGN

/* --- hooks that make a simulated run deterministic: wc_SetSeed_Cb() after wolfSSL_Init(), wc_SetTimeCb() -------- */
#define WC_RNG_SEED_CB
#define HAVE_HASHDRBG

/* --- TLS -------------------------------------------------------------------------------------------------------- */
#define WOLFSSL_TLS13
#define NO_OLD_TLS
#define WOLFSSL_AEAD_ONLY
#define WOLFSSL_HARDEN_TLS 112 /* RFC 9325 */
#define WOLFSSL_EXTRA_ALERTS
#define WOLFSSL_CHECK_ALERT_ON_ERR
#define HAVE_SERVER_RENEGOTIATION_INFO /* the indication of RFC 5746, which clients insist on; no renegotiation */
#define HAVE_TLS_EXTENSIONS
#define HAVE_SUPPORTED_CURVES
#define HAVE_EXTENDED_MASTER
#define HAVE_SNI
#define HAVE_ALPN
#define HAVE_HKDF
#define NO_SESSION_CACHE
#define NO_PSK
#define NO_DH
#define NO_TLS_DH
#define WOLFSSL_TLS_READ_AHEAD /* off until asked for per context: it holds 17 KB per connection */
#define NO_HANDSHAKE_DONE_CB

/* --- verification: the verdict over a peer's chain is ours (peer-verdict.patch); the library reads what we show --- */
#define WOLFSSL_ASN_TEMPLATE
#define WOLFSSL_IP_ALT_NAME
#define MAX_CHAIN_DEPTH 32 /* and 64 KB for a whole chain: longer ones are refused with a reason, not with silence */
#define WOLFSSL_CERT_EXT
#define WOLFSSL_ALT_NAMES

/* --- algorithms ------------------------------------------------------------------------------------------------- */
#define HAVE_AESGCM
#define GCM_TABLE_4BIT
#define NO_AES_CBC
#define HAVE_CHACHA
#define HAVE_POLY1305
#define HAVE_ONE_TIME_AUTH
#define WOLFSSL_SHA224
#define WOLFSSL_SHA384
#define WOLFSSL_SHA512
#define WOLFSSL_SHA3
#define WOLFSSL_SHAKE128
#define WOLFSSL_SHAKE256
#define NO_SHA /* no SHA-1: a certificate signed with it does not verify, as at the API server */
#define HAVE_ECC
#define HAVE_ECC384
#define HAVE_ECC521
#define HAVE_ECC224 /* to verify with: Go does */
#define ECC_SHAMIR
#define ECC_TIMING_RESISTANT
#define TFM_TIMING_RESISTANT
#define WC_RSA_BLINDING
#define WC_RSA_PSS
#define WOLFSSL_PSS_LONG_SALT
#define HAVE_CURVE25519
#define HAVE_ED25519
#define HAVE_ED25519_KEY_IMPORT
#define WOLFSSL_HAVE_MLKEM
#define WOLFSSL_TLS_NO_MLKEM_STANDALONE
#define WOLFSSL_PQC_HYBRIDS
#define WOLFSSL_NO_ML_KEM_512
#define WOLFSSL_NO_ML_KEM_1024
#define NO_DSA
#define NO_RC4
#define NO_DES3
#define NO_MD4
#define NO_MD5
#define NO_PKCS12
#define NO_PWDBASED
#define NO_DES3_TLS_SUITES

/* --- big numbers: single precision, with assembly where there is some ------------------------------------------- */
#define WOLFSSL_SP_MATH_ALL
#define WOLFSSL_HAVE_SP_RSA
#define WOLFSSL_HAVE_SP_ECC
#define WOLFSSL_SP_384
#define WOLFSSL_SP_521
#define WOLFSSL_SP_4096
#define SP_INT_BITS 8192 /* the largest RSA key that Go meets in TLS */
#if defined(__x86_64__)
#define WOLFSSL_SP_ASM
#define WOLFSSL_SP_X86_64
#define WOLFSSL_SP_X86_64_ASM
#define WOLFSSL_AESNI
#define USE_INTEL_SPEEDUP
#endif

#endif
