// SPDX-License-Identifier: GPL-3.0-or-later
// Puts layers over each other: the process's file, the command line, and a cluster's file over what
// the process has for all.
#include "sluice/config/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "flag.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"
#include "sluice/config/configuration_file.h"

namespace sluice::config {

namespace {

constexpr std::string_view cluster_suffix = ".conf";

bool every(const Flag&) { return true; }
// What a cluster takes from the process.
bool shared(const Flag& flag) { return flag.scope == Scope::process || flag.scope == Scope::both; }

void append(std::vector<std::string>& all, std::vector<std::string> more) {
  std::ranges::move(more, std::back_inserter(all));
}

// What --config names.
ConfigurationFile read_process_file(const std::string& path, const Environment& environment) {
  const auto text = environment.read_file(path);
  if (text) return read_configuration(*text, path, FileOf::process);
  ConfigurationFile none;
  none.mistakes.push_back(
      fmt::format("--config={} cannot be read ({}): write a file that this user may read.",
                  quote(path), text.error().context));
  return none;
}

std::string before_sentence(const Place& place) {
  if (place.file.empty()) return "";
  return fmt::format("{}:{}: ", printable(place.file), place.line);
}

// A certificate that every cluster without one of its own would show must not be possible.
void refuse_what_is_a_clusters(const Layer& process, std::vector<std::string>& mistakes) {
  for (const auto& [name, places] : process.places) {
    if (find_flag(name)->scope != Scope::cluster) continue;
    mistakes.push_back(
        fmt::format("{}--{} belongs to a cluster: beside --clusters it is written into the "
                    "cluster's own file, and nowhere else.",
                    before_sentence(places.front()), name));
  }
}

// Files of clusters, in order: neither hidden ones, as Kubernetes makes beside what it mounts, nor
// what else may lie there.
std::vector<std::string> cluster_files(std::vector<std::string> files) {
  std::erase_if(files, [](const std::string& file) {
    return file.starts_with('.') || !file.ends_with(cluster_suffix);
  });
  std::ranges::sort(files);
  return files;
}

// Pages and metrics show it as it is.
bool is_name_byte(char c) { return ascii::is_alphanumeric(c) || c == '-' || c == '.' || c == '_'; }

LoadedCluster load_cluster(const Layer& process, const std::string& path, std::string name,
                           const Environment& environment) {
  LoadedCluster cluster;
  cluster.file = path;
  if (!std::ranges::all_of(name, is_name_byte)) {
    cluster.mistakes.push_back(
        fmt::format("{}: a cluster's name has letters, digits, dashes, dots and underscores: give "
                    "the file another name.",
                    printable(path)));
    std::ranges::replace_if(name, std::not_fn(is_name_byte), '?');
  }
  cluster.name = std::move(name);
  overlay(cluster.layer, process, shared);
  const auto text = environment.read_file(path);
  if (!text) {
    cluster.readable = false;
    cluster.names_known = false;
    cluster.mistakes.push_back(
        fmt::format("{}: cannot be read ({}): it has to be a file that this user may read.",
                    printable(path), text.error().context));
    return cluster;
  }
  ConfigurationFile file = read_configuration(*text, path, FileOf::cluster);
  overlay(cluster.layer, file.layer, every);
  append(cluster.mistakes, std::move(file.mistakes));
  cluster.names_known = file.names_known;
  return cluster;
}

void load_clusters(Loaded& loaded, const Environment& environment) {
  const std::string& folder = loaded.process.config.clusters;
  const auto files = environment.list_folder(folder);
  if (!files) {
    loaded.mistakes.push_back(
        fmt::format("{}--clusters={} cannot be read ({}): write a folder that this user may read.",
                    before_sentence(loaded.process.places.at("clusters").front()), quote(folder),
                    files.error().context));
    return;
  }
  const std::string before = folder.ends_with('/') ? folder : folder + '/';
  for (const std::string& file : cluster_files(*files)) {
    std::string name = file.substr(0, file.size() - cluster_suffix.size());
    loaded.clusters.push_back(
        load_cluster(loaded.process, before + file, std::move(name), environment));
  }
}

}  // namespace

Loaded load(const CommandLine& line, const Environment& environment) {
  Layer process;
  std::vector<std::string> mistakes = line.mistakes;
  if (!line.config_file.empty()) {
    ConfigurationFile file = read_process_file(line.config_file, environment);
    process = std::move(file.layer);
    append(mistakes, std::move(file.mistakes));
  }
  overlay(process, line, every);
  if (process.config.clusters.empty()) {
    Loaded one = load(process);
    one.mistakes = std::move(mistakes);
    return one;
  }
  Loaded several;
  several.process = std::move(process);
  several.mistakes = std::move(mistakes);
  refuse_what_is_a_clusters(several.process, several.mistakes);
  load_clusters(several, environment);
  return several;
}

Loaded load(const Layer& flags) {
  Loaded loaded;
  loaded.process = flags;
  loaded.clusters.emplace_back().layer = flags;
  return loaded;
}

}  // namespace sluice::config
