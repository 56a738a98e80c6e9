// SPDX-License-Identifier: GPL-3.0-or-later
// Events of libyaml to a tree.
#include "yaml_tree.h"

#include <fmt/format.h>
#include <yaml.h>

#include <utility>

#include "sluice/discovery/kubeconfig.h"

namespace sluice::discovery {
namespace {

std::unexpected<Error> bad(std::string what) {
  return fail(ErrorKind::invalid_argument, std::move(what));
}

class Reader {
 public:
  explicit Reader(std::string_view text) {
    if (yaml_parser_initialize(&parser_) == 0) return;
    ready_ = true;
    // The library wants a pointer where there is nothing, too.
    const char* input = text.empty() ? "" : text.data();
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(input),
                                 text.size());
  }
  ~Reader() {
    drop();
    if (ready_) yaml_parser_delete(&parser_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  Result<YamlNode> document() {
    if (!ready_) return bad("there is no memory to read it with");
    if (auto begun = next(); !begun) return std::unexpected(begun.error());  // the stream
    if (auto begun = next(); !begun) return std::unexpected(begun.error());
    if (event_.type != YAML_DOCUMENT_START_EVENT) return bad("it is empty");
    if (auto begun = next(); !begun) return std::unexpected(begun.error());
    auto root = node(1);
    if (!root) return root;
    for (const yaml_event_type_t expected : {YAML_DOCUMENT_END_EVENT, YAML_STREAM_END_EVENT}) {
      if (auto ended = next(); !ended) return std::unexpected(ended.error());
      if (event_.type != expected) return bad("it has more than one document");
    }
    return root;
  }

 private:
  void drop() {
    if (std::exchange(full_, false)) yaml_event_delete(&event_);
  }

  Result<void> next() {
    drop();
    if (yaml_parser_parse(&parser_, &event_) == 0) {
      return bad(fmt::format("line {}: {}", parser_.problem_mark.line + 1,
                             parser_.problem == nullptr ? "no YAML" : parser_.problem));
    }
    full_ = true;
    return {};
  }

  std::string where() const { return fmt::format("line {}: ", event_.start_mark.line + 1); }

  // Of the event that was read last, and what belongs to it.
  Result<YamlNode> node(std::size_t depth) {
    if (depth > yaml_depth_max) return bad(where() + "it is nested too deeply");
    if (++nodes_ > yaml_nodes_max) return bad(where() + "it has too many values");
    YamlNode made;
    switch (event_.type) {
      case YAML_SCALAR_EVENT: made.text = scalar(); return made;
      case YAML_SEQUENCE_START_EVENT: return list(std::move(made), depth);
      case YAML_MAPPING_START_EVENT: return mapping(std::move(made), depth);
      case YAML_ALIAS_EVENT: return bad(where() + "aliases are not taken");
      default: return bad(where() + "a value is missing");
    }
  }

  std::string scalar() const {
    return {reinterpret_cast<const char*>(event_.data.scalar.value), event_.data.scalar.length};
  }

  Result<YamlNode> list(YamlNode made, std::size_t depth) {
    made.kind = YamlNode::Kind::list;
    for (;;) {
      if (auto read = next(); !read) return std::unexpected(read.error());
      if (event_.type == YAML_SEQUENCE_END_EVENT) return made;
      auto element = node(depth + 1);
      if (!element) return element;
      made.list.push_back(std::move(*element));
    }
  }

  Result<YamlNode> mapping(YamlNode made, std::size_t depth) {
    made.kind = YamlNode::Kind::mapping;
    for (;;) {
      if (auto read = next(); !read) return std::unexpected(read.error());
      if (event_.type == YAML_MAPPING_END_EVENT) return made;
      if (event_.type != YAML_SCALAR_EVENT) return bad(where() + "a key must be a text");
      const std::string key = scalar();
      if (made.mapping.contains(key)) return bad(where() + "a key is there twice");
      if (auto read = next(); !read) return std::unexpected(read.error());
      auto value = node(depth + 1);
      if (!value) return value;
      made.mapping.emplace(key, std::move(*value));
    }
  }

  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool ready_ = false;
  bool full_ = false;
  std::size_t nodes_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(const std::string& key) const {
  const auto found = mapping.find(key);
  return found == mapping.end() ? nullptr : &found->second;
}

std::string YamlNode::text_of(const std::string& key) const {
  const YamlNode* found = find(key);
  return found == nullptr || found->kind != Kind::scalar ? std::string() : found->text;
}

Result<YamlNode> parse_yaml(std::string_view text) {
  if (text.size() > yaml_bytes_max) {
    return bad(fmt::format("it has more than {} bytes", yaml_bytes_max));
  }
  return Reader(text).document();
}

std::string yaml_version() { return yaml_get_version_string(); }

}  // namespace sluice::discovery
