// SPDX-License-Identifier: GPL-3.0-or-later
// inotify, read when the ring says that there is something to read.
#include "file_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// A file that is written counts when its writer closes it; links and folders when they are in
// place.
constexpr std::uint32_t changes = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE |
                                  IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB;

}  // namespace

Result<std::unique_ptr<FileWatch>> FileWatch::create(io::Ring& ring,
                                                     std::function<void()> on_change) {
  const int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) return fail_errno("inotify_init1", errno);
  std::unique_ptr<FileWatch> watch(
      new FileWatch(ring, std::make_shared<Folders>(descriptor), std::move(on_change)));
  ring.poll_readable(watch->poll_, descriptor);
  return watch;
}

FileWatch::FileWatch(io::Ring& ring, std::shared_ptr<Folders> folders,
                     std::function<void()> on_change)
    : ring_(ring),
      folders_(std::move(folders)),
      on_change_(std::move(on_change)),
      poll_(io::Operation::bind<&FileWatch::readable>(this)) {}

FileWatch::~FileWatch() = default;

void FileWatch::stop() {
  if (std::exchange(stopping_, true)) return;
  ring_.cancel(poll_);
}

void FileWatch::readable(const io::Completion& completion) {
  // Whoever else has the descriptor lets go of it by itself.
  if (stopping_ && completion.last) return folders_.reset();
  if (stopping_ || completion.result < 0) return;
  // Events are as long as their names, and begin aligned.
  alignas(inotify_event) std::array<char, 16 * 1024> events;
  bool any = false;
  for (;;) {
    const ssize_t size = ::read(folders_->descriptor(), events.data(), events.size());
    if (size <= 0) break;
    any = true;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event;
      std::memcpy(&event, events.data() + at, sizeof event);
      if ((event.mask & IN_IGNORED) != 0) folders_->forget(event.wd);
      at += sizeof event + event.len;
    }
  }
  if (completion.last) ring_.poll_readable(poll_, folders_->descriptor());
  if (any) on_change_();
}

FileWatch::Folders::~Folders() { ::close(descriptor_); }

bool FileWatch::Folders::watch(const std::set<std::string>& folders) {
  take_forgotten();
  bool added = false;
  for (const std::string& folder : folders) {
    if (watches_.contains(folder)) continue;
    const int watch = inotify_add_watch(descriptor_, folder.c_str(), changes | IN_ONLYDIR);
    if (watch >= 0) {
      watches_.emplace(folder, watch);
      added = true;
    } else if (errno != ENOENT && !std::exchange(said_, true)) {
      log::warning("a folder cannot be watched: what changes there is seen within a minute",
                   {{"folder", folder}, {"why", std::strerror(errno)}});
    }
  }
  std::set<int> left;
  std::erase_if(watches_, [&](const auto& watched) {
    if (folders.contains(watched.first)) return false;
    left.insert(watched.second);
    return true;
  });
  for (const auto& [folder, watch] : watches_) left.erase(watch);
  for (const int watch : left) (void)inotify_rm_watch(descriptor_, watch);
  return added;
}

// The folder is gone, or was said to be of no interest any more. Whoever adds and removes watches
// may be in the middle of it, and is not waited for.
void FileWatch::Folders::forget(int watch) {
  const std::lock_guard lock(mutex_);
  forgotten_.push_back(watch);
}

void FileWatch::Folders::take_forgotten() {
  std::vector<int> forgotten;
  {
    const std::lock_guard lock(mutex_);
    forgotten.swap(forgotten_);
  }
  for (const int watch : forgotten) {
    std::erase_if(watches_, [&](const auto& watched) { return watched.second == watch; });
  }
}

}  // namespace sluice::server
