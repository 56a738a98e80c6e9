// SPDX-License-Identifier: GPL-3.0-or-later
// How the process was started: by what it can be started again, and what it was given beside its
// arguments: listening sockets of a service manager (sd_listen_fds(3)), or those of the process
// that it takes over from, with a link to that one and what that one knows.
//
// Thread: read before there is a second one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/io/address.h"
#include "sluice/server/take_over_link.h"

namespace sluice::server {

// A descriptor that is closed by its owner.
class OwnedDescriptor {
 public:
  OwnedDescriptor() = default;
  explicit OwnedDescriptor(int descriptor) : descriptor_(descriptor) {}
  OwnedDescriptor(OwnedDescriptor&& other) noexcept : descriptor_(other.release()) {}
  OwnedDescriptor& operator=(OwnedDescriptor&& other) noexcept;
  ~OwnedDescriptor();

  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_ = -1;
};

struct InheritedSocket {
  OwnedDescriptor descriptor;
  io::Address address;
  bool of_cluster = false;  // it was a cluster's, which may name its address no more
};

struct Inherited {
  std::vector<InheritedSocket> sockets;       // in the order in which they were given
  std::unique_ptr<TakeOverLink> predecessor;  // null: nobody is taken over from
  OwnedDescriptor state;                      // a file; what the predecessor knows (handover.h)
};

struct ProcessStart {
  std::string path;
  std::vector<std::string> arguments;  // the program's own name first
  Inherited inherited;
};

// The names of LISTEN_FDNAMES by which one process tells the next what it passes. A service manager
// has names of its own for sockets, which say nothing.
constexpr std::string_view listening_name = "listening";
constexpr std::string_view cluster_listening_name = "cluster";
constexpr std::string_view link_name = "sluice-link";
constexpr std::string_view state_name = "sluice-state";

using GetVariable = std::function<const char*(const char* name)>;

// What each descriptor from 3 on is called that was passed to this process; empty: none was. Pure.
Result<std::vector<std::string>> passed_descriptors(const GetVariable& variable, long long process);

// By which path the same program, or the one that has taken its place there, is started again:
// as it was called, or as the kernel was told (AT_EXECFN) when that has no folder. Pure.
std::string program_path(std::string_view called, std::string_view executed);

// Takes what was passed: marks it close-on-exec and checks that the sockets listen on TCP. A
// predecessor hears of a mistake.
Result<ProcessStart> read_process_start(std::span<const char* const> arguments);

}  // namespace sluice::server
