// SPDX-License-Identifier: GPL-3.0-or-later
// One version of HTTP on a client's connection: plain bytes in and out, and one exchange for each
// request. The connection keeps TLS, the client's identity, deadlines and the close.
#pragma once

#include <optional>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/proxy/watch_end.h"

namespace sluice::server {

class Outline;

// What a protocol asks of its connection. Nothing is destroyed inside of a call.
class ClientProtocolOwner {
 public:
  virtual ~ClientProtocolOwner() = default;
  // There is something to collect.
  virtual void output_ready() = 0;
  // receive() should be called soon, if need be with no bytes: some are held that can be looked at.
  virtual void input_due() = 0;
  // The last request is over.
  virtual void requests_over() = 0;
  // What comes from here on may be a tunnel's, of any speed and size; and then it is.
  virtual void may_switch() = 0;
  virtual void switched() = 0;
  // The peer may take what it is sent as slowly as it likes, as long as it lives.
  virtual void be_patient() = 0;
  // A request of a proven identity has come.
  virtual void proven() = 0;
  // A request has come, and is about to be looked at.
  virtual void request_begins() = 0;
  // Whether a request for this authority must go to another cluster than that of the connection.
  virtual bool misdirected(std::string_view authority) const = 0;
};

class ClientProtocol {
 public:
  virtual ~ClientProtocol() = default;

  // All bytes are consumed. An error means that no more will be taken; of kind `limit`: the client
  // has used up a budget, and what is open can be answered to its end.
  virtual Result<void> receive(Bytes plain, Instant now) = 0;
  // Whether there should be more now. False: enough is held, and input_due() will be called.
  virtual bool wants_input() const = 0;
  // Fills `batch`; 0 when there is nothing to send now.
  virtual std::size_t collect(MutableBytes batch) = 0;
  virtual bool wants_output() const = 0;
  // The client sends nothing more; `in_order`: it has said so. False: then nothing is left to do.
  virtual bool peer_ended(bool in_order) {
    (void)in_order;
    return false;
  }
  // Nothing more will be collected, while input may go on; `true`: our direction ends in order.
  virtual std::optional<bool> output_ended() const { return std::nullopt; }
  // Nothing is left to say, on either side.
  virtual bool finished() const = 0;
  // An answer ends where its connection ends, and is not whole: it must not end in order.
  virtual bool must_not_close_cleanly() const = 0;

  // Its state and its requests, in lines for people.
  virtual void describe(Outline& outline) const = 0;
  // What the client makes it hold, in bytes, outside of requests.
  virtual std::size_t held_bytes() const = 0;
  // Requests whose streams are not over.
  virtual std::size_t requests() const = 0;
  // Since when the client owes the rest of what it has begun: its first words, or a request's head.
  virtual std::optional<Instant> head_since() const = 0;

  // An end in order: first a notice, then, a round trip later, the last word. No request is taken
  // behind it. Returns false where there is no such notice.
  virtual bool announce_end() = 0;
  // `refusal`: why nothing is served here; empty when it is just the end.
  virtual void say_last_word(std::string_view refusal = {}) = 0;
  virtual void plan_ends(const proxy::EndWindow& window) = 0;
  // The client was not heard for a while: something that it answers, if there is such a thing.
  virtual void ask_for_sign() {}
  // What it carries may outlive the end of ordinary requests.
  virtual bool tunnels() const { return false; }
  // The connection is over: exchanges are told.
  virtual void abandon() = 0;

  // Whether the client has broken a rule or a limit; give_up() counts and names it, once.
  virtual bool broken() const = 0;
  virtual std::string_view give_up() = 0;
};

}  // namespace sluice::server
