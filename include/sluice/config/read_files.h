// SPDX-License-Identifier: GPL-3.0-or-later
// What one reading of the configuration has read: so that all of it is of one moment, and that it
// is known when some of it is different.
//
// Kubernetes mounts a Secret as a folder whose files are links into `..data`, which is a link to
// the folder of one generation, and is replaced as one. Files that are reached through it are read
// from the generation that it named at the first of them: a certificate is never read with the key
// of the next one.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "sluice/config/environment.h"

namespace sluice::config {

class ReadFiles {
 public:
  // Reads by `below`.
  explicit ReadFiles(Environment below);
  ReadFiles(const ReadFiles&) = delete;
  ReadFiles& operator=(const ReadFiles&) = delete;

  // Reads and lists as `below`, and takes notes here. This object outlives it.
  Environment environment();

  // A generation has gone while its files were read: what was read may be of two, and should be
  // read again.
  bool torn() const { return torn_; }
  // Whether nothing of it is different now, as far as the file system tells: time, size, place.
  bool unchanged() const;
  // Whose changes can be changes of what was read.
  const std::set<std::string>& folders() const { return folders_; }

 private:
  Result<std::string> read(const std::string& path);
  Result<std::vector<std::string>> list(const std::string& path);
  std::optional<std::string> through_generation(const std::string& path);
  void note(const std::string& path);

  const Environment below_;
  std::map<std::string, std::string> generations_;  // by the folder that is mounted
  std::map<std::string, std::string> stamps_;       // by path
  std::set<std::string> folders_;
  bool torn_ = false;
};

}  // namespace sluice::config
