// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where a raw client connects to.

package kubernetes

import (
	"context"
	"crypto/tls"

	"sluice/tests/kubernetes/harness"
)

// harnessTarget is a server or the proxy.
type harnessTarget struct {
	address string
	tls     *tls.Config
}

func (h harnessTarget) dial(ctx context.Context) (*harness.RawClient, error) {
	return harness.DialRaw(ctx, h.address, clientAddress, h.tls)
}
