// SPDX-License-Identifier: GPL-3.0-or-later
//
// Upgrades as an attacker writes them (M11 to M15): with bytes behind them that look like requests, and to backends
// that answer late, with a refusal, or with what two readers could end at different places. A backend's connection
// must see one request, and bytes only behind its 101; a client, one answer.

package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// upgradeCase is an upgrade and what a backend says to it.
type upgradeCase struct {
	rule, name string
	fields     string // Of the request; "" is a WebSocket's.
	answer     string // Of the backend, byte by byte.
	late       bool   // It comes when the client has long written all.
	status     []int  // That the client may get.
	body       string // Of that answer, where it is relayed.
	cut        bool   // The body must not look whole.
	plain      bool   // It is no upgrade, and comes to a backend as an ordinary request.
	refused    string // By which rule.
}

// behindUpgrade is what an attacker writes at once behind the request: 10 KB of further requests.
var behindUpgrade = strings.Repeat("GET /api/v1/secrets HTTP/1.1\r\nHost: k\r\nX-Mark: MARK-smuggled\r\nX-Remote-User: admin\r\n\r\n", 110)

const (
	switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: TOKEN\r\n\r\n"
	second    = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSMUGGLED"
)

func upgradeCases() (all []upgradeCase) {
	// M11, M12: what a backend may answer to an upgrade that it does not make.
	for status, text := range map[int]string{400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 200: "OK", 500: "Internal Server Error", 503: "Service Unavailable"} {
		answer := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", status, text)
		chunked := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status, text)
		all = append(all, upgradeCase{rule: "M11", name: fmt.Sprint(status), answer: answer, status: []int{status}, body: "hello"},
			upgradeCase{rule: "M11", name: fmt.Sprint(status, " chunked"), answer: chunked, status: []int{status}, body: "hello"},
			upgradeCase{rule: "M12", name: fmt.Sprint("late ", status), answer: answer, late: true, status: []int{status}, body: "hello"})
	}
	all = append(all,
		upgradeCase{rule: "M12", name: "101", answer: switching, status: []int{101}},
		upgradeCase{rule: "M12", name: "late 101", answer: switching, late: true, status: []int{101}},
		upgradeCase{rule: "M12", name: "no answer", status: []int{502}},
		upgradeCase{rule: "M12", name: "late, no answer", late: true, status: []int{502}})
	all = append(all, upgradeCase{rule: "S18", name: "fields of the hop", status: []int{403}, body: "hello",
		answer: "HTTP/1.1 403 Forbidden\r\nConnection: X-Drop\r\nX-Drop: 1\r\nKeep-Alive: timeout=5\r\nX-Remote-User: answered\r\nContent-Length: 5\r\n\r\nhello"})
	// M13: what is an upgrade, and what is none.
	for name, fields := range map[string]string{
		"two tokens":             "Connection: Upgrade\r\nUpgrade: a, websocket\r\n",
		"two fields":             "Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: websocket\r\n",
		"no Connection":          "Upgrade: websocket\r\n",
		"another in Connection":  "Connection: keep-alive\r\nUpgrade: websocket\r\n",
		"no token":               "Connection: Upgrade\r\n",
		"a token that is a list": "Connection: Upgrade\r\nUpgrade: ,websocket\r\n",
	} {
		all = append(all, upgradeCase{rule: "M13", name: name, fields: fields, plain: true})
	}
	all = append(all, upgradeCase{rule: "M13", name: "chunked body", fields: "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", status: []int{400}, refused: "any"})
	for _, token := range []string{"SPDY/3.1", "x", "WebSocket", "tls/1.0"} {
		all = append(all, upgradeCase{rule: "M13", name: token, fields: "Connection: keep-alive, upgrade\r\nUpgrade: " + token + "\r\n", answer: switching, status: []int{101}})
	}
	return append(all, oddAnswers()...)
}

