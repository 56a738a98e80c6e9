// SPDX-License-Identifier: GPL-3.0-or-later
// A request and its response: a client's stream joined to a stream of a backend. Its states are
// drawn in exchange_state.h.
//
// How streams end decides whether clients list everything again: see docs/architecture.md.
// Owned by Proxy; named by SlotId everywhere else. Thread: the worker's.
#pragma once

#include <optional>
#include <string>

#include "answer.h"
#include "deadline.h"
#include "dispatch.h"
#include "exchange_record.h"
#include "exchange_state.h"
#include "request_plan.h"
#include "shared.h"
#include "sluice/backend/backend_stream.h"
#include "sluice/base/slot_map.h"
#include "upload.h"

namespace sluice::proxy {

class ExchangeOwner {
 public:
  virtual ~ExchangeOwner() = default;
  // Nothing happens to it any more; to be destroyed or used again at the end of the turn.
  virtual void exchange_finished(SlotId id) = 0;
  // It did what none may do; to be broken off at the end of the turn.
  virtual void exchange_broken(SlotId id) = 0;
};

class Exchange final : public backend::StreamHandler {
 public:
  using State = ExchangeState;

  // Both outlive this.
  Exchange(ExchangeOwner& owner, Shared& shared);
  ~Exchange() override;

  // A new life, for a finished one too; the memory of the last one's heads is used again. Then
  // either start() or refuse().
  void begin(SlotId id, ClientSide& client, ClientStream stream, http::RequestHead&& head);
  void start(bool request_complete, bool misdirected);
  void refuse(int code, ReplyReason reason, std::string_view message);
  void break_off();

  // From the client's side.
  void on_client_body(Bytes bytes);
  void on_client_end();
  void on_client_tunnel_end(bool in_order);
  void on_client_malformed(std::string_view why);
  http::BodyResult on_client_body_wanted(MutableBytes room);
  const http::Fields* trailers() const { return answer_.trailers(); }
  // Its stream or connection is gone; nothing is called on ClientSide any more.
  void client_gone();

  // Called a few times within --client-stall-timeout: true when the client takes nothing of what
  // waits for it. One that may not do so is ended instead.
  bool look_for_stall();

  // Whether it went to this backend, or tried to.
  bool refers_to(std::size_t backend) const { return dispatch_.attempts().any_at(backend); }
  // Whose it is, and the bytes that it holds of it; null: nobody's.
  const ClientAccount* account() const { return account_.get(); }
  // Null when it has ended.
  const ClientFacts* client() const { return client_ == nullptr ? nullptr : &client_->facts(); }
  std::size_t charged_bytes() const;
  // It ends, so that others have room. Not what must always be served.
  bool may_make_room() const;
  void make_room();

  // Plans the end of a watch that is past its first burst: our own stop, or its client's limit.
  void plan_end(const EndWindow& window);
  // Of a tunnel, in order, whatever is still on its way into it.
  void end_tunnel();
  // Its end: resets a watch that is still in its first burst.
  void cut_first_burst();
  // Memory that would be kept for the next request.
  std::size_t held_bytes() const;

  State state() const { return state_; }
  std::string describe() const { return proxy::describe(view(), state_, answer_.body().pending()); }

  // backend::StreamHandler
  const http::RequestHead& request_head() override { return head_; }
  void on_response(http::ResponseHead&& head, bool end_of_stream) override;
  void on_response_body(Bytes bytes) override;
  void on_response_trailers(http::Fields&& trailers) override;
  void on_tunnel_half_ended(bool in_order) override;
  http::BodyResult on_request_body_wanted(MutableBytes room) override;
  void on_stream_ended(const backend::StreamEnd& end) override;
  bool on_connection_retiring(backend::Retiring who) override;

 private:
  // What each one takes whatever it carries: itself, and its streams in two sessions.
  static constexpr std::size_t fixed_bytes() { return sizeof(Exchange) + 1024; }

