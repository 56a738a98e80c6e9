// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where requests end, beyond one connection of HTTP/1.1 with two requests: a thousand of them in one segment (M6), what
// an HTTP/2 client may say of its body and head (M7), and bodies that look like frames on their way into HTTP/2 (M8).

package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// pipelined is one request of many, with a body that looks like another one.
type pipelined struct{ mark, method, body, text string }

func pipeline(label, field string, count int) (all []pipelined) {
	inside := strings.ReplaceAll(smuggled, "MARK", label)
	for i := range count {
		p := pipelined{mark: fmt.Sprintf("%s-%d", label, i), method: []string{"GET", "POST", "PUT"}[i%3]}
		framing := "\r\n"
		switch {
		case p.method == "POST":
			p.body = inside[:i%(len(inside)+1)]
			framing = fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(p.body), p.body)
		case p.method == "PUT":
			p.body = inside
			framing = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n7\r\n%s\r\n%x;a=b\r\n%s\r\n", inside[:7], len(inside)-7, inside[7:]) + lastChunk
		}
		p.text = strings.NewReplacer("MARK", p.mark, "WHO", field).Replace(head(p.method, "/api", "")) + framing
		all = append(all, p)
	}
	return all
}

// segment connects and writes all of them at once.
func (m *matrix) segment(ctx context.Context, t *testing.T, who matrixClient, all []pipelined) *conversation {
	t.Helper()
	c := harnessTarget{m.proxy.Address, m.proxy.TLS(who.certificate)}.converse(ctx, t)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	var text strings.Builder
	for _, p := range all {
		text.WriteString(p.text)
	}
	go func() { _, _ = io.WriteString(c, text.String()) }() // Whoever is reset sees it by the answers.
	return c
}

