// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who ends its direction before an upgrade is answered.

package kubernetes

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// A server of this language reads on while it has not answered, and whoever ends is gone. (Where more came early than it
// reads at once, it does not get to see the end, and the tunnel opens. Here it is the same for all.)
func TestAnEndBeforeTheAnswerToAnUpgradeMeansWhatItMeansDirectly(t *testing.T) {
	ctx := within(t, time.Minute)
	m := startMatrix(t)
	seen := make(chan string, 1)
	asked := make(chan struct{}, 1)
	m.ledger.onUpgrade = func(w http.ResponseWriter, request *http.Request) {
		asked <- struct{}{}
		seen <- serveLate(w, request)
	}
	direct := harnessTarget{m.backends[0], &tls.Config{RootCAs: m.trust.ServingCA.Pool(), ServerName: harness.ServerName, MinVersion: tls.VersionTLS12}}
	for _, early := range []string{"", "x", strings.Repeat("early", 100)} {
		for _, inOrder := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d bytes before/in order %v", len(early), inOrder), func(t *testing.T) {
				told := map[string]string{}
				for side, to := range map[string]harnessTarget{"direct": direct, "proxied": {m.proxy.Address, m.proxy.TLS(nil)}} {
					told[side] = endEarly(ctx, t, to, early, inOrder, asked, seen)
				}
				figure(t, "proxied: %.100s; direct: %.100s", told["proxied"], told["direct"])
				if !strings.HasPrefix(told["direct"], "the server: the request is over; ") {
					t.Fatalf("direct: %s: this tests nothing", told["direct"])
				}
				if told["proxied"] != told["direct"] {
					t.Errorf("proxied: %s\ndirect: %s", told["proxied"], told["direct"])
				}
			})
		}
	}
}

// serveLate answers when the client's end would have been seen, and tells what came.
func serveLate(w http.ResponseWriter, request *http.Request) string {
	select {
	case <-request.Context().Done():
		w.Header().Set("Connection", "close")
		return "the request is over"
	case <-time.After(500 * time.Millisecond):
	}
	connection, reader, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(connection, strings.ReplaceAll(switching, "TOKEN", request.Header.Get("Upgrade"))); err != nil {
		return err.Error()
	}
	content, err := io.ReadAll(reader)
	_, _ = connection.Write([]byte("END"))
	return fmt.Sprintf("%s, %v", content, err)
}

func endEarly(ctx context.Context, t *testing.T, to harnessTarget, early string, inOrder bool, asked <-chan struct{}, seen <-chan string) string {
	t.Helper()
	c := to.converse(ctx, t)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	secure := c.Conn.(*tls.Conn)
	request := "POST /upgrade HTTP/1.1\r\nHost: k\r\nAuthorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
	if _, err := io.WriteString(c, request+early); err != nil {
		t.Fatal(err)
	}
	select {
	case <-asked:
	case <-ctx.Done():
		t.Fatal("the server was not asked")
	}
	end := secure.CloseWrite
	if !inOrder {
		end = secure.NetConn().(*net.TCPConn).CloseWrite
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	answer := "nothing"
	if response, err := http.ReadResponse(c.answers, &http.Request{Method: http.MethodPost}); err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		rest, err := io.ReadAll(c.answers)
		answer = fmt.Sprintf("%s %s, %v", response.Status, rest, err)
	}
	select {
	case at := <-seen:
		return fmt.Sprintf("the server: %s; the client: %s", at, answer)
	case <-ctx.Done():
		t.Fatal("the server does not end")
	}
	return ""
}
