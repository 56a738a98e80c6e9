// SPDX-License-Identifier: GPL-3.0-or-later
// Whether something happens in some folders, as the kernel tells it (inotify(7)). Folders, not
// files: editors, and whoever replaces a file as one, leave another file in its place.
//
// Thread: created and stopped on the ring's; `watch` is any thread's, one at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "sluice/io/operation.h"
#include "sluice/io/ring.h"

namespace sluice::server {

class FileWatch {
 public:
  // `on_change` is called on the ring's thread: something has changed, or what has was not all
  // told.
  static Result<std::unique_ptr<FileWatch>> create(io::Ring& ring, std::function<void()> on_change);
  ~FileWatch();  // stopped()

  // What to tell other threads by; it may outlive this object.
  class Folders;
  const std::shared_ptr<Folders>& folders() const { return folders_; }

  void stop();  // the folders are then given up, too, when nobody else has them
  bool stopped() const { return !poll_.in_flight(); }

 private:
  FileWatch(io::Ring& ring, std::shared_ptr<Folders> folders, std::function<void()> on_change);
  void readable(const io::Completion& completion);

  io::Ring& ring_;
  std::shared_ptr<Folders> folders_;
  std::function<void()> on_change_;
  bool stopping_ = false;
  io::Operation poll_;
};

class FileWatch::Folders {
 public:
  explicit Folders(int descriptor) : descriptor_(descriptor) {}
  ~Folders();
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;

  // These and no others; may block on a file system that does not answer. Whether some are new:
  // what has changed in them before now was not told.
  bool watch(const std::set<std::string>& folders);
  int descriptor() const { return descriptor_; }

 private:
  friend class FileWatch;
  // The kernel watches it no more.
  void forget(int watch);
  void take_forgotten();

  const int descriptor_;
  std::map<std::string, int> watches_;  // several names may be one folder
  bool said_ = false;                   // that a folder cannot be watched
  std::mutex mutex_;
  std::vector<int> forgotten_;  // between threads
};

}  // namespace sluice::server
