// SPDX-License-Identifier: GPL-3.0-or-later
// A small YAML document as a tree, for files that people and tools write about us: bounded in size,
// depth and nodes, one document, no aliases (a few of them can stand for gigabytes), and no key
// twice. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"

namespace sluice::discovery {

struct YamlNode {
  enum class Kind : std::uint8_t { scalar, list, mapping };
  Kind kind = Kind::scalar;
  std::string text;  // of a scalar, whatever type it may be meant to have
  std::vector<YamlNode> list;
  std::map<std::string, YamlNode> mapping;

  // Null: it has no such key, or can have none.
  const YamlNode* find(const std::string& key) const;
  // Of a scalar below that key; empty where there is none.
  std::string text_of(const std::string& key) const;
};

constexpr std::size_t yaml_bytes_max = std::size_t{256} * 1024;
constexpr std::size_t yaml_depth_max = 16;
constexpr std::size_t yaml_nodes_max = 4096;

Result<YamlNode> parse_yaml(std::string_view text);

}  // namespace sluice::discovery
