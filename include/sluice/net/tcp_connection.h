// SPDX-License-Identifier: GPL-3.0-or-later
// A TCP connection on the ring: a descriptor, one receive and at most one send in flight, and an
// orderly close. What the bytes mean is its owner's business.
//
//   connecting ──▶ open ──▶ closing ──▶ lingering ──▶ terminating ──▶ closed
//        │           │    (sends what   (FIN is sent,      ▲
//        │           │     is left)      discards)         │
//        └───────────┴────────── any error ────────────────┘
//
// Owner: whoever implements TcpHandler, usually as a member. The connection must not be destroyed
// before on_closed(); on_closed() itself comes from the end of the turn, so the owner may destroy
// it there. Thread: the transport's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/tally.h"
#include "sluice/base/transitions.h"
#include "sluice/io/address.h"
#include "sluice/io/operation.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/peer_watch.h"
#include "sluice/net/transport.h"

namespace sluice::net {

class TcpHandler {
 public:
  virtual ~TcpHandler() = default;

  // connect() has succeeded; what was accepted is open from the beginning.
  virtual void on_connected() {}
  // What has arrived; the view is valid during the call. After pause_receiving() it may come once
  // or twice more, with what was taken out of the socket before.
  virtual void on_receive(Bytes bytes) = 0;

  struct Fill {
    std::size_t bytes = 0;  // written to the beginning of the room
    bool more = false;      // something is left to be said, which found no room
  };
  // End of turn: what is to be sent is written into `room`. While closing, the first fill that
  // leaves nothing is the last word, and the FIN follows it.
  virtual Fill on_fill(MutableBytes room) = 0;
  // The peer's end of stream, a reset, a deadline, or what fail() and close_after() were told. At
  // the end of the turn, at most once, and only for what came before close() and terminate(). The
  // connection ends by itself afterwards.
  virtual void on_end(const Error& error) = 0;
  // The peer's end of stream. True: our direction stays open, until close() or an error. Else
  // on_end() follows.
  virtual bool on_peer_ended() { return false; }
  // Of a watched peer that is still there, every half minute or so; `quiet`: it was not heard for
  // a while, and may be asked something. False: it is not to be watched any more.
  virtual bool still_watched(bool quiet) {
    (void)quiet;
    return true;
  }
  // Nothing is in flight, the descriptor is closed: the last call.
  virtual void on_closed() = 0;
};

class TcpConnection : public ListNode<FlushTag>, public ListNode<ReapTag> {
 public:
  enum class State : std::uint8_t {
    idle,  // before accept() or connect()
    connecting,
    open,
    closing,      // what is left is sent; input is discarded from here on
    lingering,    // the FIN is sent; until the peer's end, or as long as it acknowledges something
    terminating,  // waiting for operations in flight
    closed,
  };

  TcpConnection(Transport& transport, TcpHandler& handler);
  ~TcpConnection();  // CHECKs that it never began, or is closed

  // Takes over an accepted descriptor. Nothing is received before receive() or receive_once().
  void accept(int descriptor);
  // Opens a descriptor and connects, within `connect_timeout`. An immediate failure is reported by
  // on_end at turn's end.
  void connect(const io::Address& address);

  // These three only while the connection is open.
  // Receives from here on.
  void receive();
  // From now on a pause takes nothing more than one piece out of the socket. (Otherwise what comes
  // at once, which may be half a megabyte.) For a peer whom nothing but its window bounds.
  void receive_in_pieces();
  // Receives one piece. Nothing is being received.
  void receive_once();
  // Takes nothing more out of the socket until receive(): the peer's own window then bounds what it
  // can send, and its end of stream waits behind what it sent.
  void pause_receiving();

  // There is something to fill in; flushed at the end of this turn (or when the send in flight
  // ends). Cheap to call often.
  void mark_dirty();

  // Half an end: what on_fill still gives is sent, then FIN; input goes on. The first fill that
  // leaves nothing is the last word.
  void end_output();
  bool ending_output() const { return output_ != Output::open; }

