// SPDX-License-Identifier: GPL-3.0-or-later
// A command line and the files that it names: lines are arguments up to an empty one, and what
// follows is every file's content, that of --config included. Beyond not crashing: mistakes are
// sentences, and what was understood is written and read back as the same, on a command line and in
// a file.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/config/configuration_file.h"
#include "sluice/config/flags.h"
#include "sluice/config/load.h"
#include "sluice/config/validate.h"
#include "sluice/tls/context.h"

namespace {

using namespace sluice;

constexpr std::size_t arguments_max = 64;

config::Environment environment(std::string_view content) {
  config::Environment environment;
  environment.now = WallTime(std::chrono::seconds(1767225600));
  environment.cpus = 4;
  environment.descriptors_max = 65536;
  environment.read_file = [content](const std::string& path) -> Result<std::string> {
    if (path.empty()) return fail(ErrorKind::invalid_argument, "no such file");
    return std::string(content);
  };
  environment.list_folder = [](const std::string&) -> Result<std::vector<std::string>> {
    return std::vector<std::string>{"a.conf", "..data", "b.conf", "c?.conf", "README"};
  };
  environment.may_append = [](const std::string&) -> Result<void> { return {}; };
  environment.others_may_read = [](const std::string& path) { return path.ends_with("r"); };
  return environment;
}

void check_sentences(const std::vector<std::string>& sentences) {
  for (const std::string& sentence : sentences) {
    CHECK(!sentence.empty());
    CHECK(sentence.find_first_of(std::string_view("\n\r\0\x1b", 4)) == std::string::npos);
  }
}

std::vector<std::string> read_back(const config::Config& config) {
  const std::vector<std::string> written = config::describe(config);
  const std::vector<std::string_view> arguments(written.begin(), written.end());
  const config::CommandLine line = config::parse(arguments);
  CHECK(line.mistakes.empty());
  CHECK(config::describe(line.config) == written);
  return written;
}

// In a folder of its own paths would be taken for relative ones twice.
void check_file(std::string_view text) {
  const config::ConfigurationFile file =
      config::read_configuration(text, "f", config::FileOf::process);
  check_sentences(file.mistakes);
  CHECK(file.mistakes.size() <= config::file_mistakes_max + 1);
  check_sentences(config::read_configuration(text, "f", config::FileOf::cluster).mistakes);
  if (!file.mistakes.empty()) return;
  std::string lines;
  for (const std::string& flag : read_back(file.layer.config)) {
    if (flag.size() > config::line_bytes_max) return;
    lines += flag.substr(2) + "\r\n";
  }
  const config::ConfigurationFile again =
      config::read_configuration(lines, "f", config::FileOf::process);
  CHECK(again.mistakes.empty());
  CHECK(config::describe(again.layer.config) == config::describe(file.layer.config));
}

// A name and an address are one cluster's, and never that of one with a mistake.
void check_clusters(const config::Validation& checked) {
  std::vector<std::string> names = checked.reserved_names;
  for (const config::CheckedCluster& cluster : checked.clusters) {
    check_sentences(cluster.mistakes);
    check_sentences(cluster.warnings);
    check_sentences(cluster.notes);
    CHECK(cluster.mistakes.empty() || cluster.server_names.empty());
    names.insert(names.end(), cluster.server_names.begin(), cluster.server_names.end());
  }
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
  for (const config::CheckedCluster& cluster : checked.clusters) {
    CHECK(cluster.mistakes.empty() || cluster.listen.empty());
    for (const io::Address& address : cluster.listen) {
      if (address.port() == 0) continue;
      CHECK(std::ranges::find(checked.listen, address) == checked.listen.end());
      CHECK(std::ranges::none_of(checked.clusters, [&](const config::CheckedCluster& other) {
        return &other != &cluster && std::ranges::find(other.listen, address) != other.listen.end();
      }));
    }
    // Of what serves requests nothing is left where connections are passed on.
    CHECK(cluster.pass_through.empty() || cluster.backends.empty());
  }
  CHECK(!checked.default_cluster || checked.clusters[*checked.default_cluster].mistakes.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool ready = tls::initialize().has_value();
  CHECK(ready);
  std::string_view rest = as_text(Bytes(data, size));
  std::vector<std::string_view> arguments;
  while (arguments.size() < arguments_max && !rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty()) break;
    arguments.push_back(line);
  }
  check_file(rest);
  const config::CommandLine parsed = config::parse(arguments);
  check_sentences(parsed.mistakes);
  if (!parsed.mistakes.empty()) return 0;
  read_back(parsed.config);
  const config::Environment world = environment(rest);
  const config::Validation checked = config::validate(config::load(parsed, world), world);
  check_sentences(checked.mistakes);
  check_sentences(checked.warnings);
  check_sentences(checked.notes);
  check_sentences(checked.conflicts);
  check_clusters(checked);
  CHECK(checked.report().ends_with('\n'));
  return 0;
}
