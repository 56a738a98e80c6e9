// SPDX-License-Identifier: GPL-3.0-or-later
//
// Conformance to HTTP/2 as h2spec sees it: its clients against the proxy, and the proxy against its
// servers. h2spec was written for RFC 7540; where RFC 9113 asks for less, or where what the proxy
// does instead is allowed, the case is waived here with the reason. A waived case that passes is an
// error, too: the waiver is to go then.

package kubernetes

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/summerwind/h2spec/client"
	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	h2spec "github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	"golang.org/x/net/http2"

	"sluice/tests/kubernetes/harness"
)

const (
	// RFC 9113 section 5.1, "closed": frames MAY be treated as an error, and have to be ignored
	// where they may have crossed our RST_STREAM.
	closedStreams = "frames on a closed stream may be ignored (RFC 9113 section 5.1)"
	// The codec keeps no record of closed streams: it cannot tell an id that was skipped, and so
	// closed, from one that ended. Such heads are ignored and counted against a budget.
	skippedStreams = "a head on a skipped stream is ignored as on any closed one (RFC 9113 section 5.1)"
	// RFC 9113 section 6.1 wants a stream error, which nobody could tell from one that crossed the
	// end of the stream: such DATA is counted and dropped.
	unknownStreams = "without a record of closed streams DATA on one of them is dropped (RFC 9113 section 5.1)"
	noPriorities   = "stream dependencies no longer exist (RFC 9113 section 5.3.2)"
	// RFC 9113 section 5.4.1.
	connectionError = "a stream error may be treated as a connection error (RFC 9113 section 5.4.1)"
)

// How long the backend takes to answer.
const conformanceLatency = 500 * time.Millisecond

// waivedForClients are cases in which the proxy is the server.
var waivedForClients = map[string]string{
	"http2/5.1/8":   closedStreams,
	"http2/5.1/9":   closedStreams,
	"http2/5.1/11":  closedStreams,
	"http2/5.1/12":  closedStreams,
	"http2/5.1.1/2": skippedStreams,
	"http2/5.3.1/2": noPriorities,
	"http2/6.9.1/3": connectionError,
}

// waivedForBackends are cases in which the proxy is the client.
var waivedForBackends = map[string]string{
	"client/5.1/5":   closedStreams,
	"client/5.1/6":   closedStreams,
	"client/5.1/8":   closedStreams,
	"client/5.1/9":   closedStreams,
	"client/6.1/2":   unknownStreams,
	"client/6.9.1/2": connectionError,
}

func TestH2specAsAServer(t *testing.T) {
	proxy, _ := conformanceProxy(t)
	host, port, err := net.SplitHostPort(proxy.Address)
	if err != nil {
		t.Fatal(err)
	}
	c := conformanceConfig()
	c.Host, c.Path = host, "/version"
	c.Port = must[int](t)(strconv.Atoi(port))
	var passed, waived atomic.Int64
	t.Run("cases", func(t *testing.T) {
		for _, root := range []*spec.TestGroup{generic.Spec(), h2spec.Spec(), hpack.Spec()} {
			eachServerCase(root, func(id string, tc *spec.TestCase) {
				t.Run(id, func(t *testing.T) {
					t.Parallel()
					conn, err := spec.Dial(c)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					judgeCase(t, waivedForClients[id], tc.Desc, tc.Requirement, tc.Run(c, conn), &passed, &waived)
				})
			})
		}
	})
	figure(t, "%d cases passed, %d are waived", passed.Load(), waived.Load())
	if passed.Load() < 100 && !t.Failed() {
		t.Errorf("only %d cases ran", passed.Load())
	}
	expectServing(t, proxy)
}

// Each case gets the first connection that is opened for a request, and with it a proxy of its own:
// what is broken here counts against a backend.
func TestH2specAsAClient(t *testing.T) {
	c := conformanceConfig()
	var passed, waived atomic.Int64
	t.Run("cases", func(t *testing.T) {
		eachClientCase(client.Spec(), func(id string, tc *spec.ClientTestCase) {
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				proxy, backend := conformanceProxy(t)
				result := make(chan error, 1)
				run := func(connection net.Conn) {
					conn, err := spec.Accept(c, connection)
					if err == nil {
						err = tc.Run(c, conn)
						_ = conn.Close()
					}
					result <- err
				}
				backend.next.Store(&run)
				// What becomes of this request is the case's business.
				go func() { _, _ = askVersion(proxy) }()
				select {
				case err := <-result:
					judgeCase(t, waivedForBackends[id], tc.Desc, tc.Requirement, err, &passed, &waived)
				case <-time.After(30 * time.Second):
					t.Fatal("the proxy opened no connection")
				}
				expectServing(t, proxy)
			})
		})
	})
	figure(t, "%d cases passed, %d are waived", passed.Load(), waived.Load())
	if passed.Load() < 40 && !t.Failed() {
		t.Errorf("only %d cases ran", passed.Load())
	}
}

