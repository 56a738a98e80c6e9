// SPDX-License-Identifier: GPL-3.0-or-later
// TLS on a TCP connection: a balancer says for whom it speaks, who calls is asked for its server
// name before there is an engine, handshakes wait their turn in a queue, and plain bytes come up
// where they were decrypted and go down straight into the record that is sent.
//
//   opening ──▶ handshaking ──▶ established ──▶ closing ──▶ terminating ──▶ closed
//      │              │              │             (flush, close_notify,      ▲
//      └──────────────┴──────────────┴──── any error ── FIN, discard) ────────┘
//
// Or it is passed on: whoever has looked at the ClientHello leaves TLS to somebody else. Then the
// bytes are those of the wire, from the ClientHello on, and a FIN is the only end there is.
//
// Owner: whoever implements ConnectionHandler, usually as a member. The connection must not be
// destroyed before on_closed(); on_closed() itself comes from the end of the turn, so the owner may
// destroy it there. Thread: the transport's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/tally.h"
#include "sluice/base/transitions.h"
#include "sluice/io/address.h"
#include "sluice/io/network.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/tcp_connection.h"
#include "sluice/net/transport.h"
#include "sluice/tls/engine.h"

namespace sluice::net {

class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;

  // Of an accepted one: Connection::peer() is who calls, before anything is computed for it. It may
  // be terminated.
  virtual void on_caller_known() {}
  // The handshake is done.
  virtual void on_established() = 0;
  // Plain bytes; the view is valid during the call.
  virtual void on_receive(Bytes plain) = 0;
  // What ask_for_turn() asked for, at the end of a turn.
  virtual void on_turn() {}
  // End of turn: write plain bytes to be sent into `batch` (one TLS record); 0 when there are none.
  virtual std::size_t on_collect(MutableBytes batch) = 0;
  // The peer's end of stream, a reset, a failed handshake, a deadline. At the end of the turn, at
  // most once, and only for what came before close() and terminate(). The connection terminates by
  // itself afterwards.
  virtual void on_end(const Error& error) = 0;
  // The peer has ended its direction; `in_order`: by a close_notify. True: ours stays open, until
  // close() or an error. Else on_end() follows.
  virtual bool on_peer_ended(bool in_order) {
    (void)in_order;
    return false;
  }
  // See TcpHandler.
  virtual bool still_watched(bool quiet) {
    (void)quiet;
    return true;
  }
  // Nothing is in flight, the descriptor is closed: the last call.
  virtual void on_closed() = 0;
};

// Chooses the TLS settings by the server name that is asked for: the one in a balancer's header,
// which may be any bytes, else that of the ClientHello (empty when there is none). Null: it is
// nobody's here, which the peer is told by an alert. May terminate the connection.
using ContextSelector =
    std::function<std::shared_ptr<const tls::ServerContext>(std::string_view server_name)>;

