// SPDX-License-Identifier: GPL-3.0-or-later
// /debug: what each worker is at, told by itself. Workers are asked by mailbox and answer when they
// turn; one that does not within a second is listed with the step in which it was last seen.
//
// Thread: the given reactor's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sluice/io/reactor.h"
#include "worker_port.h"

namespace sluice::server {

class DebugPage {
 public:
  static constexpr std::size_t page_bytes_max = std::size_t{64} * 1024;

  explicit DebugPage(io::Reactor& reactor);

  // They outlive the calls of the reactor's mailbox.
  void set_workers(const std::vector<WorkerPort*>& workers);

  // Answers once, now or within a second; who asks while others wait gets the same page.
  using Answer = std::move_only_function<void(const std::string& page)>;
  void ask(Answer answer);
  // Who waits is answered with what is known.
  void stop() { finish(); }

 private:
  struct Asked {
    WorkerPort* worker = nullptr;
    bool waiting = false;  // for its answer; it is not asked again before it has come
    std::optional<std::string> said = {};
  };
  void ask_worker(std::size_t number);
  void told(std::size_t number, std::string text);
  bool complete() const;
  void finish();
  std::string page() const;
  std::string silent_worker(std::size_t number) const;

  io::Reactor& reactor_;
  std::vector<Asked> workers_;
  std::vector<Answer> answers_;
  io::Timer deadline_;
};

}  // namespace sluice::server
