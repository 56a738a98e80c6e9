// SPDX-License-Identifier: GPL-3.0-or-later
// A command line and the files that it names: lines are arguments up to an empty one, and what
// follows is every file's content. Beyond not crashing: mistakes are sentences, and what was
// understood is written and read back as the same.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/config/flags.h"
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
  const config::CommandLine parsed = config::parse(arguments);
  check_sentences(parsed.mistakes);
  if (!parsed.mistakes.empty()) return 0;
  const std::vector<std::string> written = config::describe(parsed.config);
  const std::vector<std::string_view> again(written.begin(), written.end());
  const config::CommandLine reread = config::parse(again);
  CHECK(reread.mistakes.empty());
  CHECK(config::describe(reread.config) == written);
  const config::Validation checked = config::validate(parsed.config, environment(rest));
  check_sentences(checked.mistakes);
  check_sentences(checked.warnings);
  check_sentences(checked.notes);
  CHECK(checked.report().ends_with('\n'));
  return 0;
}