class Connection final : public ListNode<HandshakeTag>,
                         public balance::FairWaiter,
                         public ListNode<InputTag>,
                         private TcpHandler {
 public:
  // The TCP connection's state and how far TLS has got, in one.
  enum class State : std::uint8_t {
    idle,         // before accept() or connect()
    opening,      // connect in flight, or waiting for a PROXY header or the whole ClientHello
    handshaking,  // one piece is received at a time, and served from the queue before the next
    established,
    closing,      // close(): sending what is left, then discarding until the peer's end
    terminating,  // waiting for operations in flight
    closed,
  };

  Connection(Transport& transport, ConnectionHandler& handler);

  // Takes over an accepted descriptor. A peer in one of the networks `balancers` must begin with a
  // PROXY header (proxy_protocol.h), and is believed; from anybody else it is no TLS.
  void accept(int descriptor, const ContextSelector& select,
              std::span<const io::Network> balancers = {});
  // From within the choice of a context: its handshake begins when go_on() is called. Its deadline
  // runs on.
  void hold_back() { held_back_ = true; }
  void go_on();
  // From within it, too: it is passed on, and the choice counts for nothing. It is established at
  // once, without an engine.
  void pass_on() { passed_on_ = true; }
  // In whose turns its handshake is served, from the next piece on, and input that was left for
  // later.
  void take_turns_of(const balance::FairShare& share) { turns_ = share; }
  // Opens a descriptor and connects. An immediate failure is reported by on_end at turn's end.
  void connect(const io::Address& address, std::shared_ptr<const tls::ClientContext> context,
               std::string_view server_name);

  // Takes nothing more out of the socket until resume_receiving(): the peer's own window then
  // bounds what it can send. What had arrived already is kept and handed over first. Both may be
  // called from any event, established connections only; on_receive() comes at the end of a turn
  // then.
  void pause_receiving();
  void resume_receiving();
  bool receiving_paused() const { return established() && input_ == Input::paused; }
  // Its input never takes turns for the reason that it causes more work than that of others.
  void never_put_off() { never_put_off_ = true; }
  // For work that is too much to be done at once: on_turn() comes when it is this connection's turn
  // among all that have left something for later, also while receiving is paused; established
  // connections only.
  void ask_for_turn();
  // What the peer makes it hold: received, and kept because of a pause or until its handshake's
  // turn; the send buffer, while it is being sent; and what its owner holds for the peer, as far as
  // it says so.
  std::size_t held_bytes() const {
    return input_bytes_.part() + tcp_.sending_bytes() + above_.part();
  }
  void count_above(std::size_t bytes) { above_.set(bytes); }
  // What a client's costs by itself, TLS and a protocol included, until its owner says that it is
  // welcome: such connections are bounded in number alone.
  std::size_t own_bytes() const { return own_bytes_.part(); }
  // But for an unusual chain that its peer has shown, which may have up to 64 KB.
  void waive_own_bytes() { own_bytes_.set(chain_bytes_); }

  // There is something to collect; flushed at the end of this turn (or when the send in flight
  // ends). Cheap to call often.
  void mark_dirty() { tcp_.mark_dirty(); }

  // Half an end: what on_collect still gives, then close_notify (if it ends `in_order`) and FIN;
  // input goes on. Established connections only.
  void end_output(bool in_order);
  // See TcpConnection.
  void watch_peer() { tcp_.watch_peer(); }
  void watch_peer(Duration silence_max) { tcp_.watch_peer(silence_max); }
  bool peer_vanished() const { return tcp_.peer_vanished(); }
  void receive_in_pieces() { tcp_.receive_in_pieces(); }
  void hear_out() { tcp_.hear_out(); }

  // Orderly end: what on_collect still gives, then close_notify, and the rest as TcpConnection's
  // close() does it; then on_closed.
  void close();
  // Ends now: cancels what is in flight, closes the descriptor; then on_closed.
  void terminate();

  State state() const;
  bool established() const {
    return (phase_ == Phase::established || phase_ == Phase::passed_on) &&
           tcp_.state() == TcpConnection::State::open;
  }
  // True while bytes wait for the peer to take them.
  bool send_in_flight() const { return tcp_.send_in_flight(); }
  // Null before the handshake began: one that waits for its first turn costs no more than what has
  // been received. And of one that is passed on.
  tls::Engine* engine() { return engine_.get(); }
  const std::string& server_name() const { return server_name_; }  // of the ClientHello
  // Who calls: whom a PROXY header has named, else the other end of the TCP connection.
  const io::Address& peer() const {
    return named_ && named_->client ? *named_->client : tcp_.peer();
  }
  // It ended, or ends, because a balancer's header was wrong, late, or cut off.
  bool proxy_header_refused() const { return phase_ == Phase::refused; }
  // A balancer's header named nobody, and nothing has followed: that it ends so is no failure.
  bool health_check() const { return phase_ == Phase::unnamed; }
  Transport& transport() { return transport_; }

  std::string describe() const;

 private:
  friend class Transport;
  // How far TLS has got, and so what is sent.
  enum class Phase : std::uint8_t {
    opening,       // nothing yet
    handshaking,   // flights
    established,   // records of what is collected; a close_notify when the connection closes
    failed,        // an alert, if there is one, and nothing after it
    without_tls,   // what a peer that speaks plain HTTP is told on the way out
    proxy_header,  // nothing: a balancer owes its PROXY header, or the rest of it
    unnamed,       // nothing: its header named nobody, and the first byte of TLS has not come
    refused,       // nothing: it did not give a whole and proper header
    nobody,        // the alert that nobody here has the server's name that was asked for
    passed_on,     // what is collected, as it is
  };
  // Which phases may come before each, in their order.
  static constexpr Transitions<Phase, 10> transitions{{
      states(Phase::proxy_header, Phase::unnamed),  // opening
      states(Phase::opening),                       // handshaking
      states(Phase::handshaking),                   // established
      states(Phase::opening, Phase::handshaking, Phase::established,
             Phase::passed_on),     // failed
      states(Phase::opening),       // without_tls
      states(Phase::opening),       // proxy_header
      states(Phase::proxy_header),  // unnamed
      states(Phase::proxy_header),  // refused
      states(Phase::opening),       // nobody
      states(Phase::opening),       // passed_on
  }};
  // Where input goes once the handshake is done.
  enum class Input : std::uint8_t {
    direct,   // to the engine, and from there to the handler
    paused,   // kept
    waiting,  // kept, and handed over when it is its turn
    ended,    // nowhere: the peer has said that there is no more
  };

  void on_connected() override;
  void on_receive(Bytes bytes) override;
  Fill on_fill(MutableBytes room) override;
  void on_end(const Error& error) override;
  bool on_peer_ended() override;
  bool still_watched(bool quiet) override { return handler_.still_watched(quiet); }
  void on_closed() override;

  void set_phase(Phase phase);
  void hold(Bytes bytes);
  void drop_held();
  void count_held() { input_bytes_.set(held_.capacity()); }
  void await_proxy_header();
  void read_proxy_header();
  void name_caller();
  void read_hello();
  void begin_handshake();
  void begin_passing();
  bool is_strangers() const {
    return select_ && turns_.lane == static_cast<std::size_t>(TurnLane::strangers);
  }
  void queue_handshake();
  Result<void> begin_engine();
  void set_deadline(Duration timeout);
  void leave_handshake();
  void continue_handshake();
  void deadline_passed();
  void give_out(Bytes encrypted);
  bool has_input() const { return engine_ != nullptr && engine_->has_input(); }
  void read_plain();
  bool is_put_off();
  template <class Work>
  void weigh(Work&& work);
  void wait_for_turn();
  void take_turn();
  void read_held();
  void peer_said_end();
  bool collect(tls::RecordBuffer& records);
  Fill collect_plain(MutableBytes room);
  void count_failed_handshake();
  void count_chain();
  void fail(Error error, Phase phase = Phase::failed);

  Transport& transport_;
  ConnectionHandler& handler_;
  TcpConnection tcp_;
  Phase phase_ = Phase::opening;
  Input input_ = Input::direct;
  bool cut_ = false;  // our direction ends without a close_notify
  std::unique_ptr<tls::Engine> engine_;
  ContextSelector select_;  // null: a client
  balance::FairShare turns_;
  std::shared_ptr<const tls::ServerContext> context_;  // until there is an engine
  // Received, not yet given to the engine: a handshake's next flight, or what came during a pause.
  std::vector<std::uint8_t> held_;
  std::size_t held_at_ = 0;  // what lies before it was handed over
  bool held_back_ = false;   // a ClientHello is there, and nothing is done with it yet
  bool passed_on_ = false;   // it is somebody else's
  bool turn_asked_for_ = false;
  bool never_put_off_ = false;
  WorkMeter::Work work_;  // that its input has caused
  Tally input_bytes_;     // that it takes
  Tally above_;
  Tally own_bytes_;
  std::size_t chain_bytes_ = 0;
  io::Timer handshake_deadline_;
  Instant handshake_queued_at_{};
  // While in the queue, where the deadline does not run; and what follows the PROXY header's time.
  Duration handshake_time_left_{};
  std::string server_name_;
  // What a PROXY header has said; few have one.
  struct Named {
    std::optional<io::Address> client;
    std::string authority;
  };
  std::unique_ptr<const Named> named_;
};

}  // namespace sluice::net
