// SPDX-License-Identifier: GPL-3.0-or-later
// Parser and writer of small JSON documents (RFC 8259).
#include "json.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace sluice::apisim {

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"': out.append("\\\""); break;
      case '\\': out.append("\\\\"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\t': out.append("\\t"); break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

class JsonParser {
 public:
  explicit JsonParser(std::string_view text) : text_(text) {}

  Result<Json> run() {
    Json value;
    if (!parse_value(value, 0)) return error();
    skip_space();
    if (position_ != text_.size()) return error();
    return value;
  }

 private:
  static constexpr int depth_max = 64;

  std::unexpected<Error> error() const {
    return fail(ErrorKind::invalid_argument, fmt::format("no JSON at byte {}", position_),
                Side::client);
  }

  void skip_space() {
    while (position_ < text_.size() && std::string_view(" \t\r\n").contains(text_[position_])) {
      ++position_;
    }
  }
  bool take(char c) {
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }
  bool take(std::string_view word) {
    if (!text_.substr(position_).starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  bool parse_value(Json& out, int depth) {
    if (depth > depth_max) return false;
    skip_space();
    if (position_ >= text_.size()) return false;
    switch (text_[position_]) {
      case '{': return parse_object(out, depth);
      case '[': return parse_array(out, depth);
      case '"': {
        std::string text;
        if (!parse_string(text)) return false;
        out.value_ = std::move(text);
        return true;
      }
      case 't': out.value_ = true; return take("true");
      case 'f': out.value_ = false; return take("false");
      case 'n': out.value_ = std::monostate(); return take("null");
      default: return parse_number(out);
    }
  }

  bool parse_object(Json& out, int depth) {
    ++position_;
    Json::Object members;
    skip_space();
    if (!take('}')) {
      do {
        skip_space();
        Json::Member& member = members.emplace_back();
        if (position_ >= text_.size() || text_[position_] != '"') return false;
        if (!parse_string(member.first)) return false;
        skip_space();
        if (!take(':') || !parse_value(member.second, depth + 1)) return false;
        skip_space();
      } while (take(','));
      if (!take('}')) return false;
    }
    out.value_ = std::move(members);
    return true;
  }

  bool parse_array(Json& out, int depth) {
    ++position_;
    Json::Array elements;
    skip_space();
    if (!take(']')) {
      do {
        if (!parse_value(elements.emplace_back(), depth + 1)) return false;
        skip_space();
      } while (take(','));
      if (!take(']')) return false;
    }
    out.value_ = std::move(elements);
    return true;
  }

  bool parse_number(Json& out) {
    const std::size_t begin = position_;
    take('-');
    const auto digits = [this] {
      const std::size_t from = position_;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
        ++position_;
      }
      return position_ > from;
    };
    if (!digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    out.value_ = Json::Number{std::string(text_.substr(begin, position_ - begin))};
    return true;
  }

  std::optional<std::uint32_t> parse_hex4() {
    if (text_.size() - position_ < 4) return std::nullopt;
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[position_++];
      value <<= 4;
      if (c >= '0' && c <= '9') {
        value |= static_cast<std::uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        value |= static_cast<std::uint32_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        value |= static_cast<std::uint32_t>(c - 'A' + 10);
      } else {
        return std::nullopt;
      }
    }
    return value;
  }

  static void append_utf8(std::string& out, std::uint32_t c) {
    const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xC0 | (c >> 6));
      put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      put(0xE0 | (c >> 12));
      put(0x80 | ((c >> 6) & 0x3F));
      put(0x80 | (c & 0x3F));
    } else {
      put(0xF0 | (c >> 18));
      put(0x80 | ((c >> 12) & 0x3F));
      put(0x80 | ((c >> 6) & 0x3F));
      put(0x80 | (c & 0x3F));
    }
  }

  bool parse_escape(std::string& out) {
    if (position_ >= text_.size()) return false;
    switch (const char c = text_[position_++]) {
      case '"':
      case '\\':
      case '/': out.push_back(c); return true;
      case 'b': out.push_back('\b'); return true;
      case 'f': out.push_back('\f'); return true;
      case 'n': out.push_back('\n'); return true;
      case 'r': out.push_back('\r'); return true;
      case 't': out.push_back('\t'); return true;
      case 'u': {
        const auto first = parse_hex4();
        if (!first) return false;
        std::uint32_t code = *first;
        if (code >= 0xD800 && code < 0xE000) {
          const std::size_t after = position_;
          code = 0xFFFD;  // A lone surrogate, unless the other half follows.
          if (*first < 0xDC00 && take("\\u")) {
            const auto second = parse_hex4();
            if (second && *second >= 0xDC00 && *second < 0xE000) {
              code = 0x10000 + ((*first - 0xD800) << 10) + (*second - 0xDC00);
            } else {
              position_ = after;
            }
          }
        }
        append_utf8(out, code);
        return true;
      }
      default: return false;
    }
  }

  bool parse_string(std::string& out) {
    ++position_;
    while (position_ < text_.size()) {
      const char c = text_[position_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') {
        out.push_back(c);
      } else if (!parse_escape(out)) {
        return false;
      }
    }
    return false;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

Result<Json> Json::parse(std::string_view text) { return JsonParser(text).run(); }

const Json* Json::find(std::string_view name) const {
  const Object* members = object();
  if (members == nullptr) return nullptr;
  const auto found = std::ranges::find(*members, name, &Member::first);
  return found == members->end() ? nullptr : &found->second;
}

Json* Json::find(std::string_view name) {
  return const_cast<Json*>(static_cast<const Json*>(this)->find(name));
}

std::string_view Json::text(std::string_view name) const {
  const Json* member = find(name);
  if (member == nullptr || member->string() == nullptr) return {};
  return *member->string();
}

void Json::set(std::string_view name, Json value) {
  if (!is_object()) value_ = Object();
  if (Json* member = find(name)) {
    *member = std::move(value);
  } else {
    object()->emplace_back(std::string(name), std::move(value));
  }
}

void Json::erase(std::string_view name) {
  if (Object* members = object()) {
    std::erase_if(*members, [name](const Member& member) { return member.first == name; });
  }
}

void Json::append_to(std::string& out) const {
  struct Writer {
    std::string& out;
    void operator()(std::monostate) { out.append("null"); }
    void operator()(bool value) { out.append(value ? "true" : "false"); }
    void operator()(const Number& value) { out.append(value.text); }
    void operator()(const std::string& value) { append_json_string(out, value); }
    void operator()(const Array& value) {
      out.push_back('[');
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (i > 0) out.push_back(',');
        value[i].append_to(out);
      }
      out.push_back(']');
    }
    void operator()(const Object& value) {
      out.push_back('{');
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (i > 0) out.push_back(',');
        append_json_string(out, value[i].first);
        out.push_back(':');
        value[i].second.append_to(out);
      }
      out.push_back('}');
    }
  };
  std::visit(Writer{out}, value_);
}

std::string Json::to_string() const {
  std::string out;
  append_to(out);
  return out;
}

void merge_patch(Json& target, const Json& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) target = Json::Object();
  for (const Json::Member& member : *patch.object()) {
    if (member.second.is_null()) {
      target.erase(member.first);
    } else if (Json* existing = target.find(member.first)) {
      merge_patch(*existing, member.second);
    } else {
      Json added;
      merge_patch(added, member.second);
      target.set(member.first, std::move(added));
    }
  }
}

}  // namespace sluice::apisim
