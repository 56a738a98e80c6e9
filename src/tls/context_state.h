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
  std::vector<std::string> alpn;
};

struct ClientContext::State {
  LibraryContext library;
  std::optional<Trust> trust;
  std::string server_name;
  bool name_is_address = false;
  std::vector<std::string> alpn;
};

// The engine's side of the library's callbacks; `engine` is an Engine::State.
struct EngineCallbacks {
  static int receive(WOLFSSL* ssl, char* buffer, int size, void* engine);
  static int send(WOLFSSL* ssl, char* buffer, int size, void* engine);
  static int verify_client(int verified, WOLFSSL_X509_STORE_CTX* store);
  static int verify_backend(int verified, WOLFSSL_X509_STORE_CTX* store);
};

}  // namespace sluice::tls
