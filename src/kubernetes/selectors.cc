// SPDX-License-Identifier: GPL-3.0-or-later
// Parsers of field selectors and label selectors.
#include "selectors.h"

#include <algorithm>
#include <cstdint>

#include "numbers.h"
#include "sluice/base/ascii.h"
#include "sluice/base/utf8.h"

namespace sluice::kubernetes {
namespace {

// ---- Field selectors: terms `field OPERATOR value`, separated by commas without a backslash ----

struct FieldTerm {
  std::string_view field;
  std::string_view value;
  bool equals;
};

std::optional<FieldTerm> split_field_term(std::string_view term) {
  for (std::size_t at = 0; at < term.size(); ++at) {
    const std::string_view rest = term.substr(at);
    if (rest.starts_with("!=")) return FieldTerm{term.substr(0, at), rest.substr(2), false};
    if (rest.starts_with("==")) return FieldTerm{term.substr(0, at), rest.substr(2), true};
    if (rest.starts_with("=")) return FieldTerm{term.substr(0, at), rest.substr(1), true};
  }
  return std::nullopt;
}

// A value may hold `\\`, `\,` and `\=`, and neither `,` nor `=` without the backslash.
bool is_field_value(std::string_view value) {
  for (std::size_t at = 0; at < value.size(); ++at) {
    const char c = value[at];
    if (c == ',' || c == '=') return false;
    if (c != '\\') continue;
    ++at;
    if (at == value.size()) return false;
    if (value[at] != '\\' && value[at] != ',' && value[at] != '=') return false;
  }
  return true;
}

std::size_t find_unescaped_comma(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == ',') {
      return at;
    }
  }
  return std::string_view::npos;
}

// ---- Label selectors ----

enum class Token : std::uint8_t {
  end,
  identifier,
  in,
  not_in,
  comma,
  open,
  close,
  bang,
  equals,
  double_equals,
  not_equals,
  less,
  greater,
};

constexpr bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
constexpr bool is_symbol(char c) {
  return c == '=' || c == '!' || c == '(' || c == ')' || c == ',' || c == '>' || c == '<';
}

class LabelLexer {
 public:
  explicit LabelLexer(std::string_view text) : text_(text) { advance(); }

  Token token() const { return token_; }
  std::string_view literal() const { return literal_; }

  // Inside of a value, the words `in` and `notin` are ordinary.
  Token value_token() const {
    return token_ == Token::in || token_ == Token::not_in ? Token::identifier : token_;
  }

  // Moves to the next token; the end stays the end.
  void advance() {
    if (ended_) return;
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
    if (at_ == text_.size() || text_[at_] == '\0') {  // A NUL ends the selector.
      token_ = Token::end;
      literal_ = {};
      ended_ = true;
      return;
    }
    if (is_symbol(text_[at_])) {
      scan_symbol();
    } else {
      scan_word();
    }
  }

 private:
  void scan_symbol() {
    const std::string_view rest = text_.substr(at_);
    std::size_t length = 1;
    if (rest.starts_with("!=")) {
      token_ = Token::not_equals;
      length = 2;
    } else if (rest.starts_with("==")) {
      token_ = Token::double_equals;
      length = 2;
    } else {
      switch (rest[0]) {
        case '!': token_ = Token::bang; break;
        case '=': token_ = Token::equals; break;
        case '(': token_ = Token::open; break;
        case ')': token_ = Token::close; break;
        case ',': token_ = Token::comma; break;
        case '<': token_ = Token::less; break;
        default: token_ = Token::greater; break;
      }
    }
    literal_ = rest.substr(0, length);
    at_ += length;
    // The API server's scanner swallows a NUL behind a symbol or a word.
    if (at_ < text_.size() && text_[at_] == '\0') ++at_;
  }

  void scan_word() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '\0' && !is_symbol(text_[at_]) &&
           !is_blank(text_[at_])) {
      ++at_;
    }
    literal_ = text_.substr(begin, at_ - begin);
    if (at_ < text_.size() && text_[at_] == '\0') ++at_;
    token_ = literal_ == "in" ? Token::in : literal_ == "notin" ? Token::not_in : Token::identifier;
  }

  std::string_view text_;
  std::string_view literal_;
  std::size_t at_ = 0;
  Token token_ = Token::end;
  bool ended_ = false;
};

constexpr std::size_t label_bytes_max = 63;
constexpr std::size_t subdomain_bytes_max = 253;

// [A-Za-z0-9] at both ends, [-A-Za-z0-9_.] between, at most 63 bytes, not empty.
bool is_label_name(std::string_view name) {
  if (name.empty() || name.size() > label_bytes_max) return false;
  if (!ascii::is_alphanumeric(name.front()) || !ascii::is_alphanumeric(name.back())) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return ascii::is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
  });
}

