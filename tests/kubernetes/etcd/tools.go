// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names etcd, which the build script makes from this module. It is a module of
// its own because its dependencies differ from those of the API server.

//go:build tools

package etcd

import _ "go.etcd.io/etcd/server/v3"