func conformanceConfig() *config.Config {
	return &config.Config{Timeout: 3 * time.Second, MaxHeaderLen: 4000, Strict: true, TLS: true, Insecure: true}
}

func eachServerCase(group *spec.TestGroup, visit func(id string, tc *spec.TestCase)) {
	for i, tc := range append(append([]*spec.TestCase{}, group.Tests...), group.StrictTests...) {
		visit(fmt.Sprintf("%s/%d", group.ID(), i+1), tc)
	}
	for _, child := range group.Groups {
		eachServerCase(child, visit)
	}
}

func eachClientCase(group *spec.ClientTestGroup, visit func(id string, tc *spec.ClientTestCase)) {
	for i, tc := range group.Tests {
		visit(fmt.Sprintf("%s/%d", group.ID(), i+1), tc)
	}
	for _, child := range group.Groups {
		eachClientCase(child, visit)
	}
}

func judgeCase(t *testing.T, waiver, what, requirement string, err error, passed, waived *atomic.Int64) {
	t.Helper()
	switch failure, _ := err.(*spec.TestError); {
	case err == nil && waiver != "":
		t.Errorf("%s: passes, but is waived: %s", what, waiver)
	case err == nil:
		passed.Add(1)
	case waiver != "":
		waived.Add(1)
		t.Logf("%s: waived: %s", what, waiver)
	case failure != nil:
		t.Errorf("%s\n%s\nexpected %s\ngot %s", what, requirement, strings.Join(failure.Expected, ", or "), failure.Actual)
	default:
		t.Errorf("%s\n%s\n%v", what, requirement, err)
	}
}

// conformanceBackend answers as an API server does, over Go's own HTTP/2, but for one connection
// that it gives away.
type conformanceBackend struct {
	next atomic.Pointer[func(net.Conn)] // Gets the next connection.
}

func conformanceProxy(t *testing.T) (*harness.Proxy, *conformanceBackend) {
	t.Helper()
	binary := sluiceBinary(t)
	authority := func(name string) *harness.Authority {
		return must[*harness.Authority](t)(harness.NewAuthority(name))
	}
	trust := harness.ProxyTrust{ServingCA: authority("serving-ca"), ClientCA: authority("client-ca"), FrontProxyCA: authority("front-proxy-ca")}
	pair := must[*harness.Pair](t)(trust.ServingCA.Issue(harness.Leaf{CommonName: "backend", Serving: true, Names: []string{harness.ServerName}}))
	listener := must[net.Listener](t)(tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair.TLS}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"},
	}))
	t.Cleanup(func() { _ = listener.Close() })
	backend := &conformanceBackend{}
	go backend.accept(listener)
	proxy := watchOver(t)(harness.StartProxy(binary, trust, harness.ProxyOptions{
		Backends: []string{listener.Addr().String()}, Flags: []string{"--shutdown-delay-duration", "0s", "--drain-timeout", "1s"},
	}))
	return proxy, backend
}

func (b *conformanceBackend) accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		run := b.next.Swap(nil)
		go func() {
			defer connection.Close()
			if connection.(*tls.Conn).Handshake() != nil {
				return
			}
			if run != nil {
				(*run)(connection)
				return
			}
			(&http2.Server{}).ServeConn(connection, &http2.ServeConnOpts{Handler: http.HandlerFunc(conformanceAnswer)})
		}()
	}
}

func conformanceAnswer(w http.ResponseWriter, request *http.Request) {
	_, _ = io.Copy(io.Discard, request.Body)
	user := request.Header.Get("X-Remote-User")
	switch {
	case !strings.HasSuffix(request.URL.Path, "/selfsubjectreviews"):
		// A case that sends something on a stream which is half closed may take its time between two
		// frames; were the stream answered by then, it would be another case.
		time.Sleep(conformanceLatency)
		_, _ = io.WriteString(w, strings.Repeat("conformance ", 100))
	case user != "" && len(request.TLS.PeerCertificates) > 0:
		w.Header().Set("Content-Type", "application/json")
		answer(w, user, request.Header.Values("X-Remote-Group"))
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func askVersion(proxy *harness.Proxy) (int, error) {
	transport := &http2.Transport{TLSClientConfig: proxy.TLS(nil)}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, "https://"+proxy.Address+"/version", nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Authorization", "Bearer conformance")
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// expectServing asks until the proxy answers with what the backend says: a connection that was lost
// may have to be opened again.
func expectServing(t *testing.T, proxy *harness.Proxy) {
	t.Helper()
	var status int
	var err error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if status, err = askVersion(proxy); err == nil && status == http.StatusOK {
			return
		}
	}
	t.Errorf("the proxy does not serve afterwards: %d %v", status, err)
}
