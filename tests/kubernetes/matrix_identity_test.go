// SPDX-License-Identifier: GPL-3.0-or-later
//
// Identities that mean much, over HTTP/1.1: those of the control plane itself (S15), and that of a front proxy which the
// backends take for a user (S16).

package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// privileged subjects: whoever has such a certificate of the cluster's own authority is what it says, and nobody else.
var privileged = []harness.Leaf{
	{CommonName: "root", Organizations: []string{"system:masters"}},
	{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}},
	{CommonName: "system:apiserver", Organizations: []string{"system:masters"}},
	{CommonName: "system:kube-controller-manager", Organizations: []string{"system:authenticated"}},
	{CommonName: harness.FrontProxyName, Organizations: []string{"system:masters"}},
}

func TestPrivilegedIdentitiesAreThoseOfTheClusterAlone(t *testing.T) { // S15
	ctx := within(t, 5*time.Minute)
	m := startMatrix(t)
	clone := must[*harness.Authority](t)(harness.NewAuthority("client-ca"))
	forgeries := spellings()
	number, refused := 0, 0
	for _, leaf := range privileged {
		for _, issuer := range []*harness.Authority{m.trust.ClientCA, clone, m.trust.FrontProxyCA} {
			who := matrixClient{
				name: leaf.CommonName, certificate: must[*harness.Pair](t)(issuer.Issue(leaf)), user: leaf.CommonName, groups: leaf.Organizations,
			}
			for i, c := range forgeries {
				number++
				var err error
				if issuer == m.trust.ClientCA {
					err = m.try(ctx, c, who, fmt.Sprintf("s%d", number), cuts[i%2].size)
				} else {
					refused++
					err = m.tryStranger(ctx, t, c, who, fmt.Sprintf("s%d", number))
				}
				if err != nil {
					t.Errorf("%s, authority %p, %s: %v", leaf.CommonName, issuer, c.name, err)
					break // The others would say the same.
				}
			}
		}
	}
	m.checkAll(t)
	figure(t, "%d requests with certificates of the control plane's names, %d of them of other authorities", number, refused)
}

// tryStranger: whoever has such a certificate of another authority is nobody, or nothing at all.
func (m *matrix) tryStranger(ctx context.Context, t *testing.T, c wireCase, who matrixClient, mark string) error {
	t.Helper()
	connection := harnessTarget{m.proxy.Address, m.proxy.TLS(who.certificate)}.converse(ctx, t)
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	text := strings.NewReplacer("MARK", mark, "WHO", "").Replace(c.request)
	go func() { _, _ = io.WriteString(connection, text) }() // The proxy may end the connection before it has read all of it.
	method, _, _ := strings.Cut(c.request, " ")
	response, err := readAnswer(connection.answers, method)
	if err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
	}
	nobody := matrixClient{name: "nobody"}
	for _, entry := range m.ledger.of(mark) {
		if err := judgeEntry(entry, c, nobody, method); err != nil {
			return fmt.Errorf("a stranger %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	return nil
}

// A front proxy's certificate that the backends take for a user's would lend its identity to everybody whose fields were
// lost: nobody is vouched for there, and whoever proves itself is served.
func TestNobodyIsVouchedForWhereTheFrontProxyIsAUser(t *testing.T) { // S16
	ctx := within(t, 2*time.Minute)
	m := startRecorders(t)
	m.ledger.takesCertificates = true
	m.proxy = watchOver(t)(harness.StartProxy(sluiceBinary(t), m.trust, harness.ProxyOptions{Backends: m.backends, Distrusted: true}))
	number := 0
	for _, c := range spellings() {
		if c.reason != "" {
			continue
		}
		for _, who := range m.who {
			number++
			if err := m.tryDistrusted(ctx, t, c, who, fmt.Sprintf("d%d", number)); err != nil {
				t.Errorf("%s by %s: %v", c.name, who.name, err)
			}
		}
		if t.Failed() {
			break
		}
	}
	m.checkAll(t)
	figure(t, "%d requests", number)
}

func (m *matrix) tryDistrusted(ctx context.Context, t *testing.T, c wireCase, who matrixClient, mark string) error {
	t.Helper()
	if who.certificate == nil {
		return m.try(ctx, c, who, mark, cuts[0].size)
	}
	connection := harnessTarget{m.proxy.Address, m.proxy.TLS(who.certificate)}.converse(ctx, t)
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(connection, strings.NewReplacer("MARK", mark, "WHO", who.field).Replace(c.request)); err != nil {
		return err
	}
	response, err := readAnswer(connection.answers, c.method)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(body, []byte(`"kind":"Status"`)) {
		return fmt.Errorf("%s %s, %w", response.Status, body, err)
	}
	if seen := m.ledger.of(mark); len(seen) > 0 {
		return fmt.Errorf("it came to a backend: %+v", seen)
	}
	return nil
}
