// SPDX-License-Identifier: GPL-3.0-or-later
//
// What HTTP/1.1 has and HTTP/2 has not, byte by byte: the servers' answers are the right ones.

package kubernetes

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// conversation is one connection of HTTP/1.1.
type conversation struct {
	net.Conn
	answers *bufio.Reader
}

func (h harnessTarget) converse(ctx context.Context, t *testing.T) *conversation {
	t.Helper()
	config := h.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	dialer := tls.Dialer{Config: config}
	connection := must[net.Conn](t)(dialer.DialContext(ctx, "tcp", h.address))
	t.Cleanup(func() { connection.Close() })
	return &conversation{connection, bufio.NewReader(connection)}
}

// stillOpen waits a moment for the end: one that says that it ends does so at once.
func (c *conversation) stillOpen() string {
	_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err := c.answers.ReadByte()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open"
	case err == nil:
		return "more than an answer"
	}
	return "ended"
}

// sides of a comparison.
func bothSides(cluster *harness.Cluster, proxy *harness.Proxy, certificate *harness.Pair) map[string]harnessTarget {
	return map[string]harnessTarget{
		"direct":  {cluster.Servers[0].Address, cluster.DirectTLS(certificate)},
		"proxied": {proxy.Address, proxy.TLS(certificate)},
	}
}

func TestOptionsOfTheServerAreAnsweredAsDirectly(t *testing.T) {
	ctx := within(t, time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	for name, fields := range map[string]string{
		"nobody":      "",
		"token":       "Authorization: Bearer " + harness.TesterToken + "\r\n",
		"wrong token": "Authorization: Bearer nonsense\r\n",
		"a body":      "Content-Length: 5\r\n",
		"cors":        "Origin: https://example.com\r\nAccess-Control-Request-Method: GET\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]string{}
			for side, to := range bothSides(cluster, proxy, nil) {
				c := to.converse(ctx, t)
				text := "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n" + fields + "\r\n"
				if name == "a body" {
					text += "hello"
				}
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
				response := must[*http.Response](t)(http.ReadResponse(c.answers, &http.Request{Method: http.MethodOptions}))
				body, err := io.ReadAll(response.Body)
				seen[side] = fmt.Sprintf("%s, length %d, %q, %v, %s", response.Status, response.ContentLength, body, err, c.stillOpen())
			}
			if seen["direct"] != `200 OK, length 0, "", <nil>, open` {
				t.Fatalf("direct: %s: this tests nothing", seen["direct"])
			}
			if seen["proxied"] != seen["direct"] {
				t.Errorf("proxied: %s\ndirect: %s", seen["proxied"], seen["direct"])
			}
		})
	}
}

// A client that waits for 100 (Continue) must get what a server gives it: 100 where its body is
// wanted, and the final answer at once where it is not.
func TestExpectationsAreMetAsDirectly(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	const object = `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"expected-"}}`
	const objects = "/api/v1/namespaces/default/configmaps"
	tester := "Authorization: Bearer " + harness.TesterToken + "\r\n"
	for _, test := range []struct{ name, method, path, fields, body, want string }{
		{"a body that is wanted", "POST", objects, tester, object, "100 201"},
		{"in capitals", "POST", objects, tester + "Expect: 100-CONTINUE\r\n", object, "100 201"},
		{"a body of nothing", "POST", objects, tester, "", "400"},
		{"a wrong token", "POST", objects, "Authorization: Bearer nonsense\r\n", object, "401"},
		{"no right", "POST", objects, "Authorization: Bearer " + harness.ViewerToken + "\r\n", object, "403"},
		{"no such path", "POST", "/api/v9/none", tester, object, "404"},
		{"no such method", "PATCH", objects, tester, object, "405"},
		{"a GET with a body", "GET", "/version", tester, "hello", "200"},
		{"a GET without one", "GET", "/version", tester, "", "200"},
		{"among others", "POST", objects, tester + "Expect: 100-continue, x\r\n", object, "100 201"},
		{"behind a blank", "POST", objects, tester + "Expect: x 100-continue\r\n", object, "100 201"},
		{"the first of two", "POST", objects, tester + "Expect: 100-continue\r\nExpect: x\r\n", object, "100 201"},
		{"the second of two", "POST", objects, tester + "Expect: x\r\nExpect: 100-continue\r\n", object, "417"},
		{"with a parameter", "POST", objects, tester + "Expect: 100-continue;a\r\n", object, "417"},
		{"what nobody can meet", "POST", objects, tester + "Expect: 200-ok\r\n", object, "417"},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen := map[string]string{}
			for side, to := range bothSides(cluster, proxy, nil) {
				seen[side] = expect(t, to.converse(ctx, t), test.method, test.path, test.fields, test.body)
			}
			figure(t, "proxied: %s; direct: %s", seen["proxied"], seen["direct"])
			if !strings.HasPrefix(seen["direct"], test.want+" ") {
				t.Fatalf("direct: %s, expected %s: this tests nothing", seen["direct"], test.want)
			}
			if seen["proxied"] != seen["direct"] {
				t.Errorf("proxied: %s\ndirect: %s", seen["proxied"], seen["direct"])
			}
		})
	}
}

// expect sends a head, and its body once it is asked for it, and tells the statuses and whether the
// answer says that it is the last.
func expect(t *testing.T, c *conversation, method, path, fields, body string) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if !strings.Contains(fields, "Expect: ") {
		fields += "Expect: 100-continue\r\n"
	}
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n", method, path, fields, len(body))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	var said []string
	for {
		response, err := http.ReadResponse(c.answers, &http.Request{Method: method})
		if err != nil {
			return strings.Join(append(said, err.Error()), " ")
		}
		said = append(said, fmt.Sprint(response.StatusCode))
		if response.StatusCode == http.StatusContinue {
			if _, err := io.WriteString(c, body); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			said = append(said, err.Error())
		}
		if response.Close {
			return strings.Join(append(said, "last"), " ")
		}
		return strings.Join(append(said, c.stillOpen()), " ")
	}
}
