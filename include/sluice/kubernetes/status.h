// SPDX-License-Identifier: GPL-3.0-or-later
// The body of the replies that we make ourselves: a Kubernetes Status object (k8s.io/apimachinery
// pkg/apis/meta/v1), in the order and form in which the API server writes it.
#pragma once

#include <string>
#include <string_view>

namespace sluice::kubernetes {

inline constexpr std::string_view status_content_type = "application/json";

struct StatusReply {
  int code = 500;                // the HTTP status
  std::string_view message;      // for a person; invalid UTF-8 in it is replaced
  int retry_after_seconds = 0;   // 0: none. Never set one where a write may have been executed.
  std::string_view reason = {};  // "": the one that belongs to the code
};

// The metav1.StatusReason of a code; "" where Kubernetes has none (421, 431).
std::string_view status_reason(int code);

// {"kind":"Status",...} and a newline.
std::string status_json(const StatusReply& reply);

}  // namespace sluice::kubernetes
