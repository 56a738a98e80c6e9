// SPDX-License-Identifier: GPL-3.0-or-later
// Files of configuration: the flags' names, one `name=value` a line, `#` before comments. Paths in
// them are relative to the file. Pure: whoever has read the bytes gives them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/config/layer.h"

namespace sluice::config {

// Without its end.
constexpr std::size_t line_bytes_max = std::size_t{64} * 1024;
// A file with more mistakes than these is not read to its end.
constexpr std::size_t file_mistakes_max = 100;

struct ConfigurationFile {
  Layer layer;
  std::vector<std::string> mistakes;  // sentences behind file and line
  bool names_known = true;            // false: a line that cannot be read may be about names
};

// Of a cluster: what belongs to the process alone is a mistake there.
enum class FileOf : std::uint8_t { process, cluster };

ConfigurationFile read_configuration(std::string_view text, const std::string& path, FileOf whose);

}  // namespace sluice::config
