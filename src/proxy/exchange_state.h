// SPDX-License-Identifier: GPL-3.0-or-later
// The states of an exchange, and which may come before each.
//
//   idle ──start()──▶ waiting ──head──▶ forwarding ──▶ finishing ──▶ finished
//                     │ │   ▲  ├──▶ judging ──┤ │          ▲ ▲
//                     │ │   │  └──▶ holding ──┘ │          │ │
//                     │ └replay──────┘          └─ ending ─┘ │
//                     └──────────────101──▶ tunnel ──────────┘
//
//   waiting     a backend was picked; no answer yet. May be replayed on another backend.
//   judging     an answer is held back until it is whole: it may be a backend's "I am shutting
//               down", or is so short that another one may take its place if it is cut
//   holding     the head of a watch that goes on is held back until its first event: the backend
//               may have no history for it
//   forwarding  the head went to the client; bytes follow
//   tunnel      bytes go both ways, in whatever protocol; each direction ends on its own
//   ending      a watch whose end is planned: END_STREAM goes out when its time has come. Where
//               the end is our choice, events are forwarded until it leaves; only then is the
//               backend's stream cancelled.
//   finishing   the answer is complete; its last bytes are on the way to the client, or the client
//               has a moment left to end its upload
//   finished    nothing more is called, on either side
#pragma once

#include <cstdint>
#include <string_view>

#include "sluice/base/transitions.h"

namespace sluice::proxy {

enum class ExchangeState : std::uint8_t {
  idle,
  waiting,
  judging,
  holding,
  forwarding,
  tunnel,
  ending,
  finishing,
  finished,
};

inline constexpr Transitions<ExchangeState, 9> exchange_transitions{{
    states(ExchangeState::finished),  // idle
    states(ExchangeState::idle, ExchangeState::waiting, ExchangeState::judging,
           ExchangeState::holding),                                                   // waiting
    states(ExchangeState::waiting),                                                   // judging
    states(ExchangeState::waiting),                                                   // holding
    states(ExchangeState::waiting, ExchangeState::judging, ExchangeState::holding),   // forwarding
    states(ExchangeState::waiting),                                                   // tunnel
    states(ExchangeState::forwarding, ExchangeState::ending),                         // ending
    states(ExchangeState::forwarding, ExchangeState::tunnel, ExchangeState::ending),  // finishing
    states(ExchangeState::waiting, ExchangeState::judging, ExchangeState::holding,
           ExchangeState::forwarding, ExchangeState::tunnel, ExchangeState::ending,
           ExchangeState::finishing),  // finished
}};

constexpr std::string_view to_string(ExchangeState state) {
  switch (state) {
    case ExchangeState::idle: return "idle";
    case ExchangeState::waiting: return "waiting";
    case ExchangeState::judging: return "judging";
    case ExchangeState::holding: return "holding";
    case ExchangeState::forwarding: return "forwarding";
    case ExchangeState::tunnel: return "tunnel";
    case ExchangeState::ending: return "ending";
    case ExchangeState::finishing: return "finishing";
    case ExchangeState::finished: return "finished";
  }
  return "unknown";
}

}  // namespace sluice::proxy
