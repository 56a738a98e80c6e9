// SPDX-License-Identifier: GPL-3.0-or-later
// The beginning of a watch's answer, as a backend may send it. What is seen must not depend on how
// it arrives: from when a part of it has told, nothing that follows tells otherwise. The first byte
// says what the head calls it.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/kubernetes/watch_event.h"

namespace {

using sluice::kubernetes::first_event_bytes_max;
using sluice::kubernetes::FirstEvent;
using sluice::kubernetes::look_at_first_event;

constexpr std::array types = {"application/json;stream=watch",
                              "application/vnd.kubernetes.protobuf;stream=watch",
                              "application/cbor-seq", "text/plain"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool gzip = (data[0] & 4) != 0;
  sluice::http::ResponseHead head;
  head.status = 200;
  head.fields.add("content-type", types[data[0] & 3]);
  if (gzip) head.fields.add("content-encoding", "gzip");
  const sluice::Bytes body(data + 1, size - 1);

  const FirstEvent whole = look_at_first_event(head, sluice::as_text(body));
  if (body.size() >= first_event_bytes_max) CHECK(whole != FirstEvent::unfinished);
  const std::size_t step = std::max<std::size_t>(1, body.size() / 64);
  bool told = false;
  for (std::size_t prefix = 0; prefix < body.size(); prefix += step) {
    // In memory of its own size, so that reading on is seen.
    const std::vector<std::uint8_t> bytes(body.begin(),
                                          body.begin() + static_cast<std::ptrdiff_t>(prefix));
    const FirstEvent part = look_at_first_event(head, sluice::as_text(sluice::Bytes(bytes)));
    if (part == FirstEvent::unfinished) {
      CHECK(!told || gzip);
      continue;
    }
    told = true;
    // What is compressed has a sum at its end, which may be wrong.
    if (!gzip && body.size() <= first_event_bytes_max) CHECK(part == whole);
  }
  return 0;
}
