// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names the programs that the build script makes from this module, so that
// "go mod tidy" keeps what they need.

//go:build tools

package kubernetes

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