  // From now on the peer may take what is sent as slowly as it likes, but is gone when nothing, not
  // even an acknowledgement, has come from it for `silence_max` (zero: however long that is)
  // although it was asked. See PeerWatch; of one that is watched already nothing changes.
  void watch_peer(Duration silence_max);
  void watch_peer() { watch_peer(transport_.options().peer_silence_max); }
  // It ended because its peer's machine was not heard any more, by us or by the kernel.
  bool peer_vanished() const { return vanished_; }

  // From now on a reset that a send finds, or a pause, is told behind what had come before it: who
  // has nobody to send to may still have something to read, and as slowly as it likes.
  void hear_out() { hears_out_ = true; }

  // Orderly end: what on_fill still gives is sent as long as the peer takes it
  // (`send_stall_timeout`), then FIN; input is discarded (no more than 256 KiB of it is read) until
  // the peer ends, or for `close_linger` in which it acknowledges nothing more; then on_closed.
  void close();
  // The same because of an error, which on_end will tell.
  void close_after(Error error);
  // Ends now, because of an error that on_end will tell, unless it is on its way out already.
  void fail(Error error);
  // Ends now: cancels what is in flight, closes the descriptor; then on_closed.
  void terminate();
  // The same with a line in the log: a mistake of ours costs one connection, not all.
  void terminate_by_mistake(std::string_view state, std::string_view next);

  State state() const { return state_; }
  // True while bytes wait for the peer to take them.
  bool send_in_flight() const { return send_.in_flight(); }
  // Of the send buffer, as a whole, until the peer's window or the socket's buffer has taken it.
  std::size_t sending_bytes() const { return sending_bytes_.part(); }
  const io::Address& peer() const { return peer_; }
  int descriptor() const { return descriptor_; }  // -1: none
  Transport& transport() { return transport_; }

  // `state`: what the owner calls its state.
  std::string describe(std::string_view state) const;

 private:
  friend class Transport;
  // Which states may come before each, in their order.
  static constexpr Transitions<State, 7> transitions{{
      0,                                                                         // idle
      states(State::idle),                                                       // connecting
      states(State::idle, State::connecting),                                    // open
      states(State::open),                                                       // closing
      states(State::closing),                                                    // lingering
      states(State::connecting, State::open, State::closing, State::lingering),  // terminating
      states(State::terminating),                                                // closed
  }};
  enum class Receiving : std::uint8_t {
    paused,
    once,
    on,
    ended,  // the peer's end of stream is here
  };
  enum class Output : std::uint8_t { open, ending, ended };
  enum class Sending : std::uint8_t {
    idle,
    in_flight,
    in_flight_and_dirty,  // there is more to fill in when it ends
    last_words,           // in flight; nothing follows but a FIN
  };

  void set_state(State state);
  void connected(const io::Completion& completion);
  void received(const io::Completion& completion);
  void receive_ended(std::int32_t result);
  void receive_failed(Error error);
  Error error_of(std::string_view operation, std::int32_t result);
  void discard(const io::Completion& completion);
  void look_for_peer();
  void flush();
  void send();
  void sent(const io::Completion& completion);
  void send_failed(Error error);
  void deadline_passed();
  void set_deadline(Duration timeout);
  void fin();
  void linger_or_terminate();
  void report(Error error);
  bool in_flight() const;
  void join();
  void reap_at_turn_end();
  void finish_close();

  Transport& transport_;
  TcpHandler& handler_;
  State state_ = State::idle;
  Receiving receiving_ = Receiving::paused;
  Sending sending_ = Sending::idle;
  Output output_ = Output::open;
  bool in_pieces_ = false;
  bool hears_out_ = false;
  bool vanished_ = false;
  std::optional<PeerWatch> watch_;
  int descriptor_ = -1;
  io::Address peer_;
  std::unique_ptr<std::uint8_t[]> send_buffer_;
  std::size_t send_begin_ = 0;
  std::size_t send_end_ = 0;
  std::size_t discarded_ = 0;       // received since close()
  std::size_t unacknowledged_ = 0;  // when the linger was last set
  io::Operation connect_;
  io::Operation receive_;
  io::Operation send_;
  io::Timer timer_;                     // of the connect, of a send or the peer, of the linger
  Tally sending_bytes_;                 // the send buffer, while its bytes are being taken
  std::optional<Error> broken_;         // to be told when all that came before it was received
  std::optional<Error> pending_error_;  // to be reported at the end of this turn
};

}  // namespace sluice::net