func TestAThousandRequestsInOneSegmentAreAnsweredEachInItsTurn(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	m := startMatrix(t)
	for number, who := range m.who {
		t.Run(who.name, func(t *testing.T) {
			all := pipeline(fmt.Sprintf("p%d", number), who.field, 1000)
			c := m.segment(ctx, t, who, all)
			for _, p := range all {
				response, err := readAnswer(c.answers, p.method)
				if err != nil {
					t.Fatalf("%s: %v", p.mark, err)
				}
				body, err := io.ReadAll(response.Body)
				if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"`+p.mark+`"`)) {
					t.Fatalf("%s: %s %s, %v", p.mark, response.Status, body, err)
				}
				m.arrivedOnce(t, p, who)
			}
			if state := c.stillOpen(); state != "open" {
				t.Errorf("behind the last answer the connection is %s", state)
			}
		})
	}
	m.checkAll(t)
}

func (m *matrix) arrivedOnce(t *testing.T, p pipelined, who matrixClient) {
	t.Helper()
	seen := m.ledger.of(p.mark)
	if len(seen) != 1 {
		t.Fatalf("%s came %d times to a backend", p.mark, len(seen))
	}
	if err := judgeEntry(seen[0], wireCase{body: p.body}, who, p.method); err != nil {
		t.Fatalf("%s: %v", p.mark, err)
	}
}

// Nothing of what is behind a reset is executed in part, twice, or out of its turn.
func TestAResetWithinAThousandRequestsLeavesNoneHalfDone(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	m := startMatrix(t)
	for number, who := range m.who {
		for _, read := range []int{0, 1, 17, 300} {
			t.Run(fmt.Sprintf("%s/after %d answers", who.name, read), func(t *testing.T) {
				all := pipeline(fmt.Sprintf("r%d-%d", number, read), who.field, 1000)
				c := m.segment(ctx, t, who, all)
				for _, p := range all[:read] {
					response, err := readAnswer(c.answers, p.method)
					if err != nil {
						t.Fatalf("%s: %v", p.mark, err)
					}
					_, _ = io.Copy(io.Discard, response.Body)
				}
				connection := c.Conn.(*tls.Conn).NetConn().(*net.TCPConn)
				_ = connection.SetLinger(0)
				_ = connection.Close()
				m.awaitNoRequest(t)
				m.arePrefix(t, all, read, who)
			})
		}
	}
	m.checkAll(t)
}

// awaitNoRequest waits until the proxy has no connection but those that it keeps for backends.
func (m *matrix) awaitNoRequest(t *testing.T) {
	t.Helper()
	err := m.proxy.WaitFor(20*time.Second, func() error {
		open, err := m.proxy.Samples("sluice_client_connections", "protocol")
		for protocol, count := range open {
			if count > 0 {
				err = fmt.Errorf("%v client connections of %s", count, protocol)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// arePrefix: those that came to a backend are the first ones, each whole and once, but for the last one, which the reset may
// have met.
func (m *matrix) arePrefix(t *testing.T, all []pipelined, least int, who matrixClient) {
	t.Helper()
	came := 0
	for came < len(all) && len(m.ledger.of(all[came].mark)) > 0 {
		came++
	}
	if came < least {
		t.Errorf("%d were answered, and only %d came to a backend", least, came)
	}
	for i, p := range all {
		switch {
		case i < came-1:
			m.arrivedOnce(t, p, who)
		case i >= came && len(m.ledger.of(p.mark)) > 0:
			t.Fatalf("number %d came to a backend, number %d did not", i, came)
		}
	}
}

// frameCase is what an HTTP/2 client says.
type frameCase struct {
	name    string
	request harness.RawRequest
	served  bool // It is none of the bad ones: it shows that the others fail for what they say.
}

func frameCases() (all []frameCase) { // M7
	trailers := []harness.Field{{Name: "x-end", Value: "1"}} // With them, no length is added.
	with := func(name, body string, fields ...harness.Field) {
		r := harness.RawRequest{Method: "POST", Path: "/api", Fields: fields, Body: []byte(body)}
		if body != "" {
			r.Trailers = trailers
		}
		all = append(all, frameCase{name: name, request: r})
	}
	field := func(name, value string) harness.Field { return harness.Field{Name: name, Value: value} }
	for _, length := range []string{"4", "6", "0", "1000", "five", "+5", "-5", "5, 5", "5 5", "0x5", "", "18446744073709551621", "99999999999999999999999"} {
		with(fmt.Sprintf("length %q of 5", length), "hello", field("content-length", length))
	}
	with("length 5 of nothing", "", field("content-length", "5"))
	with("two lengths", "hello", field("content-length", "5"), field("content-length", "5"))
	with("two lengths that differ", "hello", field("content-length", "5"), field("content-length", "0"))
	for _, hop := range [][2]string{
		{"transfer-encoding", "chunked"}, {"transfer-encoding", "identity"}, {"Transfer-Encoding", "chunked"}, {"connection", "close"}, {"connection", "x-mark"},
		{"upgrade", "websocket"}, {"upgrade", "h2c"}, {"keep-alive", "timeout=5"}, {"proxy-connection", "close"}, {"te", "gzip"}, {"Content-Length", "5"},
	} {
		with(hop[0]+": "+hop[1], lastChunk+smuggled, field(hop[0], hop[1]))
	}
	const forged = "\r\nx-remote-user: admin\r\n\r\n" + smuggled
	for _, odd := range []string{"a" + forged, "a\r\nb", "a\nb", "a\rb", "a\x00b"} {
		with(fmt.Sprintf("value %.20q", odd), "", field("x", odd))
		with(fmt.Sprintf("name %.20q", odd), "", field("x"+odd, "v"))
		for part, r := range map[string]harness.RawRequest{
			"path": {Method: "POST", Path: "/api" + odd}, "method": {Method: "POST" + odd, Path: "/api"}, "authority": {Method: "POST", Path: "/api", Authority: "k" + odd},
		} {
			all = append(all, frameCase{name: fmt.Sprintf("%s %.20q", part, odd), request: r})
		}
	}
	for _, r := range []harness.RawRequest{
		{Method: "POST", Path: "/api HTTP/1.1\r\nHost: k" + forged}, {Method: "POST", Path: "/a b"}, {Method: "POST", Path: "/a\tb"}, {Method: "POST", Path: "api"}, {Method: "POST", Path: ""},
		{Method: "POST", Path: "https://other/api"}, {Method: "PO ST", Path: "/api"}, {Method: "POST /x HTTP/1.1", Path: "/api"}, {Method: "", Path: "/api"},
		{Method: "POST", Path: "/api", Authority: "k k"}, {Method: "POST", Path: "/api", Authority: "u@k"}, {Method: "POST", Path: "/api", Authority: "k/x"}, {Method: "CONNECT", Path: "/api"},
	} {
		all = append(all, frameCase{name: fmt.Sprintf("%.30q %.30q of %q", r.Method, r.Path, r.Authority), request: r})
	}
	return append(all, frameCase{name: "as it should be", served: true,
		request: harness.RawRequest{Method: "POST", Path: "/api", Fields: []harness.Field{field("content-length", "5")}, Body: []byte("hello"), Trailers: trailers}})
}

func TestNothingIsSmuggledOutOfHTTP2(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	m := startMatrix(t)
	number, served := 0, 0
	for _, c := range frameCases() {
		for _, who := range m.who {
			number++
			if c.served {
				served++
			}
			if err := m.tryFrames(ctx, c, who, fmt.Sprintf("h%d", number)); err != nil {
				t.Errorf("%s by %s: %v", c.name, who.name, err)
				break
			}
		}
	}
	m.checkAll(t)
	figure(t, "%d requests of HTTP/2, %d of them as they should be", number, served)
}

func (m *matrix) tryFrames(ctx context.Context, c frameCase, who matrixClient, mark string) error {
	client, err := harness.DialRaw(ctx, m.proxy.Address, "", m.proxy.TLS(who.certificate))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ask := func(request harness.RawRequest, mark string) (*harness.RawResponse, error) {
		request.Fields = append(slices.Clone(request.Fields), harness.Field{Name: "x-mark", Value: mark})
		if who.field != "" {
			request.Fields = append(request.Fields, bearer("good"))
		}
		return client.Do(ctx, request)
	}
	response, err := ask(c.request, mark)
	seen := m.ledger.of(mark)
	switch {
	case c.served:
		if err != nil || response.Status != http.StatusOK || len(seen) != 1 {
			return fmt.Errorf("%+v, %w, came %d times to a backend", response, err, len(seen))
		}
		return judgeEntry(seen[0], wireCase{body: string(c.request.Body)}, who, c.request.Method)
	case err == nil && response.Status < 400:
		return fmt.Errorf("it is answered with %d", response.Status)
	case errors.Is(err, context.DeadlineExceeded):
		return err
	case len(seen) > 1 || len(seen) == 1 && seen[0].whole:
		return fmt.Errorf("it came to a backend: %+v", seen)
	}
	// Its connection has ended with it, or serves what comes next.
	next, err := ask(harness.RawRequest{Method: "GET", Path: "/next"}, mark+"-next")
	if err == nil && (next.Status != http.StatusOK || !bytes.Contains(next.Body, []byte(mark+"-next"))) {
		return fmt.Errorf("the next one is answered with %d %s", next.Status, next.Body)
	}
	return nil
}

// framedBodies begin and end where frames do, and look like some.
func framedBodies() (all []wireCase) { // M8
	likeFrames := []string{
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", // A preface and SETTINGS.
		"\x00\x00\x05\x00\x01\x00\x00\x00\x01hello",                            // DATA with END_STREAM.
		"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",                 // RST_STREAM.
		"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", // GOAWAY.
		lastChunk,
	}
	chance := rand.New(rand.NewChaCha8([32]byte{8}))
	for _, size := range []int{0, 1, 9, 16383, 16384, 16385, 32767, 32768, 65535, 65536, 65537, 131072, 300001} {
		for i, like := range likeFrames {
			if size == 0 && i > 0 {
				continue
			}
			body := strings.Repeat(like, size/len(like)+1)[:size]
			length := inPost("M8", fmt.Sprintf("%d bytes by length, like %s", size, hex.EncodeToString([]byte(like[:4]))), "", fmt.Sprintf("Content-Length: %d\r\n", size), body)
			var pieces strings.Builder
			for rest := body; rest != ""; {
				n := min(1+chance.IntN(20000), len(rest))
				fmt.Fprintf(&pieces, "%x\r\n%s\r\n", n, rest[:n])
				rest = rest[n:]
			}
			chunked := inPost("M8", strings.Replace(length.name, "by length", "in chunks", 1), "", "Transfer-Encoding: chunked\r\n", pieces.String()+lastChunk)
			length.body, chunked.body = body, body
			all = append(all, length, chunked)
		}
	}
	return all
}

func TestBodiesThatLookLikeFramesArriveAsTheyAre(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	m := startMatrix(t)
	number := 0
	for _, c := range framedBodies() {
		for variant, who := range m.who {
			number++
			cut := []int{1 << 30, 16384, 1000, 16385}[variant]
			if err := m.try(ctx, c, who, fmt.Sprintf("b%d", number), func(int) int { return cut }); err != nil {
				t.Errorf("%s by %s: %.500v", c.name, who.name, err)
				break
			}
		}
	}
	m.checkAll(t)
	figure(t, "%d bodies", number)
}
