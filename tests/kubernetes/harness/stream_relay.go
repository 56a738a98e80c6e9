// SPDX-License-Identifier: GPL-3.0-or-later
//
// A small relay of HTTP/2 streams, for the test of the tests: it ends the watches of a lost backend
// either by RST_STREAM, which makes informers list everything again, or cleanly. A test that counts
// the lists must see the difference.

package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// StreamRelay forwards each stream to the next of several backends; identities must be tokens.
type StreamRelay struct {
	Address string

	cluster *Cluster
	server  *http.Server
	clean   bool
	turn    atomic.Uint64
	ca      *Authority
}

// StartStreamRelay starts a relay before the cluster's servers. If clean, a watch whose backend is
// lost ends with END_STREAM, 1.2 s after its last byte.
func (c *Cluster) StartStreamRelay(clean bool) (*StreamRelay, error) {
	pair, err := c.CA.Issue(Leaf{CommonName: "relay", Serving: true})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &StreamRelay{Address: listener.Addr().String(), cluster: c, clean: clean, ca: c.CA}
	r.server = &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite: func(request *httputil.ProxyRequest) {
				request.SetURL(&url.URL{Scheme: "https", Host: ServerName})
			},
			Transport:      r.transport(),
			FlushInterval:  -1,
			ModifyResponse: r.modify,
			ErrorLog:       log.New(io.Discard, "", 0),
		},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair.TLS}, NextProtos: []string{"h2"}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	go func() { _ = r.server.ServeTLS(listener, "", "") }()
	return r, nil
}

// Close ends the relay.
func (r *StreamRelay) Close() { _ = r.server.Close() }

// modify lets a watch end as the relay was told to. Without it the reverse proxy panics with
// http.ErrAbortHandler, which becomes RST_STREAM(INTERNAL_ERROR).
func (r *StreamRelay) modify(response *http.Response) error {
	if r.clean && response.Request.URL.Query().Get("watch") != "" {
		response.Body = &gentleBody{ReadCloser: response.Body}
	}
	return nil
}

type gentleBody struct {
	io.ReadCloser
	last time.Time
}

func (b *gentleBody) Read(buffer []byte) (int, error) {
	count, err := b.ReadCloser.Read(buffer)
	if count > 0 {
		b.last = time.Now()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		time.Sleep(time.Until(b.last.Add(1200 * time.Millisecond)))
		err = io.EOF
	}
	return count, err
}

// transport sends each stream to the next backend, and past those that refuse connections.
func (r *StreamRelay) transport() http.RoundTripper {
	var backends []http.RoundTripper
	for _, address := range r.cluster.Addresses() {
		backends = append(backends, &http.Transport{
			TLSClientConfig:    r.cluster.DirectTLS(nil),
			ForceAttemptHTTP2:  true,
			DisableCompression: true,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var dialer net.Dialer
				return dialer.DialContext(ctx, network, address)
			},
		})
	}
	return roundTrip(func(request *http.Request) (response *http.Response, err error) {
		first := r.turn.Add(1)
		for i := range uint64(len(backends)) {
			backend := backends[(first+i)%uint64(len(backends))]
			if response, err = backend.RoundTrip(request); err == nil || request.Body != nil {
				break
			}
		}
		return response, err
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
