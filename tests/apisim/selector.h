// SPDX-License-Identifier: GPL-3.0-or-later
// Label and field selectors of list and watch.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/base/error.h"

namespace sluice::apisim {

using Labels = std::vector<std::pair<std::string, std::string>>;

class LabelSelector {
 public:
  // "a=b,c!=d,e in (f,g),h notin (i),j,!k"
  static Result<LabelSelector> parse(std::string_view text);
  bool empty() const { return requirements_.empty(); }
  bool matches(const Labels& labels) const;

 private:
  enum class Operator : unsigned char { in, not_in, exists, not_exists };
  struct Requirement {
    std::string key;
    Operator op;
    std::vector<std::string> values;
  };
  std::vector<Requirement> requirements_;
};

// metadata.name and metadata.namespace, the fields that every resource has.
struct FieldSelector {
  std::string name;
  std::string namespace_;
  static Result<FieldSelector> parse(std::string_view text);
  bool empty() const { return name.empty() && namespace_.empty(); }
};

}  // namespace sluice::apisim
