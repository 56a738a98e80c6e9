// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the protobuf form of the objects that clients create (k8s.io/api core/v1 generated.proto,
// k8s.io/apimachinery pkg/runtime generated.proto). Only reading: every client takes JSON answers.
#pragma once

#include <string_view>

#include "json.h"
#include "sluice/base/error.h"
#include "store.h"

namespace sluice::apisim {

// application/vnd.kubernetes.protobuf: "k8s\0" and a runtime.Unknown around the object. Pods are
// not understood.
Result<Json> read_protobuf(std::string_view body, Resource resource);

}  // namespace sluice::apisim
