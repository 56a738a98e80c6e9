// SPDX-License-Identifier: GPL-3.0-or-later
// Heads of items, and what follows them.
#include "cbor_reader.h"

namespace sluice::kubernetes {

std::nullopt_t CborReader::stop(State why) {
  if (state_ == State::good) state_ = why;
  return std::nullopt;
}

std::optional<std::string_view> CborReader::take(std::uint64_t count) {
  if (!good()) return std::nullopt;
  if (count > rest_.size()) return stop(State::unfinished);
  const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(count));
  rest_.remove_prefix(taken.size());
  return taken;
}

std::optional<CborReader::Item> CborReader::next() {
  Item item{Major::tag, 0};
  while (item.major == Major::tag) {
    const auto initial = take(1);
    if (!initial) return std::nullopt;
    const auto byte = static_cast<unsigned char>(initial->front());
    const std::uint8_t info = byte & 0x1f;
    item = {static_cast<Major>(byte >> 5), info};
    if (info < 24) continue;
    if (info > 27) return stop(State::odd);  // reserved, or of indefinite length
    const auto argument = take(std::uint64_t{1} << (info - 24));
    if (!argument) return std::nullopt;
    item.value = 0;
    for (const char c : *argument) item.value = item.value << 8 | static_cast<unsigned char>(c);
  }
  return item;
}

std::optional<std::uint64_t> CborReader::map() {
  const auto item = next();
  if (!item) return std::nullopt;
  if (item->major != Major::pairs) return stop(State::odd);
  return item->value;
}

std::optional<std::string_view> CborReader::text() {
  const auto item = next();
  if (!item) return std::nullopt;
  if (item->major != Major::bytes && item->major != Major::utf8) return stop(State::odd);
  return take(item->value);
}

std::optional<std::uint64_t> CborReader::number() {
  const auto item = next();
  if (!item) return std::nullopt;
  if (item->major != Major::number) return stop(State::odd);
  return item->value;
}

void CborReader::skip(int depth) {
  if (depth > depth_max) {
    stop(State::odd);
    return;
  }
  const auto item = next();
  if (!item) return;
  if (item->major == Major::bytes || item->major == Major::utf8) {
    take(item->value);
    return;
  }
  if (item->major != Major::array && item->major != Major::pairs) return;
  // Each one takes a byte at least: their number is bounded by what has come.
  const std::uint64_t each = item->major == Major::pairs ? 2 : 1;
  for (std::uint64_t i = 0; i < item->value && good(); ++i) {
    for (std::uint64_t k = 0; k < each && good(); ++k) skip(depth + 1);
  }
}

}  // namespace sluice::kubernetes
