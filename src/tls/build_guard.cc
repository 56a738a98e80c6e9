// SPDX-License-Identifier: GPL-3.0-or-later
// Stops the build when wolfSSL's settings contain what makes it accept forged or foreign
// identities, keeps secrets longer or gives them away, or when something is missing that our
// promises rest on.
#include "library.h"

#if LIBWOLFSSL_VERSION_HEX < 0x05009004
#error "wolfSSL 5.9.4 is the oldest with the fixes that we need"
#endif

// --- what must not be there: certificates accepted without being verified
#ifdef WOLFSSL_TRUST_PEER_CERT
#error "WOLFSSL_TRUST_PEER_CERT matches certificates by name"
#endif
#ifdef OPENSSL_COMPATIBLE_DEFAULTS
#error "OPENSSL_COMPATIBLE_DEFAULTS weakens verification"
#endif
#ifdef WOLFSSL_ALT_CERT_CHAINS
#error "WOLFSSL_ALT_CERT_CHAINS ignores certificates that do not verify"
#endif
#ifdef IGNORE_KEY_EXTENSIONS
#error "IGNORE_KEY_EXTENSIONS accepts certificates for other purposes"
#endif
#ifdef IGNORE_NAME_CONSTRAINTS
#error "IGNORE_NAME_CONSTRAINTS accepts what a CA may not issue"
#endif
#ifdef ALLOW_INVALID_CERTSIGN
#error "ALLOW_INVALID_CERTSIGN accepts signers that may not sign"
#endif
#ifdef ALLOW_V1_EXTENSIONS
#error "ALLOW_V1_EXTENSIONS accepts malformed certificates"
#endif
#ifdef ALLOW_SELFSIGNED_INVALID_CERTSIGN
#error "ALLOW_SELFSIGNED_INVALID_CERTSIGN accepts signers that may not sign"
#endif
#if defined(NO_ASN_TIME) || defined(NO_ASN_TIME_CHECK)
#error "without ASN time expired certificates are good"
#endif
#ifdef NO_VERIFY_OID
#error "NO_VERIFY_OID does not check signature algorithms"
#endif
#ifdef WOLFSSL_NO_CRL_DATE_CHECK
#error "WOLFSSL_NO_CRL_DATE_CHECK accepts old revocation lists"
#endif
#ifdef WOLFSSL_NO_ASN_STRICT
#error "WOLFSSL_NO_ASN_STRICT accepts malformed certificates"
#endif
#ifdef WOLFSSL_ASN_ORIGINAL
#error "the original ASN.1 parser is not the maintained one"
#endif
#ifdef NO_SKID
#error "NO_SKID finds signers by name alone"
#endif
#ifdef WOLFSSL_NO_CLIENT_AUTH
#error "WOLFSSL_NO_CLIENT_AUTH leaves out client certificates"
#endif
#if defined(NO_CERTS) || defined(WOLFSSL_SMALL_CERT_VERIFY)
#error "certificates must be verified by the ordinary way"
#endif

// --- what must not be there: other ways to a session than a full handshake with a certificate
// -----
#ifdef HAVE_SESSION_TICKET
#error "tickets resume sessions without the client's certificate"
#endif
#ifndef NO_SESSION_CACHE
#error "the session cache is shared between contexts; NO_SESSION_CACHE is needed"
#endif
#ifdef HAVE_EXT_CACHE
#error "HAVE_EXT_CACHE resumes sessions"
#endif
#ifdef WOLFSSL_EARLY_DATA
#error "early data can be replayed"
#endif
#if !defined(NO_PSK) || defined(WOLFSSL_STATIC_PSK)
#error "pre-shared keys authenticate nobody here; NO_PSK is needed"
#endif
#ifdef WOLFSSL_POST_HANDSHAKE_AUTH
#error "identities are established in the handshake alone"
#endif
#if defined(HAVE_SECURE_RENEGOTIATION) || defined(HAVE_RENEGOTIATION_INDICATION)
#error "renegotiation must not be possible"
#endif
#ifdef HAVE_RPK
#error "raw public keys have no chain to verify"
#endif
#ifdef HAVE_ANON
#error "anonymous suites authenticate nobody"
#endif
#ifdef HAVE_NULL_CIPHER
#error "null ciphers do not encrypt"
#endif
#if defined(WOLFSSL_STATIC_RSA) || defined(WOLFSSL_STATIC_DH)
#error "static key exchange has no forward secrecy"
#endif
#if defined(HAVE_TRUSTED_CA) || defined(HAVE_ECH)
#error "extensions that nobody needs here"
#endif
#if defined(HAVE_CERTIFICATE_STATUS_REQUEST) || defined(HAVE_CERTIFICATE_STATUS_REQUEST_V2) || \
    defined(HAVE_OCSP)
#error "OCSP would connect to the network during a handshake"
#endif

