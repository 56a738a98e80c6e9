// SPDX-License-Identifier: GPL-3.0-or-later
// Field and label selectors, as far as they decide what a request is: a field selector may name the
// one object that is meant, and a selector that does not parse makes the API server forget the
// other list options (k8s.io/apimachinery pkg/fields and pkg/labels).
#pragma once

#include <optional>
#include <string_view>

namespace sluice::kubernetes {

struct FieldSelector {
  bool valid = false;
  // The still escaped value of the first `metadata.name=` or `metadata.name==` term in the order in
  // which the API server sorts them.
  std::optional<std::string_view> name;
};

FieldSelector parse_field_selector(std::string_view selector);

// Removes the backslashes of a field selector's value. `out` has room for three times as many
// bytes: where a value needs rewriting, each invalid UTF-8 byte in it becomes U+FFFD.
std::string_view unescape_field_value(std::string_view value, char* out);

bool is_label_selector(std::string_view selector);

}  // namespace sluice::kubernetes
