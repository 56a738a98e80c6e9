// SPDX-License-Identifier: GPL-3.0-or-later
// What the HTTP/2 sessions of one worker share: the 16 KB frame buffer that the codec packs into,
// stream objects that wait to be used again, and scratch space. Sharing the frame buffer is safe
// because a packed frame is copied out by collect() before any other session packs. Owned by the
// worker, used by one thread, outlives its sessions.
#pragma once

#include <cstddef>
#include <memory>

namespace sluice::http2 {

class CodecMemory {
 public:
  CodecMemory();
  ~CodecMemory();
  CodecMemory(const CodecMemory&) = delete;
  CodecMemory& operator=(const CodecMemory&) = delete;

  // Sessions that use this memory now.
  std::size_t sessions() const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::http2
