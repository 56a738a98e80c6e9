// SPDX-License-Identifier: GPL-3.0-or-later
// A request and its response: a client's stream joined to a stream of a backend.
//
//   idle ──start()──▶ waiting ──head──▶ forwarding ──▶ finishing ──▶ finished
//                      │   ▲  └──▶ judging ──┘ │            ▲
//                      └replay──────┘          └─ watch ending ┘
//
//   waiting     a backend was picked; no answer yet. May be replayed on another backend.
//   judging     an answer that may be a backend's "I am shutting down" is held back
//   forwarding  the head went to the client; bytes follow
//   ending      a watch whose backend is gone: END_STREAM goes out when its time has come
//   finishing   the answer is complete; its last bytes are on the way to the client
//
// How streams end decides whether clients list everything again: see docs/architecture.md.
// Owned by Proxy; named by SlotId everywhere else. Thread: the worker's.
#pragma once

#include <string>

#include "sluice/backend/stream.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/kubernetes/request_info.h"
#include "sluice/proxy/proxy.h"

namespace sluice::proxy {

class Exchange final : public backend::StreamHandler {
 public:
  enum class State : std::uint8_t {
    idle,
    waiting,
    judging,
    forwarding,
    ending,
    finishing,
    finished,
  };

  explicit Exchange(Proxy& proxy);
  ~Exchange() override;

  // From the client's side.
  void on_client_body(Bytes bytes);
  void on_client_end();
  http2::BodyResult on_client_body_wanted(MutableBytes room);
  const http::Fields* trailers() const { return trailers_.empty() ? nullptr : &trailers_; }
  // The client's stream or connection is gone; nothing is called on ClientSide any more.
  void client_gone();

  // Called a few times within --client-stall-timeout: whether the client takes what waits for it.
  enum class Progress : std::uint8_t { made, stalled, ended };
  Progress check_progress();

  // Our own stop.
  void end_before(Instant until);
  bool long_running() const { return !kubernetes::has_deadline(class_); }

  State state() const { return state_; }
  std::string describe() const;

  // backend::StreamHandler
  const http::RequestHead& request_head() override { return head_; }
  void on_response(http::ResponseHead&& head, bool end_of_stream) override;
  void on_response_body(Bytes bytes) override;
  void on_response_trailers(http::Fields&& trailers) override;
  http2::BodyResult on_request_body_wanted(MutableBytes room) override;
  void on_stream_ended(const backend::StreamEnd& end) override;
  void on_connection_retiring() override;

 private:
  friend class Proxy;
  void reuse();
  void start(ClientSide& client, http2::StreamId stream, http::RequestHead&& head,
             bool end_of_stream);
  void refuse(ClientSide& client, http2::StreamId stream, int code, ReplyReason reason,
              std::string_view message);
  void set_state(State state);

  // The request.
  bool admit();
  bool identify();
  void rewrite();
  bool send_to_a_backend();  // false: it was answered by ourselves
  bool another_backend() const;
  bool replay(Retry retry, std::string_view why);
  void unanswered(ReplyReason reason, Retry retry, std::string_view message);
  void reply(ReplyReason reason, LocalReply&& reply);

  // The response.
  bool identity_was_refused(const http::ResponseHead& head) const;
  void learn_credential(int status);
  void forward_head();
  void forward_body(Bytes bytes);
  void judge();
  void watch_for_initial_events_end(Bytes bytes);
  bool is_established_watch() const;
  void answer_complete();
  void end_watch(WatchEnd why, Instant when);
  void backend_failed(const backend::StreamEnd& end);
  void cut(http2::ErrorCode code);
  void timer_fired();
  void client_stream_done();
  void finish(observability::EndedBy ended_by);
  Instant now() const { return proxy_.now(); }

  Proxy& proxy_;
  State state_ = State::idle;
  SlotId id_;
  ClientSide* client_ = nullptr;  // null once the client is gone
  http2::StreamId client_stream_ = 0;
  backend::Stream stream_;
  balance::LoadLease load_;

  http::RequestHead head_;
  std::size_t head_bytes_ = 0;  // as charged to the worker's budget
  kubernetes::RequestInfo info_;
  kubernetes::RequestClass class_ = kubernetes::RequestClass::short_read;
  backend::PoolKind kind_ = backend::PoolKind::suspect;
  bool bearer_ = false;
  bool anonymous_ = false;  // no credential at all
  TokenHash token_;
  bool request_complete_ = false;
  BodyQueue request_body_;
  std::uint64_t credited_ = 0;  // request bytes whose window was given back to the client
  WindowGrowth request_window_;

  std::size_t backend_ = SIZE_MAX;
  std::uint64_t tried_ = 0;  // backends, as bits
  std::uint32_t tries_ = 0;
  std::uint32_t refusals_ = 0;
  std::size_t interim_bytes_ = 0;
  http::ResponseHead response_;
  http::Fields trailers_;
  BodyQueue response_body_;
  WindowGrowth response_window_;
  bool head_forwarded_ = false;
  bool answer_complete_ = false;
  bool initial_events_ = false;  // a watch-list that may still be in its initial events
  std::string marker_tail_;      // end of the last bytes, in case the marker is split
  WatchEnd watch_end_ = WatchEnd::backend_ended;

  Instant started_{};
  Instant last_forwarded_{};
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
  std::uint64_t progress_bytes_ = 0;  // bytes_out_ when the client last made progress
  Instant progress_since_{};
  std::chrono::system_clock::time_point wall_started_{};
  observability::EndedBy ended_by_ = observability::EndedBy::completed;
  std::string reason_;
  std::string user_;
  std::string client_address_;
  io::Timer timer_;
};

}  // namespace sluice::proxy