bool is_label_value(std::string_view value) { return value.empty() || is_label_name(value); }

// Lower case labels of RFC 1123, separated by dots.
bool is_subdomain(std::string_view text) {
  if (text.empty() || text.size() > subdomain_bytes_max) return false;
  bool label_begins = true;
  char previous = '.';
  for (const char c : text) {
    if (c == '.') {
      if (label_begins || previous == '-') return false;
      label_begins = true;
    } else if (ascii::is_lower(c) || ascii::is_digit(c)) {
      label_begins = false;
    } else if (c == '-') {
      if (label_begins) return false;
    } else {
      return false;
    }
    previous = c;
  }
  return !label_begins && previous != '-';
}

bool is_label_key(std::string_view key) {
  const std::size_t slash = key.find('/');
  if (slash == std::string_view::npos) return is_label_name(key);
  // A second slash makes the name invalid.
  return is_subdomain(key.substr(0, slash)) && is_label_name(key.substr(slash + 1));
}

// `(a,b)` with any member empty.
bool parse_label_values(LabelLexer& lexer) {
  if (lexer.value_token() != Token::open) return false;
  lexer.advance();
  if (lexer.value_token() == Token::close) {
    lexer.advance();
    return true;
  }
  for (;;) {
    if (lexer.value_token() == Token::identifier) {
      if (!is_label_value(lexer.literal())) return false;
      lexer.advance();
      if (lexer.value_token() == Token::comma) continue;
      break;
    }
    if (lexer.value_token() != Token::comma) return false;
    lexer.advance();
    if (lexer.value_token() == Token::close) break;
  }
  if (lexer.value_token() != Token::close) return false;
  lexer.advance();
  return true;
}

bool parse_label_value(LabelLexer& lexer, bool integer) {
  std::string_view value;
  if (lexer.value_token() != Token::end && lexer.value_token() != Token::comma) {
    if (lexer.value_token() != Token::identifier) return false;
    value = lexer.literal();
    lexer.advance();
  }
  if (integer && !parse_int64(value)) return false;
  return is_label_value(value);
}

bool parse_label_requirement(LabelLexer& lexer) {
  bool negated = false;
  if (lexer.value_token() == Token::bang) {
    negated = true;
    lexer.advance();
  }
  if (lexer.value_token() != Token::identifier || !is_label_key(lexer.literal())) return false;
  lexer.advance();
  // `key` and `!key` ask for existence; behind `!key` nothing else is allowed.
  if (negated || lexer.token() == Token::end || lexer.token() == Token::comma) return true;
  const Token operation = lexer.token();
  lexer.advance();
  switch (operation) {
    case Token::in:
    case Token::not_in: return parse_label_values(lexer);
    case Token::equals:
    case Token::double_equals:
    case Token::not_equals: return parse_label_value(lexer, false);
    case Token::less:
    case Token::greater: return parse_label_value(lexer, true);
    default: return false;
  }
}

}  // namespace

FieldSelector parse_field_selector(std::string_view selector) {
  FieldSelector result;
  std::string_view first;
  while (!selector.empty()) {
    const std::size_t comma = find_unescaped_comma(selector);
    const std::string_view text = selector.substr(0, comma);
    if (!text.empty()) {
      const std::optional<FieldTerm> term = split_field_term(text);
      if (!term || !is_field_value(term->value)) return {};
      if (term->equals && term->field == "metadata.name" && (!result.name || text < first)) {
        result.name = term->value;
        first = text;
      }
    }
    if (comma == std::string_view::npos) break;
    selector.remove_prefix(comma + 1);
  }
  result.valid = true;
  return result;
}

std::string_view unescape_field_value(std::string_view value, char* out) {
  if (value.find('\\') == std::string_view::npos) return value;
  char* end = out;
  for (std::size_t at = 0; at < value.size();) {
    if (value[at] == '\\' && at + 1 < value.size()) ++at;  // What follows stands for itself.
    const utf8::Character first = utf8::decode(value.substr(at));
    const std::string_view character =
        first.valid ? value.substr(at, first.bytes) : utf8::replacement;
    end = std::copy(character.begin(), character.end(), end);
    at += first.bytes;
  }
  return {out, static_cast<std::size_t>(end - out)};
}

bool is_label_selector(std::string_view selector) {
  LabelLexer lexer(selector);
  for (;;) {
    if (lexer.value_token() == Token::end) return true;
    if (!parse_label_requirement(lexer)) return false;
    if (lexer.value_token() == Token::end) return true;
    if (lexer.value_token() != Token::comma) return false;
    lexer.advance();
    if (lexer.value_token() == Token::end) return false;  // Nothing behind the comma.
  }
}

}  // namespace sluice::kubernetes
