// SPDX-License-Identifier: GPL-3.0-or-later
// A TCP connection with TLS: a descriptor, a TLS engine, one receive and at most one send in
// flight, and an orderly close.
//
//   opening ──▶ handshaking ──▶ established ──▶ closing ──▶ terminating ──▶ closed
//      │              │              │             (flush, close_notify,      ▲
//      └──────────────┴──────────────┴──── any error ── FIN, discard) ────────┘
//
// Owner: whoever implements ConnectionHandler, usually as a member. The connection must not be
// destroyed before on_closed(); on_closed() itself comes from the end of the turn, so the owner may
// destroy it there. Thread: the transport's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/io/address.h"
#include "sluice/io/operation.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/transport.h"
#include "sluice/tls/engine.h"

namespace sluice::net {

class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;

  // The handshake is done.
  virtual void on_established() = 0;
  // Plain bytes; the view is valid during the call.
  virtual void on_receive(Bytes plain) = 0;
  // End of turn: write plain bytes to be sent into `batch` (one TLS record); 0 when there are none.
  virtual std::size_t on_collect(MutableBytes batch) = 0;
  // The peer's end of stream, a reset, a failed handshake, a deadline. At most once, and not after
  // close() or terminate(). The connection terminates by itself afterwards.
  virtual void on_end(const Error& error) = 0;
  // Nothing is in flight, the descriptor is closed: the last call.
  virtual void on_closed() = 0;
};

// Chooses the TLS settings by the server name of the ClientHello (empty when there is none); null
// refuses the connection. The context must outlive the connection.
using ContextSelector = std::function<tls::ServerContext*(std::string_view server_name)>;

class Connection : public ListNode<FlushTag>,
                   public ListNode<HandshakeTag>,
                   public ListNode<ReapTag> {
 public:
  enum class State : std::uint8_t {
    idle,     // before accept() or connect()
    opening,  // connect in flight, or waiting for the whole ClientHello
    handshaking,
    established,
    closing,      // close(): sending what is left, then discarding until the peer's end
    terminating,  // waiting for operations in flight
    closed,
  };

  Connection(Transport& transport, ConnectionHandler& handler);
  ~Connection();

  // Takes over an accepted descriptor.
  void accept(int descriptor, const ContextSelector& select);
  // Opens a descriptor and connects. An immediate failure is reported by on_end at turn's end.
  void connect(const io::Address& address, tls::ClientContext& context);

  // There is something to collect; flushed at the end of this turn (or when the send in flight
  // ends). Cheap to call often.
  void mark_dirty();

  // Orderly end: what on_collect still gives is sent, then close_notify, FIN; input is discarded
  // until the peer ends or `close_linger`; then on_closed.
  void close();
  // Ends now: cancels what is in flight, closes the descriptor; then on_closed.
  void terminate();

  State state() const { return state_; }
  bool established() const { return state_ == State::established; }
  // True while bytes wait for the peer to take them.
  bool send_in_flight() const { return send_.in_flight(); }
  // Null before the handshake began.
  tls::Engine* engine() { return engine_.get(); }
  const std::string& server_name() const { return server_name_; }  // of the ClientHello
  const io::Address& peer() const { return peer_; }
  Transport& transport() { return transport_; }

  std::string describe() const;

 private:
  friend class Transport;
  void set_state(State state);
  void start_receiving();
  void connected(const io::Completion& completion);
  void received(const io::Completion& completion);
  void sent(const io::Completion& completion);
  void deadline_passed();
  void receive_hello(Bytes bytes);
  void queue_handshake();
  void continue_handshake();
  void read_plain();
  void flush();
  void finish_close();
  void fail_with(Error error);
  void join();

  Transport& transport_;
  ConnectionHandler& handler_;
  State state_ = State::idle;
  int descriptor_ = -1;
  bool dirty_while_sending_ = false;
  bool fin_sent_ = false;
  bool peer_ended_ = false;
  bool ended_reported_ = false;
  bool failed_ = false;  // nothing more is collected; what the engine has pending still goes out
  std::unique_ptr<tls::Engine> engine_;
  ContextSelector select_;
  std::vector<std::uint8_t> early_;  // received, not yet given to the engine
  std::string server_name_;
  io::Address peer_;
  std::unique_ptr<std::uint8_t[]> send_buffer_;
  std::size_t send_begin_ = 0;
  std::size_t send_end_ = 0;
  io::Operation connect_;
  io::Operation receive_;
  io::Operation send_;
  io::Timer timer_;
  std::optional<Error> pending_error_;
};

}  // namespace sluice::net
