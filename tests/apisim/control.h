// SPDX-License-Identifier: GPL-3.0-or-later
// The control interface: plain HTTP/1.1 on a loopback address, one request a connection, on a
// thread of its own. Answers are JSON.
//
//   GET  /                                    what there is
//   GET  /counters                            all servers
//   GET  /requests?server=0&limit=100&contains=text   requests seen, newest first
//   POST /reset                               counters and requests seen
//   POST /servers/I/drain?delay=5s&retry-after=true&timeout=60s
//   POST /servers/I/kill  /restart?history=empty  /freeze  /thaw
//   POST /servers/I/set?latency=20ms&fail-500=0.1     any of the settings
//   POST /events?rate=100  /events?count=10   simulated events
// I is a number or "all".
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "request.h"
#include "shard.h"
#include "sluice/io/address.h"

namespace sluice::apisim {

struct ControlReply {
  int status = 200;
  std::string json;
};

class Control {
 public:
  Control(Store& store, std::vector<std::unique_ptr<Shard>>& shards, std::size_t servers);
  ~Control() { stop(); }

  Result<io::Address> listen(const io::Address& address);
  void stop();

  // One command; any thread but the shards'.
  ControlReply run(std::string_view method, std::string_view target);

 private:
  void serve();
  void serve_one(int descriptor);
  ControlReply command(std::size_t index, std::string_view action, const Query& query);
  ControlReply events(const Query& query);
  std::string on_server(std::size_t index, std::function<std::string(ApiServer&)> work);
  std::string for_each(const std::function<std::string(ApiServer&)>& work);

  Store& store_;
  std::vector<std::unique_ptr<Shard>>& shards_;
  std::size_t servers_;
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sluice::apisim
