// SPDX-License-Identifier: GPL-3.0-or-later
//
// Streams of clients other than kubectl: who claims to be somebody else, who has its token in a
// WebSocket's subprotocol, and who loses the server.

package kubernetes

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"sluice/tests/kubernetes/harness"
)

// execAddress is where a command in a pod is asked for.
func execAddress(base, namespace, pod string, words ...string) *url.URL {
	query := url.Values{"command": words, "container": {"main"}, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
	path, err := url.Parse(fmt.Sprintf("%s/api/v1/namespaces/%s/pods/%s/exec?%s", base, namespace, pod, query.Encode()))
	if err != nil {
		panic(err)
	}
	return path
}

// execBy runs a command by client-go.
func execBy(ctx context.Context, form string, config *rest.Config, address *url.URL, input string) transcript {
	var executor remotecommand.Executor
	var err error
	if form == "websocket" {
		executor, err = remotecommand.NewWebSocketExecutor(config, http.MethodGet, address.String())
	} else {
		executor, err = remotecommand.NewSPDYExecutor(config, http.MethodPost, address)
	}
	if err != nil {
		return transcript{code: -1, errors: err.Error()}
	}
	var output, complaints bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &output, Stderr: &complaints})
	if err != nil {
		return transcript{code: 1, output: output.String(), errors: complaints.String() + err.Error()}
	}
	return transcript{output: output.String(), errors: complaints.String()}
}

// Fields by which a client claims to be somebody else.
var claims = http.Header{
	"X-Remote-User": {"admin"}, "X-Remote-Group": {"system:masters"}, "X-Remote-Uid": {"0"}, "X-Remote-Extra-Scope": {"all"},
	"X_Remote_User": {"admin"}, "X-Remote-Group-": {"system:masters"}, "X-Forwarded-For": {"192.0.2.1"},
}

func TestForgedFieldsOfUpgradesChangeNothing(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	s := newStage(ctx, t, sharedCluster(t), "forged-streams")
	pod := s.startPod(ctx, t, corev1.Container{})
	certificate := testerCertificate(t, s.cluster)
	for _, who := range []struct {
		name, token string
		certificate *harness.Pair
		allowed     bool
	}{
		{"certificate", "", certificate, true},
		{"token", harness.TesterToken, nil, true},
		{"token without permission", harness.ViewerToken, nil, false},
		{"wrong token", "nonsense", nil, false},
		{"nobody", "", nil, false},
	} {
		for _, form := range []string{"websocket", "spdy"} {
			t.Run(who.name+" by "+form, func(t *testing.T) {
				id := strings.ReplaceAll(t.Name(), "/", "-")
				seen := map[string]transcript{}
				for _, side := range []string{"direct", "proxied"} {
					config := s.cluster.Direct(0, who.token)
					if side == "proxied" {
						config = s.proxy.Config(who.token, nil)
					}
					if who.certificate != nil {
						config.CertData, config.KeyData = who.certificate.PEM, who.certificate.KeyPEM
					}
					config.UserAgent = id + side
					config.Wrap(func(next http.RoundTripper) http.RoundTripper {
						return roundTripper(func(request *http.Request) (*http.Response, error) {
							for name, values := range claims {
								request.Header[name] = values
							}
							return next.RoundTrip(request)
						})
					})
					seen[side] = execBy(ctx, form, config, execAddress(config.Host, s.kubelet.Namespace, pod, "sh", "-c", "cat; echo done >&2"), "hello\n")
				}
				if allowed := seen["direct"] == (transcript{output: "hello\n", errors: "done\n"}); allowed != who.allowed {
					t.Fatalf("direct: %v: this tests nothing", seen["direct"])
				}
				if seen["proxied"].settled() != seen["direct"].settled() {
					t.Errorf("proxied: %v\ndirect: %v", seen["proxied"], seen["direct"])
				}
				sameUsers(t, s.cluster, id)
			})
		}
	}
}

// sameUsers compares whom the servers believed to have before them.
func sameUsers(t *testing.T, cluster *harness.Cluster, id string) {
	t.Helper()
	type believed struct{ user, as any }
	seen := map[string][]believed{}
	for _, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(func(event *harness.AuditEvent) bool {
		return strings.HasPrefix(event.UserAgent, id) && event.Stage == harness.StageStarted
	})) {
		for _, event := range events {
			side := strings.TrimPrefix(event.UserAgent, id)
			seen[side] = append(seen[side], believed{event.User, event.ImpersonatedUser})
		}
	}
	if !reflect.DeepEqual(seen["direct"], seen["proxied"]) {
		t.Errorf("audit: proxied %+v, direct %+v", seen["proxied"], seen["direct"])
	}
}

