// SPDX-License-Identifier: GPL-3.0-or-later
// What a context holds for its engines.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "library.h"
#include "sluice/tls/context.h"
#include "trust.h"

namespace sluice::tls {

struct LibraryContext {
  WOLFSSL_CTX* handle = nullptr;
  LibraryContext() = default;
  LibraryContext(const LibraryContext&) = delete;
  LibraryContext& operator=(const LibraryContext&) = delete;
  ~LibraryContext() { wolfSSL_CTX_free(handle); }
};

struct ServerContext::State {
  LibraryContext library;
  std::optional<Trust> trust;  // absent: no client certificate is requested
  bool strict = false;
  std::vector<std::uint8_t> authorities;  // named in a request for a certificate
  std::vector<std::string> alpn;
};

struct ClientContext::State {
  LibraryContext library;
  std::optional<Trust> trust;
  std::vector<std::string> alpn;
};

// The engine's side of the library's callbacks; `engine` is an Engine::State.
struct EngineCallbacks {
  static int receive(WOLFSSL* ssl, char* buffer, int size, void* engine);
  static int send(WOLFSSL* ssl, char* buffer, int size, void* engine);
  static int judge(void* engine, const SluiceCertificate* certificates, int count,
                   SluicePeerKey* key);
  static unsigned authorities(void* engine, const unsigned char** list);
};

}  // namespace sluice::tls
