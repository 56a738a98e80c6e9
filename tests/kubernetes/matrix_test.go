// SPDX-License-Identifier: GPL-3.0-or-later
//
// Thousands of HTTP/1.1 requests that two readers could understand differently, or that claim an
// identity, byte by byte as an attacker writes them. Each is followed at once by another request on
// its connection. Recording backends tell what reached them: nothing of what is refused, and of what is served each
// request once, with its own body and its own client's identity.

package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// wireCase is one request as it is written. MARK stands for its number.
type wireCase struct {
	rule, name string
	request    string
	// reason is the rule that refuses it, as the metric names it; "" means that it is served.
	reason string
	// inBody: it is refused behind its head, which may have gone to a backend already.
	inBody bool
	method string // Of what is served; default POST.
	body   string // That a backend must get.
	field  harness.Field
	last   bool // Served, but the connection may end with it.
}

// recorded request, as a backend got it.
type ledgerEntry struct {
	method, target, body string
	whole                bool
	header               http.Header
	vouched, certificate bool
}

// ledger is what reached the backends, by marker.
type ledger struct {
	judge   *judge // For what vouches.
	mutex   sync.Mutex
	entries map[string][]ledgerEntry
	// Of upgrades: what is answered to which mark, and what came through.
	upgrades map[string]upgradeCase
	tunnels  map[string][]byte
	// onUpgrade serves upgrades in place of that.
	onUpgrade http.HandlerFunc
	// takesCertificates: it believes that the front proxy's certificate is a user's.
	takesCertificates bool
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if request.URL.Path == "/readyz" {
		_, _ = io.WriteString(w, "ok")
		return
	}
	mark := request.Header.Get("X-Mark")
	entry := ledgerEntry{
		method: request.Method, target: request.RequestURI, body: string(body), whole: err == nil, header: request.Header,
		vouched: l.judge.vouched(request), certificate: len(request.TLS.PeerCertificates) > 0,
	}
	if mark != "" {
		l.mutex.Lock()
		l.entries[mark] = append(l.entries[mark], entry)
		l.mutex.Unlock()
	}
	if request.ProtoMajor == 1 && request.Header.Get("Upgrade") != "" && l.onUpgrade != nil {
		l.onUpgrade(w, request)
		return
	}
	if request.ProtoMajor == 1 && request.Header.Get("Upgrade") != "" {
		l.serveUpgrade(w, request, mark)
		return
	}
	for name, values := range request.Trailer {
		if len(values) > 0 {
			w.Header().Set("X-Saw-Trailer", name)
		}
	}
	w.Header().Set("X-Remote-User", "answered") // Means nothing in an answer, and changes nothing.
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(request.URL.Path, "selfsubjectreviews") { // The proxy asks whom they believe.
		if user := request.Header.Get("X-Remote-User"); entry.vouched && user != "" {
			answer(w, user, nil)
			return
		}
		if entry.certificate && l.takesCertificates {
			answer(w, harness.FrontProxyName, nil)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"mark": mark})
}

func (l *ledger) of(mark string) []ledgerEntry {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Clone(l.entries[mark])
}

// matrix is what all cases share.
type matrix struct {
	ledger *ledger
	proxy  *harness.Proxy
	who    []matrixClient
	counts struct{ served, refused int }

	trust    harness.ProxyTrust
	backends []string
}

type matrixClient struct {
	name        string
	certificate *harness.Pair
	field       string // By which it proves itself.
	user        string // Of the certificate.
	groups      []string
}

func startMatrix(t *testing.T) *matrix {
	t.Helper()
	m := startRecorders(t)
	m.proxy = watchOver(t)(harness.StartProxy(sluiceBinary(t), m.trust, harness.ProxyOptions{Backends: m.backends}))
	return m
}

// startRecorders starts all but the proxy.
func startRecorders(t *testing.T) *matrix {
	t.Helper()
	servingCA := must[*harness.Authority](t)(harness.NewAuthority("serving-ca"))
	clientCA := must[*harness.Authority](t)(harness.NewAuthority("client-ca"))
	frontProxyCA := must[*harness.Authority](t)(harness.NewAuthority("front-proxy-ca"))
	m := &matrix{
		ledger: &ledger{judge: &judge{frontProxy: frontProxyCA.Pool()}, entries: map[string][]ledgerEntry{}},
		trust:  harness.ProxyTrust{ServingCA: servingCA, ClientCA: clientCA, FrontProxyCA: frontProxyCA},
	}
	for range 3 {
		pair := must[*harness.Pair](t)(servingCA.Issue(harness.Leaf{CommonName: "recorder", Serving: true, Names: []string{harness.ServerName}}))
		listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		server := &http.Server{
			Handler:   m.ledger,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair.TLS}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}},
			ErrorLog:  log.New(io.Discard, "", 0),
		}
		go func() { _ = server.ServeTLS(listener, "", "") }()
		t.Cleanup(func() { _ = server.Close() })
		m.backends = append(m.backends, listener.Addr().String())
	}
	alice := must[*harness.Pair](t)(clientCA.Issue(harness.Leaf{CommonName: "alice", Organizations: []string{"a", "b"}}))
	m.who = []matrixClient{
		{"certificate", alice, "", "alice", []string{"a", "b"}},
		{"token", nil, "Authorization: Bearer good\r\n", "", nil},
		{"certificate and token", alice, "Authorization: Bearer good\r\n", "alice", []string{"a", "b"}},
		{"nobody", nil, "", "", nil},
	}
	return m
}

