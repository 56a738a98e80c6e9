// SPDX-License-Identifier: GPL-3.0-or-later
// Collects the decoded fields of one header block into a head or trailers, counting fields and
// bytes: the codec limits neither. One per session, because header blocks never interleave. The
// codec has validated names, values and the order of pseudo fields before they come here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/http/message.h"
#include "sluice/http2/session.h"

namespace sluice::http2 {

class HeadBuilder {
 public:
  enum class Kind : std::uint8_t { request, response, trailers };

  HeadBuilder(const SessionOptions& options, const http::Fields& roomy)
      : fields_max_(options.header_fields_max),
        bytes_max_(options.header_list_bytes_max),
        roomy_(roomy) {}

  void begin(Kind kind);
  enum class Added : std::uint8_t {
    kept,
    too_large,  // a limit is broken: this field is not kept
    hopeless,   // broken by far: decoding on would be work for nothing
  };
  Added add(std::string_view name, std::string_view value, bool never_indexed);
  // For a request, after its last field: which rule it breaks (RFC 9113 section 8.3.1); empty when
  // it is one that we serve.
  std::string_view finish_request();

  http::RequestHead& request() { return request_; }
  http::ResponseHead& response() { return response_; }
  http::Fields& trailers() { return trailers_; }
  // After the handler had the chance to take them: give back what is large.
  void release();
  // The head is too large: only what an answer and a log need of it stays.
  void keep_request_line();
  std::size_t held_bytes() const;

 private:
  http::Fields& fields();
  void add_pseudo(std::string_view name, std::string_view value);

  const std::uint32_t fields_max_;
  const std::uint32_t bytes_max_;
  const http::Fields& roomy_;
  Kind kind_ = Kind::request;
  std::uint64_t fields_count_ = 0;
  std::uint64_t bytes_ = 0;
  http::RequestHead request_;
  http::ResponseHead response_;
  http::Fields trailers_;
  std::string host_;
};

}  // namespace sluice::http2
