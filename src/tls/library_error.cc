// SPDX-License-Identifier: GPL-3.0-or-later
// What an error code or an alert means, for the log: in our words where peers cause it often, in
// the library's own otherwise.
#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>

#include "library.h"

namespace sluice::tls {

namespace {

std::string_view our_words(int code) {
  switch (code) {
    case UNSUPPORTED_SUITE:
    case MATCH_SUITE_ERROR:
      return "no cipher suite in common: TLS 1.3, or TLS 1.2 with ECDHE and AEAD, is needed";
    case VERSION_ERROR:
    case UNSUPPORTED_PROTO_VERSION: return "no version in common: TLS 1.2 or 1.3 is needed";
    case KEY_SHARE_ERROR:
    case BAD_KEY_SHARE_DATA:
    case ECC_CURVE_ERROR:
      return "no key exchange group in common: X25519MLKEM768, X25519, P-256 or P-384 is needed";
    case UNKNOWN_ALPN_PROTOCOL_NAME_E: return "no application protocol (ALPN) in common";
    case PARSE_ERROR:
    case UNKNOWN_RECORD_TYPE:
    case LENGTH_ERROR: return "what the peer sent is no TLS record";
    case BUFFER_ERROR:
    case DECODE_E:
    case INVALID_PARAMETER:
    case MISSING_HANDSHAKE_DATA:
    case UNKNOWN_HANDSHAKE_TYPE:
    case BAD_HELLO:
    case INCOMPLETE_DATA: return "a handshake message of the peer is malformed";
    case SANITY_MSG_E:
    case OUT_OF_ORDER_E:
    case DUPLICATE_MSG_E:
    case NO_CHANGE_CIPHER_E: return "a handshake message of the peer came out of turn";
    case EXT_MISSING:
    case EXT_NOT_ALLOWED:
    case UNSUPPORTED_EXTENSION:
    case DUPLICATE_TLS_EXT_E: return "the extensions of a handshake message do not fit";
    case HANDSHAKE_SIZE_ERROR: return "a handshake message of the peer is too large";
    case DECRYPT_ERROR:
    case VERIFY_MAC_ERROR:
    case AES_GCM_AUTH_E:
    case MAC_CMP_FAILED_E: return "a record of the peer cannot be decrypted";
    case VERIFY_FINISHED_ERROR: return "the handshake was changed on its way";
    case VERIFY_SIGN_ERROR:
    case SIG_VERIFY_E: return "the peer did not prove that it has the key of its certificate";
    case PEER_KEY_ERROR: return "the key in the peer's certificate cannot be used";
    case NO_PEER_CERT: return "the peer showed no certificate";
    case MAX_CHAIN_ERROR: return "the peer's certificate chain is too long";
    case SECURE_RENEGOTIATION_E: return "the peer wants to negotiate anew, which is not served";
    case SOCKET_PEER_CLOSED_E: return "the peer closed during the handshake";
    case FATAL_ERROR: return "the peer sent a fatal alert";
    case ASN_NO_SIGNER_E: return "the certificate's authority is not trusted here";
    case ASN_SIG_CONFIRM_E: return "the signature of the certificate is wrong";
    case ASN_BEFORE_DATE_E: return "the certificate is not valid yet";
    case ASN_AFTER_DATE_E: return "the certificate has expired";
    case ASN_PARSE_E: return "the certificate is malformed";
    default: return {};
  }
}

// RFC 8446 section 6.2 and its predecessors.
constexpr auto alerts = std::to_array<std::pair<int, std::string_view>>({
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {111, "certificate_unobtainable"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {114, "bad_certificate_hash_value"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
});

}  // namespace

std::string library_error(int code) {
  std::string_view words = our_words(code);
  // Knows the codes of both of the library's layers, other than wc_GetErrorString.
  if (words.empty()) words = wolfSSL_ERR_reason_error_string(static_cast<unsigned long>(code));
  if (words.starts_with("unknown error")) words = "an error that has no name";
  return fmt::format("{} ({})", words, code);
}

std::string alert_text(int description) {
  for (const auto& [number, name] : alerts) {
    if (number == description) return fmt::format("{} ({})", name, number);
  }
  return fmt::format("{}", description);
}

}  // namespace sluice::tls