// ways to cut what is written into pieces.
var cuts = []struct {
	name string
	size func(length int) int
}{
	{"whole", func(length int) int { return length }},
	{"in halves", func(length int) int { return (length + 1) / 2 }},
	{"byte by byte", func(int) int { return 1 }},
}

func TestNothingIsSmuggledOrForgedOverHTTP1(t *testing.T) {
	ctx := within(t, 8*time.Minute)
	m := startMatrix(t)
	all := wireCases()
	byRule := map[string]int{}
	started := time.Now()
	number, failed := 0, 0
	refusals := map[string]int{}
	before := m.refusals(t)
	for index, c := range all {
		for variant := range len(m.who) * len(cuts) {
			// What no byte's place can change is tried once.
			if c.rule == "S11" && variant != index%(len(m.who)*len(cuts)) {
				continue
			}
			number++
			byRule[c.rule]++
			who, cut := m.who[variant%len(m.who)], cuts[variant/len(m.who)]
			err := m.try(ctx, c, who, fmt.Sprintf("m%d", number), cut.size)
			after := m.refusals(t)
			moved := difference(before, after)
			before = after
			for _, reason := range moved {
				refusals[reason]++
			}
			if want := strings.Fields(c.reason); err == nil && !slices.Equal(moved, want) {
				err = fmt.Errorf("refused by %q, expected %q", moved, want)
			}
			if err != nil {
				failed++
				t.Errorf("%s %s by %s, %s: %v\n%.300q", c.rule, c.name, who.name, cut.name, err, c.request)
				break // Its other variants would say the same.
			}
		}
	}
	m.checkAll(t)
	total := 0
	for _, count := range byRule {
		total += count
	}
	figure(t, "%d requests in %.1f s: %d served, %d refused, %d wrong; by rule %v; refused by %v",
		total, time.Since(started).Seconds(), m.counts.served, m.counts.refused, failed, byRule, refusals)
	if total < 5000 {
		t.Errorf("%d requests are not thousands", total)
	}
}

// refusals reads how often each rule has refused.
func (m *matrix) refusals(t *testing.T) map[string]float64 {
	t.Helper()
	return must[map[string]float64](t)(m.proxy.Samples("sluice_client_http1_refused_total", "reason"))
}

// difference names what has grown, as often as it has.
func difference(before, after map[string]float64) []string {
	var moved []string
	for reason, value := range after {
		for range int(value - before[reason]) {
			moved = append(moved, reason)
		}
	}
	slices.Sort(moved)
	return moved
}

// try writes a case and another request behind it, and judges the answers and what came to the backends.
func (m *matrix) try(ctx context.Context, c wireCase, who matrixClient, mark string, size func(int) int) error {
	next := mark + "-next"
	text := strings.NewReplacer("MARK", mark, "WHO", who.field).Replace(c.request)
	text += "GET /next HTTP/1.1\r\nHost: k\r\n" + who.field + "X-Mark: " + next + "\r\n\r\n"
	config := m.proxy.TLS(who.certificate)
	config.NextProtos = []string{"http/1.1"}
	dialer := tls.Dialer{Config: config}
	connection, err := dialer.DialContext(ctx, "tcp", m.proxy.Address)
	if err != nil {
		return err
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		// The proxy may end the connection before it has read all of it.
		for rest := []byte(text); len(rest) > 0; {
			n := min(size(len(text)), len(rest))
			if _, err := connection.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
	}()
	answers := bufio.NewReader(connection)
	if c.reason != "" {
		m.counts.refused++
		return m.judgeRefusal(c, mark, next, answers)
	}
	m.counts.served++
	return m.judgeService(c, who, mark, next, answers)
}

// readAnswer passes over 100 (Continue): a backend says so where the body is slow to come.
func readAnswer(answers *bufio.Reader, method string) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(answers, &http.Request{Method: method})
		if err != nil || response.StatusCode != http.StatusContinue {
			return response, err
		}
	}
}