// --- what must not be there: old protocols and algorithms
#ifndef NO_OLD_TLS
#error "TLS 1.0 and 1.1 must be left out; NO_OLD_TLS is needed"
#endif
#if defined(WOLFSSL_ALLOW_TLSV10) || defined(WOLFSSL_ALLOW_SSLV3) || defined(WOLFSSL_ALLOW_TLS_SHA1)
#error "old protocol versions must be left out"
#endif
#ifndef WOLFSSL_AEAD_ONLY
#error "only AEAD suites may exist; WOLFSSL_AEAD_ONLY is needed"
#endif
#if defined(WOLFSSL_DTLS) || defined(WOLFSSL_DTLS13) || defined(WOLFSSL_QUIC)
#error "only TLS over streams is used"
#endif
#if !defined(NO_RC4) || !defined(NO_DES3) || !defined(NO_MD5) || !defined(NO_MD4) || \
    !defined(NO_DSA)
#error "RC4, DES, MD5, MD4 and DSA must be left out"
#endif

// --- what must not be there: secrets given away, foreign interfaces, unsafe memory
#if defined(WOLFSSL_SSLKEYLOGFILE) || defined(SHOW_SECRETS) || defined(DEBUG_WOLFSSL) || \
    defined(WOLFSSL_HAVE_PRF_SECRET_LOG)
#error "secrets must not be written anywhere"
#endif
#if defined(HAVE_SECRET_CALLBACK) && defined(NDEBUG)
#error "secrets must not leave the library in a release build"
#endif
#ifdef WOLFSSL_CALLBACKS
#error "WOLFSSL_CALLBACKS has had memory errors"
#endif
#if defined(OPENSSL_EXTRA) || defined(OPENSSL_ALL) || defined(OPENSSL_EXTRA_X509_SMALL)
#error "the compatibility layer has verification functions of its own"
#endif
#if defined(SESSION_CERTS) || defined(KEEP_PEER_CERT)
#error "the engine keeps what is needed of the chain; this would keep more"
#endif
#ifdef SINGLE_THREADED
#error "several threads use the library"
#endif
#if defined(USE_FAST_MATH) || defined(USE_INTEGER_HEAP_MATH) || defined(NO_TFM_TIMING_RESISTANT)
#error "only the single-precision integers are timing resistant by default"
#endif
#if defined(WC_NO_HARDEN) || defined(WC_NO_RNG) || defined(WC_NO_HASHDRBG)
#error "hardening and the random generator are needed"
#endif
#ifdef STATIC_CHUNKS_ONLY
#error "STATIC_CHUNKS_ONLY limits records"
#endif
#if defined(LARGE_STATIC_BUFFERS) || defined(GCM_TABLE) || defined(GCM_TABLE_8BIT)
#error "this would multiply the memory of an idle connection"
#endif

// --- what must be there --------------------------------------------------------------------------
#if !defined(WOLFSSL_TLS13) || !defined(HAVE_TLS_EXTENSIONS) || !defined(HAVE_SNI) || \
    !defined(HAVE_ALPN) || !defined(HAVE_SUPPORTED_CURVES) || !defined(HAVE_EXTENDED_MASTER)
#error "TLS 1.3, SNI, ALPN, groups and the extended master secret are needed"
#endif
#if !defined(HAVE_AESGCM) || !defined(GCM_TABLE_4BIT) || !defined(HAVE_CHACHA) || \
    !defined(HAVE_POLY1305) || !defined(HAVE_ECC) || !defined(HAVE_CURVE25519) || \
    !defined(WOLFSSL_HAVE_MLKEM)
#error "an algorithm of our suites or groups is missing"
#endif
#ifndef SLUICE_HOOKS_H
#error "the verdict over a peer's chain must be ours"
#endif
#if !defined(WOLFSSL_IP_ALT_NAME) || !defined(WOLFSSL_TLS_READ_AHEAD) || \
    !defined(WOLFSSL_EXTRA_ALERTS)
#error "addresses in certificates, read-ahead and alerts are needed"
#endif
#if !defined(WC_RNG_SEED_CB) || !defined(HAVE_HASHDRBG)
#error "the hook for entropy is needed"
#endif
#if !defined(ECC_TIMING_RESISTANT) || !defined(TFM_TIMING_RESISTANT) || !defined(WC_RSA_BLINDING)
#error "protection against timing attacks is needed"
#endif
#if SP_INT_BITS < 8192
#error "RSA keys of up to 8192 bits are met"
#endif
#if MAX_CHAIN_DEPTH > 32
#error "longer chains only cost memory"
#endif
#if defined(__x86_64__) && \
    (!defined(WOLFSSL_AESNI) || !defined(USE_INTEL_SPEEDUP) || !defined(WOLFSSL_SP_X86_64_ASM))
#error "the assembly for x86-64 is needed"
#endif

namespace sluice::tls {

// A translation unit must not be empty.
extern const bool build_guarded;
const bool build_guarded = true;

}  // namespace sluice::tls
