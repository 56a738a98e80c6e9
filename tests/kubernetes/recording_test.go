// SPDX-License-Identifier: GPL-3.0-or-later
//
// Backends that judge every request they get: which fields it carries, and over what kind of
// connection. Real servers tell only whom they believed; these tell what reached them.

package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// Names that differ from the defaults, which must be dropped all the same.
const (
	customUserField   = "X-Gate-User"
	customGroupField  = "X-Gate-Group"
	customExtraPrefix = "X-Gate-Extra-"
	customUIDField    = "X-Gate-Uid"
)

// judge is three backends' common memory.
type judge struct {
	frontProxy *x509.CertPool
	seen       [3]atomic.Int64 // Judged requests, by backend.
	errors     atomic.Int64
	mutex      sync.Mutex
	complaints []string
}

// What a request truly is travels in its user agent, which passes untouched:
// "certificate|user|group,group", "token|value" or "anonymous".

func (j *judge) complain(format string, arguments ...any) {
	j.errors.Add(1)
	j.mutex.Lock()
	defer j.mutex.Unlock()
	if len(j.complaints) < 10 {
		j.complaints = append(j.complaints, fmt.Sprintf(format, arguments...))
	}
}

func (j *judge) vouched(request *http.Request) bool {
	certificates := request.TLS.PeerCertificates
	if len(certificates) == 0 {
		return false
	}
	_, err := certificates[0].Verify(x509.VerifyOptions{Roots: j.frontProxy, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

// identityFields are all fields that anybody might take for a claim of identity.
func identityFields(header http.Header) map[string][]string {
	found := map[string][]string{}
	for name, values := range header {
		spelled := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if strings.HasPrefix(spelled, "x-remote-") || strings.HasPrefix(spelled, "x-gate-") {
			found[name] = values
		}
	}
	return found
}

func (j *judge) handler(backend int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		_, _ = io.Copy(io.Discard, request.Body)
		for name, values := range identityFields(request.Trailer) {
			if len(values) > 0 { // A name without values was only announced.
				j.complain("trailer %s: %q", name, values)
			}
		}
		if request.URL.Path == "/readyz" {
			_, _ = io.WriteString(w, "ok")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		vouched, fields := j.vouched(request), identityFields(request.Header)
		kind, rest, _ := strings.Cut(request.UserAgent(), "|")
		token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
		if kind == "certificate" || kind == "token" || kind == "anonymous" {
			j.seen[backend].Add(1)
			j.check(request, kind, rest, token, vouched, fields)
		}
		user := request.Header.Get(customUserField)
		switch {
		case vouched && user != "":
			answer(w, user, request.Header.Values(customGroupField))
		case strings.HasPrefix(token, "good"):
			answer(w, token, nil)
		default: // As a server does: whoever is refused costs the connection.
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`)
		}
	})
}

func answer(w http.ResponseWriter, user string, groups []string) {
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": map[string]any{},
		"status": map[string]any{"userInfo": map[string]any{"username": user, "groups": append(groups, "system:authenticated")}},
	})
}

func (j *judge) check(request *http.Request, kind, rest, token string, vouched bool, fields map[string][]string) {
	hasCertificate := len(request.TLS.PeerCertificates) > 0
	if kind != "certificate" {
		if hasCertificate {
			j.complain("%s on a connection with a certificate", kind)
		}
		if len(fields) > 0 {
			j.complain("%s with identity fields %v", kind, fields)
		}
		if kind == "token" && token != rest || kind == "anonymous" && token != "" {
			j.complain("%s %q arrived with the token %q", kind, rest, token)
		}
		return
	}
	user, groups, _ := strings.Cut(rest, "|")
	if !vouched {
		j.complain("certificate on a connection that proves nothing")
	}
	if token != "" {
		j.complain("certificate together with a token")
	}
	for name, values := range fields {
		var want []string
		switch {
		case name == customUserField:
			want = []string{user}
		case name == customGroupField:
			want = strings.Split(groups, ",")
		case strings.EqualFold(name, customExtraPrefix+"authentication.kubernetes.io%2Fcredential-id") && len(values) == 1 && strings.HasPrefix(values[0], "X509SHA256="):
			continue
		}
		if !reflect.DeepEqual(values, want) {
			j.complain("certificate of %s: %s is %q, expected %q", user, name, values, want)
		}
	}
	if len(fields[customUserField]) == 0 || len(fields[customGroupField]) == 0 {
		j.complain("certificate of %s: identity fields %v", user, fields)
	}
}

func startJudge(t *testing.T, authority, frontProxy *harness.Authority) (*judge, []string) {
	t.Helper()
	j := &judge{frontProxy: frontProxy.Pool()}
	var addresses []string
	for backend := range j.seen {
		pair := must[*harness.Pair](t)(authority.Issue(harness.Leaf{CommonName: "recorder", Serving: true, Names: []string{harness.ServerName}}))
		listener := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
		server := &http.Server{
			Handler:   j.handler(backend),
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair.TLS}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2"}},
			ErrorLog:  log.New(io.Discard, "", 0),
		}
		go func() { _ = server.ServeTLS(listener, "", "") }()
		t.Cleanup(func() { _ = server.Close() })
		addresses = append(addresses, listener.Addr().String())
	}
	return j, addresses
}

func TestNoForgedFieldAndNoRequestOfTheWrongKindReachesABackend(t *testing.T) {
	binary := sluiceBinary(t)
	ctx := within(t, 4*time.Minute)
	servingCA := must[*harness.Authority](t)(harness.NewAuthority("serving-ca"))
	clientCA := must[*harness.Authority](t)(harness.NewAuthority("client-ca"))
	frontProxyCA := must[*harness.Authority](t)(harness.NewAuthority("front-proxy-ca"))
	judge, addresses := startJudge(t, servingCA, frontProxyCA)
	proxy := watchOver(t)(harness.StartProxy(binary, harness.ProxyTrust{ServingCA: servingCA, ClientCA: clientCA, FrontProxyCA: frontProxyCA},
		harness.ProxyOptions{Backends: addresses, Flags: []string{
			"--requestheader-username-headers", customUserField, "--requestheader-group-headers", customGroupField,
			"--requestheader-extra-headers-prefix", customExtraPrefix, "--requestheader-uid-headers", customUIDField,
		}}))

	forged := harmlessForgeries()
	requests := countFromEnvironment(t, "SLUICE_RECORDED", 100000)
	const loops = 12
	var sent, wrong atomic.Int64
	started := time.Now()
	var working sync.WaitGroup
	for loop := range loops {
		who, want := recordedClient(t, clientCA, loop)
		working.Go(func() {
			client, err := harness.DialRaw(ctx, proxy.Address, "", proxy.TLS(who.certificate))
			if err != nil {
				t.Error(err)
				return
			}
			defer client.Close()
			random := rand.New(rand.NewPCG(uint64(loop), 1))
			for ctx.Err() == nil && sent.Add(1) <= int64(requests) {
				var added forgery
				if random.IntN(2) == 0 {
					added = forged[random.IntN(len(forged))]
				}
				if err := oneRecorded(ctx, client, who, want, added); err != nil {
					if wrong.Add(1) <= 5 {
						t.Errorf("%s: %v", who.agent, err)
					}
					return
				}
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		t.Fatal(ctx.Err())
	}
	seen := []float64{}
	for i := range judge.seen {
		seen = append(seen, float64(judge.seen[i].Load()))
	}
	total, ratio := maxToMean(seen)
	figure(t, "%d mixed requests in %.1f s, half of them with forged fields: %d wrong answers, %d objections of the backends, which judged %.0f, max/mean %.3f",
		requests, time.Since(started).Seconds(), wrong.Load(), judge.errors.Load(), total, ratio)
	for _, complaint := range judge.complaints {
		t.Error(complaint)
	}
	if total < float64(requests)/2 {
		t.Errorf("the backends judged %.0f of %d requests: too few to tell anything", total, requests)
	}
}

// harmlessForgeries are those that leave the connection whole.
func harmlessForgeries() []forgery {
	var all []forgery
	for _, f := range forgeries() {
		if !f.malformed {
			all = append(all, f)
		}
	}
	for _, name := range []string{"x-gate-user", "x-gate-group", "x-gate-uid", "x-gate-extra-scope", "x_gate_user", "x-gate_group", "x_gate_extra_a"} {
		all = append(all, forgery{fields: []harness.Field{{Name: name, Value: "system:masters"}}})
		all = append(all, forgery{trailers: []harness.Field{{Name: name, Value: "system:masters"}}})
	}
	return all
}

// recorded is a client whose requests tell what they are.
type recorded struct {
	identity
	certificate *harness.Pair
	agent       string
}

// recordedClient makes the n-th client and the status that all its requests get.
func recordedClient(t *testing.T, clientCA *harness.Authority, n int) (recorded, int) {
	t.Helper()
	leaf := harness.Leaf{CommonName: fmt.Sprintf("user-%d", n), Organizations: []string{"a", "b"}}
	switch n % 6 {
	case 0:
		return recorded{certificate: must[*harness.Pair](t)(clientCA.Issue(leaf)), agent: "certificate|" + leaf.CommonName + "|a,b"}, 201
	case 1: // The certificate wins.
		return recorded{identity: identity{token: "good-but-unused"}, certificate: must[*harness.Pair](t)(clientCA.Issue(leaf)), agent: "certificate|" + leaf.CommonName + "|a,b"}, 201
	case 2, 3:
		token := fmt.Sprintf("good-%d", n)
		return recorded{identity: identity{token: token}, agent: "token|" + token}, 201
	case 4: // A certificate that proves nothing leaves the decision to the token.
		leaf.NotBefore, leaf.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		token := fmt.Sprintf("good-%d", n)
		return recorded{identity: identity{token: token}, certificate: must[*harness.Pair](t)(clientCA.Issue(leaf)), agent: "token|" + token}, 201
	default:
		return recorded{agent: "anonymous"}, 401
	}
}

func oneRecorded(ctx context.Context, client *harness.RawClient, who recorded, want int, added forgery) error {
	request := reviewRequest(who.identity, "", added.fields, added.trailers)
	for i := range request.Fields {
		if request.Fields[i].Name == "user-agent" {
			request.Fields[i].Value = who.agent
		}
	}
	response, err := client.Do(ctx, request)
	if err != nil {
		return fmt.Errorf("%+q %+q: %w", added.fields, added.trailers, err)
	}
	if response.Status != want {
		return fmt.Errorf("%+q %+q: %d %.200s, expected %d", added.fields, added.trailers, response.Status, response.Body, want)
	}
	return nil
}