func (m *matrix) judgeRefusal(c wireCase, mark, next string, answers *bufio.Reader) error {
	method, _, _ := strings.Cut(c.request, " ")
	response, err := readAnswer(answers, method)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode < 400 || response.StatusCode > 505 || !response.Close {
		return fmt.Errorf("%s, closes: %v, %s, %v", response.Status, response.Close, body, err)
	}
	if method != http.MethodHead && !bytes.Contains(body, []byte(`"kind":"Status"`)) {
		return fmt.Errorf("the refusal is no Status: %s", body)
	}
	if rest, err := io.ReadAll(answers); len(rest) > 0 || err != nil {
		return fmt.Errorf("behind the refusal: %q, %v", rest, err)
	}
	seen := m.ledger.of(mark)
	for _, entry := range seen {
		if entry.whole || !c.inBody {
			return fmt.Errorf("it came to a backend: %+v", entry)
		}
	}
	if len(seen) > 1 || len(m.ledger.of(next)) > 0 {
		return errors.New("what is behind it came to a backend")
	}
	return nil
}

func (m *matrix) judgeService(c wireCase, who matrixClient, mark, next string, answers *bufio.Reader) error {
	method := c.method
	if method == "" {
		method = http.MethodPost
	}
	for _, expected := range []string{mark, next} {
		if expected == next {
			method = http.MethodGet
		}
		response, err := readAnswer(answers, method)
		if err != nil && expected == next && c.last {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answer to %s: %w", expected, err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK || method != http.MethodHead && !bytes.Contains(body, []byte(`"`+expected+`"`)) {
			return fmt.Errorf("answer to %s: %s %s, %v", expected, response.Status, body, err)
		}
		if response.Header.Get("X-Remote-User") != "answered" {
			return fmt.Errorf("the answer's fields are %v", response.Header)
		}
		if trailer := response.Header.Get("X-Saw-Trailer"); trailer != "" {
			return fmt.Errorf("the trailer %s came to a backend", trailer)
		}
		seen := m.ledger.of(expected)
		if len(seen) != 1 {
			return fmt.Errorf("%s came %d times to a backend", expected, len(seen))
		}
		want := c
		if expected == next {
			want = wireCase{}
		}
		if err := judgeEntry(seen[0], want, who, method); err != nil {
			return fmt.Errorf("%s: %w", expected, err)
		}
	}
	return nil
}

// judgeEntry compares what a backend got with what the client meant.
func judgeEntry(entry ledgerEntry, want wireCase, who matrixClient, method string) error {
	if entry.method != method || entry.body != want.body || !entry.whole {
		return fmt.Errorf("it arrived as %s with the body %q, whole: %v, expected %s and %q", entry.method, entry.body, entry.whole, method, want.body)
	}
	fields := identityFields(entry.header)
	switch {
	case who.certificate != nil:
		delete(fields, "X-Remote-Extra-Authentication.kubernetes.io%2fcredential-Id")
		user, groups := fields["X-Remote-User"], fields["X-Remote-Group"]
		if !entry.vouched || !slices.Equal(user, []string{who.user}) || !slices.Equal(groups, who.groups) || len(fields) != 2 || entry.header.Get("Authorization") != "" {
			return fmt.Errorf("arrived as %v, vouched %v, authorization %q", fields, entry.vouched, entry.header["Authorization"])
		}
	case len(fields) > 0 || entry.certificate:
		return fmt.Errorf("arrived with %v, on a connection with a certificate: %v", fields, entry.certificate)
	case who.field != "" && !slices.Equal(entry.header["Authorization"], []string{"Bearer good"}):
		return fmt.Errorf("arrived with the tokens %q", entry.header["Authorization"])
	case who.field == "" && len(entry.header["Authorization"]) > 0:
		return fmt.Errorf("arrived with a token: %q", entry.header["Authorization"])
	}
	if from := entry.header["X-Forwarded-For"]; !slices.Equal(from, []string{"127.0.0.1"}) || entry.header.Get("Forwarded")+entry.header.Get("X-Real-Ip") != "" {
		return fmt.Errorf("arrived as from %q, forwarded %q, real %q", from, entry.header["Forwarded"], entry.header["X-Real-Ip"])
	}
	if want.field.Name == "" {
		return nil
	}
	for name, values := range entry.header {
		if strings.EqualFold(name, want.field.Name) && slices.Equal(values, []string{want.field.Value}) {
			return nil
		}
	}
	return fmt.Errorf("the field %+q did not arrive: %q", want.field, entry.header)
}

// checkAll looks for what came late, twice, or under a mark that nobody wrote.
func (m *matrix) checkAll(t *testing.T) {
	t.Helper()
	m.ledger.mutex.Lock()
	defer m.ledger.mutex.Unlock()
	for mark, entries := range m.ledger.entries {
		if len(entries) > 1 {
			t.Errorf("%s came %d times: %+v", mark, len(entries), entries)
		}
		if strings.Contains(mark, "smuggled") {
			t.Errorf("%s came to a backend: %+v", mark, entries)
		}
	}
}
