// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names the program that the build script makes from this module: the kube-apiserver from which a cluster is upgraded.

//go:build tools

package previous

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
