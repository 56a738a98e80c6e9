// SPDX-License-Identifier: GPL-3.0-or-later
// What connections of one thread share, and the work at the end of a turn.
#include "sluice/net/transport.h"

#include <algorithm>

#include "sluice/base/check.h"
#include "sluice/net/connection.h"

namespace sluice::net {
namespace {

// Of a turn's time for handshakes: each is time for which established traffic waits.
constexpr int part_of_strangers = 4;

}  // namespace

BufferPool::BufferPool(std::size_t buffer_bytes, std::size_t keep_max)
    : buffer_bytes_(buffer_bytes), keep_max_(keep_max) {}

std::unique_ptr<std::uint8_t[]> BufferPool::lease() {
  ++leased_;
  if (free_.empty()) return std::make_unique_for_overwrite<std::uint8_t[]>(buffer_bytes_);
  auto buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::give_back(std::unique_ptr<std::uint8_t[]> buffer) {
  CHECK_GT(leased_, std::size_t{0});
  --leased_;
  if (free_.size() < keep_max_) free_.push_back(std::move(buffer));
}

Transport::Transport(io::Reactor& reactor, const TransportOptions& options)
    : reactor_(reactor),
      options_(options),
      send_buffers_(options.send_buffer_bytes, 64),
      flush_(io::TurnEnd::bind<&Transport::flush>(this)),
      handshake_(io::TurnEnd::bind<&Transport::handshake>(this)),
      input_turns_(io::TurnEnd::bind<&Transport::read_input>(this)),
      reap_(io::TurnEnd::bind<&Transport::reap>(this)) {
  CHECK_GE(options.send_buffer_bytes, 2 * tls::encrypted_record_bytes_max);
}

void Transport::update(const TransportOptions& options) {
  const std::size_t send_buffer_bytes = options_.send_buffer_bytes;  // of the pool that there is
  options_ = options;
  options_.send_buffer_bytes = send_buffer_bytes;
}

Transport::~Transport() { CHECK_EQ(connections_, std::size_t{0}); }

void Transport::flush() {
  // A flush may make other connections dirty (a body that moved on): they follow in this turn. Each
  // connection has at most one send in flight, so this ends.
  while (TcpConnection* connection = to_flush_.pop_front()) {
    reactor_.working_on(connection->descriptor_);
    connection->flush();
  }
}

void Transport::handshake() {
  const io::Ring& ring = reactor_.ring();
  const Instant begin = ring.clock();
  while (Connection* connection = next_handshake()) {
    reactor_.working_on(connection->tcp_.descriptor());
    connection->continue_handshake();
    const Duration limit = connection->is_strangers()
                               ? options_.handshake_time_per_turn / part_of_strangers
                               : options_.handshake_time_per_turn;
    if (ring.clock() - begin >= limit) break;
  }
  // Their flights, and what requests behind them have set in motion.
  flush();
  flush_.unlink();
  if (!own_handshakes_.empty() || !handshakes_.empty()) {
    // The rest goes on in the next turn, after established traffic.
    reactor_.at_turn_end(handshake_, io::Reactor::Phase::handshakes);
  }
}

// Who waits for a backend has been let in already.
Connection* Transport::next_handshake() {
  if (Connection* own = own_handshakes_.pop_front()) return own;
  return static_cast<Connection*>(handshakes_.pop());
}

// Whether a client's new handshake has a place in the queue.
bool Transport::may_wait(const balance::FairShare& share) const {
  if (handshakes_.size() < options_.handshake_queue_max) return true;
  return handshakes_.waiting(share) < handshakes_.places_of(share, options_.handshake_queue_max);
}

// What one may do at once is bounded by itself, how many there are is not.
void Transport::read_input() {
  List<Connection, InputTag> own;
  own.splice_back(own_input_);
  while (Connection* connection = own.pop_front()) {
    reactor_.working_on(connection->tcp_.descriptor());
    connection->take_turn();
  }
  const io::Ring& ring = reactor_.ring();
  const Instant begin = ring.clock();
  while (auto* connection = static_cast<Connection*>(input_.pop())) {
    reactor_.working_on(connection->tcp_.descriptor());
    connection->take_turn();
    if (ring.clock() - begin >= options_.input_time_per_turn) break;
  }
  if (!own_input_.empty() || !input_.empty()) {
    reactor_.at_turn_end(input_turns_, io::Reactor::Phase::resume);
  }
}

void Transport::reap() {
  List<TcpConnection, ReapTag> ended;
  ended.splice_back(to_reap_);
  while (TcpConnection* connection = ended.pop_front()) {
    reactor_.working_on(connection->descriptor_);
    connection->finish_close();
  }
}

}  // namespace sluice::net
