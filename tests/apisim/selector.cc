// SPDX-License-Identifier: GPL-3.0-or-later
// Label and field selectors of list and watch.
#include "selector.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::apisim {

namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Splits at commas that are not inside of parentheses.
std::vector<std::string_view> split_terms(std::string_view text) {
  std::vector<std::string_view> terms;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || (text[i] == ',' && depth == 0)) {
      if (const std::string_view term = trim(text.substr(begin, i - begin)); !term.empty()) {
        terms.push_back(term);
      }
      begin = i + 1;
    } else if (text[i] == '(') {
      ++depth;
    } else if (text[i] == ')') {
      --depth;
    }
  }
  return terms;
}

std::unexpected<Error> unknown(std::string_view term) {
  return fail(ErrorKind::invalid_argument, fmt::format("unable to parse requirement: {}", term),
              Side::client);
}

}  // namespace

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector selector;
  for (const std::string_view term : split_terms(text)) {
    Requirement requirement{{}, Operator::in, {}};
    if (term.back() == ')') {
      const std::size_t open = term.find('(');
      if (open == std::string_view::npos) return unknown(term);
      std::string_view head = trim(term.substr(0, open));
      if (head.ends_with(" notin")) {
        requirement.op = Operator::not_in;
        head.remove_suffix(6);
      } else if (head.ends_with(" in")) {
        head.remove_suffix(3);
      } else {
        return unknown(term);
      }
      requirement.key = trim(head);
      std::string_view list = term.substr(open + 1, term.size() - open - 2);
      while (true) {
        const std::size_t comma = list.find(',');
        requirement.values.emplace_back(trim(list.substr(0, comma)));
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
      }
    } else if (const std::size_t equals = term.find('='); equals != std::string_view::npos) {
      const bool negated = equals > 0 && term[equals - 1] == '!';
      const bool doubled = equals + 1 < term.size() && term[equals + 1] == '=';
      requirement.op = negated ? Operator::not_in : Operator::in;
      requirement.key = trim(term.substr(0, negated ? equals - 1 : equals));
      requirement.values.emplace_back(trim(term.substr(equals + (doubled ? 2 : 1))));
    } else if (term.front() == '!') {
      requirement.op = Operator::not_exists;
      requirement.key = trim(term.substr(1));
    } else {
      requirement.op = Operator::exists;
      requirement.key = term;
    }
    if (requirement.key.empty() || requirement.key.contains(' ')) return unknown(term);
    selector.requirements_.push_back(std::move(requirement));
  }
  return selector;
}

bool LabelSelector::matches(const Labels& labels) const {
  return std::ranges::all_of(requirements_, [&labels](const Requirement& requirement) {
    const auto label = std::ranges::find(labels, requirement.key, &Labels::value_type::first);
    const bool present = label != labels.end();
    const bool listed = present && std::ranges::count(requirement.values, label->second) > 0;
    switch (requirement.op) {
      case Operator::in: return listed;
      case Operator::not_in: return !listed;
      case Operator::exists: return present;
      case Operator::not_exists: return !present;
    }
    return false;
  });
}

Result<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  for (const std::string_view term : split_terms(text)) {
    const std::size_t equals = term.find('=');
    if (equals == std::string_view::npos || (equals > 0 && term[equals - 1] == '!')) {
      return unknown(term);
    }
    const std::string_view key = trim(term.substr(0, equals));
    std::string_view value = term.substr(equals + 1);
    if (value.starts_with('=')) value.remove_prefix(1);
    if (key == "metadata.name") {
      selector.name = trim(value);
    } else if (key == "metadata.namespace") {
      selector.namespace_ = trim(value);
    } else {
      return fail(ErrorKind::invalid_argument, fmt::format("field label not supported: {}", key),
                  Side::client);
    }
  }
  return selector;
}

}  // namespace sluice::apisim