// A browser cannot set Authorization: its token is one of the subprotocols that it offers.
func TestTokenInASubprotocolIsACredential(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	s := newStage(ctx, t, sharedCluster(t), "subprotocol")
	pod := s.startPod(ctx, t, corev1.Container{})
	certificate := testerCertificate(t, s.cluster)
	for _, who := range []struct {
		name, token string
		certificate *harness.Pair
		status      int
	}{
		{"tester", harness.TesterToken, nil, 101},
		{"viewer", harness.ViewerToken, nil, 403},
		{"wrong", "nonsense", nil, 401},
		{"certificate beside a wrong token", "nonsense", certificate, 101},
		{"certificate beside a viewer's token", harness.ViewerToken, certificate, 101},
	} {
		t.Run(who.name, func(t *testing.T) {
			protocols := []string{"base64url.bearer.authorization.k8s.io." + base64.RawURLEncoding.EncodeToString([]byte(who.token)), "v5.channel.k8s.io"}
			seen := map[string]string{}
			for side, to := range map[string]harnessTarget{
				"direct":  {s.cluster.Servers[0].Address, s.cluster.DirectTLS(who.certificate)},
				"proxied": {s.proxy.Address, s.proxy.TLS(who.certificate)},
			} {
				seen[side] = webSocketExec(ctx, t, to, s.kubelet.Namespace, pod, protocols)
			}
			if !strings.HasPrefix(seen["direct"], fmt.Sprint(who.status)) {
				t.Fatalf("direct: %s: this tests nothing", seen["direct"])
			}
			if seen["proxied"] != seen["direct"] {
				t.Errorf("proxied: %s\ndirect: %s", seen["proxied"], seen["direct"])
			}
		})
	}
}

// webSocketExec tells the status and all messages, or the body.
func webSocketExec(ctx context.Context, t *testing.T, to harnessTarget, namespace, pod string, protocols []string) string {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: to.tls.Clone(), Subprotocols: protocols}
	connection, response, err := dialer.DialContext(ctx, execAddress("wss://"+to.address, namespace, pod, "echo", "hello").String(), nil)
	if response == nil {
		t.Fatal(err)
	}
	if err != nil {
		body, _ := io.ReadAll(response.Body)
		return fmt.Sprintf("%d %s %q %s", response.StatusCode, response.Header.Get("Content-Type"), response.Header["Sec-Websocket-Protocol"], body)
	}
	defer connection.Close()
	var said strings.Builder
	fmt.Fprintf(&said, "%d %q", response.StatusCode, response.Header["Sec-Websocket-Protocol"])
	for {
		_, message, err := connection.ReadMessage()
		if err != nil {
			fmt.Fprintf(&said, " %v", err)
			return said.String()
		}
		if len(message) > 1 { // A channel's number alone tells that it is there.
			fmt.Fprintf(&said, " %q", message)
		}
	}
}

// A stream that loses its server tells so, as it does directly; the next one finds another server.
func TestStreamsEndWithTheirServer(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	cluster := ownCluster(t, harness.ClusterOptions{})
	s := newStage(ctx, t, cluster, "lost-streams")
	// One server stays, which the node needs.
	for lost, form := range []int{0, 2} {
		t.Run(forms[form].name, func(t *testing.T) {
			seen := map[string]transcript{}
			pod := s.startPod(ctx, t, corev1.Container{})
			commands := map[string]func() transcript{}
			for _, side := range []string{"direct", "proxied"} {
				k := s.sides[side].in(t, form)
				if side == "direct" {
					k = newKubectl(t, cluster, cluster.Servers[lost].Address, s.kubelet.Namespace).in(t, form)
				}
				// The proxied ones are as many as it takes to have one at the server that goes.
				commands[side] = untilLost(ctx, t, s, k, side, cluster.Servers[lost], pod)
			}
			cluster.Servers[lost].Lose()
			moment := time.Now()
			for side, wait := range commands {
				seen[side] = wait().settled()
			}
			// By WebSocket with a complaint, by SPDY without any.
			if after := time.Since(moment); after > 20*time.Second {
				t.Errorf("the streams ended %v after their server", after)
			}
			if seen["proxied"] != seen["direct"] {
				t.Errorf("proxied: %v\ndirect: %v", seen["proxied"], seen["direct"])
			}
			again := s.sides["proxied"].in(t, form).ended(ctx, t, "", "exec", pod, "--", "echo", "there")
			if again != (transcript{output: "there\n"}) {
				t.Errorf("after the loss: %v", again)
			}
		})
	}
}

// untilLost begins execs until one is at the given server, and returns how that one's end is awaited.
func untilLost(ctx context.Context, t *testing.T, s *stage, k *kubectl, side string, server *harness.APIServer, pod string) func() transcript {
	t.Helper()
	for try := range 30 {
		mark := fmt.Sprintf("mark-%s-%s-%d", side, strings.ReplaceAll(t.Name(), "/", "-"), try)
		command := background(t, k.command(ctx, "exec", pod, "--", "sh", "-c", "echo "+mark+"; sleep 60"))
		select {
		case <-command.lines:
		case <-ctx.Done():
			t.Fatalf("%s: exec says nothing: %v", side, command.end())
		}
		at := must[[]harness.AuditEvent](t)(harness.ReadAudit(server.Audit, func(event *harness.AuditEvent) bool {
			uri, _ := url.QueryUnescape(event.RequestURI)
			return strings.Contains(uri, mark)
		}))
		if len(at) > 0 {
			return command.wait
		}
		command.end()
	}
	t.Fatalf("%s: no exec of 30 came to %s", side, server.Name)
	return nil
}