  struct Watch {
    WatchEndRule rule;
    bool moved = false;     // to a backend with more history
    bool retiring = false;  // its connection should be left once the first burst is over
    Instant ends_at{};      // while ending
    WatchEnd why = WatchEnd::backend_ended;
  };

  // What is known of the ends of a tunnel's directions.
  struct Tunnel {
    http::BodyStatus answer_end = http::BodyStatus::more;  // what the backend has said
    bool answered = false;                                 // and the client was given that
    CountLease lease;                                      // of its client's tunnels
  };

  void set_state(State state);
  void wrong_transition(State state);
  Instant now() const { return shared_.now(); }
  const ProxyMetrics& metrics() const { return shared_.parts.metrics; }
  kubernetes::RequestClass request_class() const { return plan_.request_class; }
  // The client has been given a head.
  bool begun() const { return state_ >= State::forwarding; }

  // The request.
  void charge(ClientAccount& account);
  void charge_connection();
  Outcome send_to_a_backend();
  bool go_elsewhere(ReplayCause cause, std::string_view why);
  Outcome send_again(ReplayCause cause, std::string_view why);
  Outcome replay(Retry known, ReplayCause cause, std::string_view why);
  void unanswered(ReplyReason reason, Retry known, std::string_view message);
  void reply(ReplyReason reason, LocalReply&& reply);
  void leave_backend();
  void arm_deadline();

  // What its client has seen through which backend.
  std::optional<Preference> prefer();
  std::optional<Preference> prefer_written(Duration lasting);
  void count_preferred(Preference why);
  void remember_source();
  void remember_write();

  // The answer.
  void on_interim(http::ResponseHead&& head);
  void identity_refused();
  void learn_credential(const http::ResponseHead& head);
  void forward_head();
  void judge();
  bool leave_draining();
  bool leave_stale();
  balance::BackendMask others_by_version() const;
  bool move(ReplayCause cause, balance::BackendMask to);
  void forget_heads();
  void answer_complete();
  void answer_handed_over();
  bool waits_for_rest() const { return deadline_.waits_for(Deadline::What::rest); }
  bool upload_may_end() const { return deadline_.waits_for(Deadline::What::upload_end); }
  void stop_upload();
  void backend_failed(const backend::StreamEnd& end);

  // Watches without history.
  bool may_lack_history() const;
  void hold_watch();
  void look_at_first_event();
  void watch_expired();
  void forward_held();

  // Watches.
  bool is_established_watch() const;
  void begin_watch();
  void look_at_first_burst();
  void end_watch(WatchEnd why, Instant when);
  void end_soon(WatchEnd why);
  bool watch_may_end();
  bool leave_unread();
  void watch_end_due();
  void watch_ended();

  // Tunnels.
  bool switches(const http::ResponseHead& head) const;
  bool is_tunnel() const;
  void count_tunnel(TunnelWay way, std::size_t bytes);
  void begin_tunnel(http::ResponseHead&& head);
  void tunnel_stream_ended(const backend::StreamEnd& end);
  void weigh_tunnel();
  void end_answer();
  void tunnel_left();

  // The end.
  void deadline_passed();
  void answer_overdue();
  bool owed_by_backend() const;
  // What is known of the execution of a request that we give up.
  Retry given_up() const;
  ExchangeView view() const;
  void cut(Cut how, observability::EndedBy ended_by);
  void finish();

  ExchangeOwner& owner_;
  Shared& shared_;
  State state_ = State::idle;
  SlotId id_;
  ClientSide* client_ = nullptr;  // null when finished
  ClientStream client_stream_{};
  Dispatch dispatch_;
  Deadline deadline_;

  http::RequestHead head_;
  RequestPlan plan_;
  Upload upload_;
  Answer answer_;
  Watch watch_;
  Tunnel tunnel_;
  AccountRef account_;  // of its client, until finish()
  CountLease unanswered_;
  BytesLease own_bytes_;       // itself, and its heads
  BytesLease own_connection_;  // a tunnel's
  ExchangeRecord record_;
};

}  // namespace sluice::proxy