// oddAnswers are those in which two readers find different ends.
func oddAnswers() []upgradeCase { // M15
	odd := func(name, answer string, status ...int) upgradeCase {
		return upgradeCase{rule: "M15", name: name, answer: answer, status: status}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	cut := odd("a body that is cut", ok+"Content-Length: 100\r\n\r\nhello", 200)
	cut.cut = true
	cutChunk := odd("a chunk that is cut", ok+"Transfer-Encoding: chunked\r\n\r\n64\r\nhello", 200)
	cutChunk.cut = true
	behind := odd("bytes behind the end", ok+"Content-Length: 5\r\n\r\nhello"+second, 200)
	behind.body = "hello"
	behindChunks := odd("bytes behind the last chunk", ok+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"+second, 200)
	behindChunks.body = "hello"
	return []upgradeCase{
		odd("length and coding", ok+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+second, 502),
		odd("coding and length", ok+"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"+second, 502),
		odd("two lengths", ok+"Content-Length: 0\r\nContent-Length: 46\r\n\r\n"+second, 502),
		odd("a list of lengths", ok+"Content-Length: 5, 5\r\n\r\nhello"+second, 502),
		odd("a signed length", ok+"Content-Length: +5\r\n\r\nhello"+second, 502),
		odd("an odd coding", ok+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"+second, 502),
		odd("a fold", ok+"X: a\r\n Content-Length: 5\r\n\r\nhello"+second, 502),
		odd("a bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"+second, 502),
		odd("a NUL", ok+"X: a\x00b\r\nContent-Length: 0\r\n\r\n"+second, 502),
		odd("rubbish", "SSH-2.0-server\r\n\r\n"+second, 502),
		odd("another version", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"+second, 502),
		odd("a storm of 1xx", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 200)+second, 502),
		odd("a head without an end", ok+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 2000), 502),
		odd("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 46\r\n\r\n"+second, 204, 502),
		odd("304 with a body", "HTTP/1.1 304 Not Modified\r\n\r\n"+second, 304, 502),
		odd("101 without a token", "HTTP/1.1 101 Switching Protocols\r\n\r\n"+second, 502),
		odd("101 to another protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"+second, 502),
		cut, cutChunk, behind, behindChunks,
	}
}

// serveUpgrade takes the connection, says what the case wants, and notes all that comes behind the request.
func (l *ledger) serveUpgrade(w http.ResponseWriter, request *http.Request, mark string) {
	l.mutex.Lock()
	c := l.upgrades[mark]
	l.mutex.Unlock()
	connection, reader, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	note := func(what string, content []byte) {
		l.mutex.Lock()
		defer l.mutex.Unlock()
		l.tunnels[mark+what] = append(l.tunnels[mark+what], content...)
	}
	if c.late {
		time.Sleep(50 * time.Millisecond)
		_ = connection.SetReadDeadline(time.Now().Add(time.Millisecond))
		early, _ := io.ReadAll(reader)
		note(" early", early)
	}
	_ = connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(connection, strings.ReplaceAll(c.answer, "TOKEN", request.Header.Get("Upgrade"))); err != nil || c.answer == "" {
		return
	}
	if slices.Contains(c.status, http.StatusSwitchingProtocols) {
		content, _ := io.ReadAll(reader)
		note("", content)
		_, _ = connection.Write([]byte("END"))
		return
	}
	if c.cut || c.rule == "M15" {
		return // Behind what is odd, the connection ends.
	}
	content, _ := io.ReadAll(reader) // Until the proxy ends the connection, as it must.
	note(" behind", content)
}

func TestNothingIsSmuggledThroughAnUpgrade(t *testing.T) {
	ctx := within(t, 8*time.Minute)
	m := startMatrix(t)
	m.ledger.upgrades, m.ledger.tunnels = map[string]upgradeCase{}, map[string][]byte{}
	started := time.Now()
	number, failed := 0, 0
	for _, c := range upgradeCases() {
		for variant := range len(m.who) * len(cuts) * 2 {
			number++
			who, cut, method := m.who[variant%len(m.who)], cuts[variant/len(m.who)%len(cuts)], []string{"GET", "POST"}[variant/len(m.who)/len(cuts)]
			if err := m.tryUpgrade(ctx, c, who, method, fmt.Sprintf("u%d", number), cut.size); err != nil {
				failed++
				t.Errorf("%s %s, %s by %s, %s: %v", c.rule, c.name, method, who.name, cut.name, err)
				break // Its other variants would say the same.
			}
		}
	}
	m.checkAll(t)
	figure(t, "%d upgrades in %.1f s: %d wrong", number, time.Since(started).Seconds(), failed)
	if number < 1000 {
		t.Errorf("%d upgrades are too few", number)
	}
}

// tryUpgrade writes an upgrade with requests behind it, and judges what came of it.
func (m *matrix) tryUpgrade(ctx context.Context, c upgradeCase, who matrixClient, method, mark string, size func(int) int) error {
	m.ledger.mutex.Lock()
	m.ledger.upgrades[mark] = c
	m.ledger.mutex.Unlock()
	fields := c.fields
	if fields == "" {
		fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	}
	behind := strings.ReplaceAll(behindUpgrade, "MARK", mark)
	upgrade := strings.NewReplacer("MARK", mark, "WHO", who.field).Replace(head(method, "/upgrade", fields)) + "\r\n"
	if c.refused != "" {
		upgrade += lastChunk
	}
	if c.plain {
		behind = "" // What is behind an ordinary request is the next one.
	}
	config := m.proxy.TLS(who.certificate)
	config.NextProtos = []string{"http/1.1"}
	dialer := tls.Dialer{Config: config}
	raw, err := dialer.DialContext(ctx, "tcp", m.proxy.Address)
	if err != nil {
		return err
	}
	connection := raw.(*tls.Conn)
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(15 * time.Second))
	go func() {
		for rest := []byte(upgrade); len(rest) > 0; {
			n := min(size(len(upgrade)), len(rest))
			last := n == len(rest)
			part := rest[:n:n]
			if last { // The end of the head and what is behind it are one record.
				part = append(part, behind...)
			}
			if _, err := connection.Write(part); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	return m.judgeUpgrade(c, who, method, mark, behind, connection)
}

func (m *matrix) judgeUpgrade(c upgradeCase, who matrixClient, method, mark, behind string, connection *tls.Conn) error {
	answers := bufio.NewReader(connection)
	response, err := http.ReadResponse(answers, &http.Request{Method: method})
	for err == nil && response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
		response, err = http.ReadResponse(answers, &http.Request{Method: method})
	}
	if c.cut && errors.Is(err, io.ErrUnexpectedEOF) {
		return nil // Nothing came, and that does not look whole either.
	}
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	seen := m.ledger.of(mark)
	if c.plain {
		if len(seen) != 1 || seen[0].header.Get("Upgrade")+seen[0].header.Get("Connection") != "" || response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s, and it came %d times to a backend: %+v", response.Status, len(seen), seen)
		}
		return judgeEntry(seen[0], wireCase{}, who, method)
	}
	if who.certificate != nil && c.status[0] == http.StatusUnauthorized {
		// Where we vouch, it is our own mistake, and the client is told so.
		c.status, c.body = []int{http.StatusServiceUnavailable}, ""
	}
	if !slices.Contains(c.status, response.StatusCode) {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s %.300s, expected one of %v", response.Status, body, c.status)
	}
	if c.refused != "" {
		if len(seen) > 0 {
			return fmt.Errorf("it came to a backend: %+v", seen)
		}
		return nil
	}
	if len(seen) != 1 {
		return fmt.Errorf("it came %d times to a backend", len(seen))
	}
	if err := judgeEntry(seen[0], wireCase{}, who, method); err != nil {
		return err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		// Only now: who ends before the answer is gone, as at a server.
		if err := connection.CloseWrite(); err != nil {
			return err
		}
		return m.judgeTunnel(mark, behind, answers)
	}
	return m.judgeNoTunnel(c, mark, response, answers)
}

func (m *matrix) judgeTunnel(mark, behind string, answers *bufio.Reader) error {
	rest, err := io.ReadAll(answers)
	if err != nil || string(rest) != "END" {
		return fmt.Errorf("through the tunnel came %.100q, %w", rest, err)
	}
	m.ledger.mutex.Lock()
	defer m.ledger.mutex.Unlock()
	if early := m.ledger.tunnels[mark+" early"]; len(early) > 0 {
		return fmt.Errorf("before its 101 the backend got %.100q", early)
	}
	if got := m.ledger.tunnels[mark]; string(got) != behind {
		return fmt.Errorf("the backend got %d bytes, expected %d", len(got), len(behind))
	}
	return nil
}

func (m *matrix) judgeNoTunnel(c upgradeCase, mark string, response *http.Response, answers *bufio.Reader) error {
	body, err := io.ReadAll(response.Body)
	rest, restErr := io.ReadAll(answers)
	switch {
	case bytes.Contains(body, []byte("SMUGGLED")) || len(rest) > 0:
		return fmt.Errorf("behind the answer came %.100q, in it %.100q", rest, body)
	case c.cut:
		if err == nil {
			return fmt.Errorf("a body that was cut looks whole: %q", body)
		}
		return nil
	case err != nil || restErr != nil && !errors.Is(restErr, io.EOF):
		return fmt.Errorf("%s: %w, %w", response.Status, err, restErr)
	case c.body != "" && response.StatusCode == c.status[0] && string(body) != c.body:
		return fmt.Errorf("the body is %q, expected %q", body, c.body)
	case c.rule == "S18" && (response.Header.Get("X-Drop")+response.Header.Get("Keep-Alive") != "" || response.Header.Get("X-Remote-User") != "answered"):
		return fmt.Errorf("the answer's fields are %v", response.Header)
	case !response.Close:
		return errors.New("the answer does not say that it is the last")
	}
	m.ledger.mutex.Lock()
	defer m.ledger.mutex.Unlock()
	for _, what := range []string{" early", " behind"} {
		if got := m.ledger.tunnels[mark+what]; len(got) > 0 {
			return fmt.Errorf("the backend got%s its answer %.100q", what, got)
		}
	}
	return nil
}
