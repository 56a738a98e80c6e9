// SPDX-License-Identifier: GPL-3.0-or-later
// Notes of what is read, and the way through `..data`.
#include "sluice/config/read_files.h"

#include <utility>

namespace sluice::config {

namespace {

constexpr std::string_view data_link = "..data";

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string in(const std::string& folder, std::string_view name) {
  return folder + "/" + std::string(name);
}

}  // namespace

ReadFiles::ReadFiles(Environment below) : below_(std::move(below)) {}

Environment ReadFiles::environment() {
  Environment environment = below_;
  environment.read_file = [this](const std::string& path) { return read(path); };
  environment.list_folder = [this](const std::string& path) { return list(path); };
  return environment;
}

void ReadFiles::note(const std::string& path) {
  if (below_.stamp) stamps_.try_emplace(path, below_.stamp(path));
}

// Where the file is in its generation; nothing when it is in none.
std::optional<std::string> ReadFiles::through_generation(const std::string& path) {
  if (!below_.read_link) return std::nullopt;
  const auto target = below_.read_link(path);
  if (!target || !target->starts_with("..data/")) return std::nullopt;
  const std::string folder = folder_of(path);
  auto known = generations_.find(folder);
  if (known == generations_.end()) {
    const auto generation = below_.read_link(in(folder, data_link));
    if (!generation) return std::nullopt;
    known = generations_.emplace(folder, *generation).first;
  }
  const std::string& generation = known->second;
  const std::string within = generation.starts_with('/') ? generation : in(folder, generation);
  return in(within, std::string_view(*target).substr(data_link.size() + 1));
}

Result<std::string> ReadFiles::read(const std::string& path) {
  note(path);
  folders_.insert(folder_of(path));
  // A link to another folder: the file itself may change there.
  if (below_.read_link) {
    if (const auto target = below_.read_link(path); target && target->starts_with('/')) {
      folders_.insert(folder_of(*target));
    }
  }
  const auto place = through_generation(path);
  if (!place) return below_.read_file(path);
  auto text = below_.read_file(*place);
  if (text) return text;
  torn_ = true;
  return below_.read_file(path);
}

Result<std::vector<std::string>> ReadFiles::list(const std::string& path) {
  note(path);
  folders_.insert(path);
  return below_.list_folder(path);
}

bool ReadFiles::unchanged() const {
  for (const auto& [path, stamp] : stamps_) {
    if (below_.stamp(path) != stamp) return false;
  }
  return true;
}

}  // namespace sluice::config
