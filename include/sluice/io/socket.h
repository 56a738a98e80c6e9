// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets as plain descriptors: created, configured and closed here, used through the ring. Part of
// the seam that a simulated ring replaces. Never close a descriptor while an operation on it is in
// flight: the kernel would let the operation live on.
#pragma once

#include "sluice/base/error.h"
#include "sluice/io/address.h"

namespace sluice::io {

struct ListenOptions {
  int backlog = 4096;
  bool reuse_port = true;  // one listener per worker on one address
};

// A bound, listening TCP socket (SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY, close-on-exec,
// non-blocking). What configure_stream sets is set on it, and accepted sockets inherit that.
Result<int> listen_on(const Address& address, const ListenOptions& options);

// An unconnected TCP socket with configure_stream applied.
Result<int> open_stream(int family);

// TCP_NODELAY, TCP_NOTSENT_LOWAT 128 KB, keep-alive; failures are ignored (the socket works).
void configure_stream(int descriptor);

// After connect: the pending error of the socket, 0 if none.
int socket_error(int descriptor);

Result<Address> local_address(int descriptor);
Result<Address> peer_address(int descriptor);

// Half-closes our direction (FIN after what is queued in the kernel).
void shutdown_send(int descriptor);

// Makes close send RST instead of FIN (SO_LINGER 0).
void reset_on_close(int descriptor);

void close_socket(int descriptor);

// Accepts what is left in the backlog of a listener without waiting; -1 when it is empty.
int accept_now(int listener);

// A descriptor by which other threads wake the one that polls it. signal_wake is for any thread;
// drain_wake makes it unreadable again, however often it was signalled. Closed by close_socket.
Result<int> open_wake_descriptor();
void signal_wake(int descriptor);
void drain_wake(int descriptor);

}  // namespace sluice::io
