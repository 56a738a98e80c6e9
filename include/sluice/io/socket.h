// SPDX-License-Identifier: GPL-3.0-or-later
// Sockets as plain descriptors: created, configured and closed here, used through the ring. Part of
// the seam that a simulated ring replaces. Never close a descriptor while an operation on it is in
// flight: the kernel would let the operation live on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/io/address.h"

namespace sluice::io {

struct ListenOptions {
  int backlog = 4096;
  bool reuse_port = true;  // one listener per worker on one address
  bool v6_only = false;    // [::] leaves IPv4 to another listener
};

// A bound, listening TCP socket (SO_REUSEADDR, SO_REUSEPORT, close-on-exec, non-blocking); [::]
// takes IPv4, too, whatever the system's default is, unless `v6_only`. What configure_stream sets
// is set on it, and accepted sockets inherit that.
Result<int> listen_on(const Address& address, const ListenOptions& options);

// An unconnected TCP socket with configure_stream applied.
Result<int> open_stream(int family);

// TCP_NODELAY, TCP_NOTSENT_LOWAT 128 KB, keep-alive; failures are ignored (the socket works).
void configure_stream(int descriptor);

// Whether nobody listens to what would be said any more: the peer's end of stream or a reset waits
// in the socket, and nothing before it. Looks without taking anything.
bool peer_has_ended(int descriptor);

// What was handed to the kernel and the peer's machine has not acknowledged yet, in bytes.
std::size_t unacknowledged_bytes(int descriptor);

// What TCP knows of whether the peer's machine is still there.
struct PeerSigns {
  Duration silence{};            // since anything came from it, be it an acknowledgement
  std::uint32_t unanswered = 0;  // probes, and what was sent again, since then
  bool reset = false;            // it has ended all, whether somebody was told or not
};
PeerSigns signs_of_peer(int descriptor);

// An IPv4 peer of a socket that takes both families is one of IPv4 here.
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
