// SPDX-License-Identifier: GPL-3.0-or-later
//
// Requests that few clients make and API servers serve: odd queries, values with blanks, authorities
// written in two ways. The servers' answer is the right one; the proxy's must be the same, down to
// where the answer ends.

package kubernetes

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

func TestOddRequestsAreServedAsDirectly(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	direct := must[*harness.RawClient](t)(harness.DialRaw(ctx, cluster.Servers[0].Address, "", cluster.DirectTLS(nil)))
	defer direct.Close()
	proxied := must[*harness.RawClient](t)(harness.DialRaw(ctx, proxy.Address, "", proxy.TLS(nil)))
	defer proxied.Close()

	token := harness.Field{Name: "authorization", Value: "Bearer " + harness.AdminToken}
	pods := "/api/v1/namespaces/default/pods"
	labels := func(bytes int) string {
		var terms []string
		for size, i := 0, 0; size < bytes; i++ {
			term := fmt.Sprintf("key-%d=value-%d", i, i)
			terms, size = append(terms, term), size+len(term)+1
		}
		return pods + "?labelSelector=" + strings.Join(terms, ",")
	}
	for _, test := range []struct {
		name    string
		request harness.RawRequest
		status  int
	}{
		{"selector of 20 KB", harness.RawRequest{Path: labels(20_000)}, 200},
		{"selector of 200 KB", harness.RawRequest{Path: labels(200_000)}, 200},
		{"% in the query", harness.RawRequest{Path: pods + "?limit=5&pretty=%"}, 200},
		{"%zz in the query", harness.RawRequest{Path: pods + "?labelSelector=%zz&limit=1"}, 200},
		{"%00 in the query", harness.RawRequest{Path: pods + "?a=%00b"}, 200},
		{"UTF-8 in the query", harness.RawRequest{Path: pods + "?a=\u00e9\u4e2d"}, 200},
		{"# and \\ in the query", harness.RawRequest{Path: pods + "?a=#b\\c"}, 200},
		{"a bad watch parameter", harness.RawRequest{Path: pods + "?watch=%&limit=1"}, 200},
		{"blank behind the token", harness.RawRequest{Path: pods, Fields: []harness.Field{{Name: "authorization", Value: token.Value + " "}}}, 200},
		{"blank behind a user to impersonate", harness.RawRequest{Path: pods, Fields: []harness.Field{token, {Name: "impersonate-user", Value: "admin "}}}, 403},
		{"host with the usual port", harness.RawRequest{Path: pods, Authority: harness.ProxyName, Fields: []harness.Field{token, {Name: "host", Value: harness.ProxyName + ":443"}}}, 200},
		{"host in capitals", harness.RawRequest{Path: pods, Authority: harness.ProxyName, Fields: []harness.Field{token, {Name: "host", Value: strings.ToUpper(harness.ProxyName)}}}, 200},
		{"POST to the deprecated watch", harness.RawRequest{Method: "POST", Path: "/apis/apps/v1/watch/deployments", Body: []byte("{}")}, 405},
		{"HEAD", harness.RawRequest{Method: "HEAD", Path: "/version"}, 405},
		{"not modified", harness.RawRequest{Path: "/openapi/v2", Fields: []harness.Field{token, {Name: "if-none-match", Value: "*"}}}, 304},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := test.request
			if request.Method == "" {
				request.Method = "GET"
			}
			if request.Fields == nil {
				request.Fields = []harness.Field{token}
			}
			want, err := direct.Do(ctx, request)
			if err != nil {
				t.Fatalf("direct: %v", err)
			}
			if want.Status != test.status {
				t.Fatalf("direct: %d %.200s, expected %d: this tests nothing", want.Status, want.Body, test.status)
			}
			got, err := proxied.Do(ctx, request)
			if err != nil {
				t.Fatalf("proxied: %v", err)
			}
			if got.Status != want.Status || got.HeadOnly != want.HeadOnly || got.Value("content-length") != want.Value("content-length") {
				t.Errorf("%d, ends with its head: %v, content-length %q; direct %d, %v, %q\n%.300s", got.Status, got.HeadOnly, got.Value("content-length"),
					want.Status, want.HeadOnly, want.Value("content-length"), got.Body)
			}
			if mask := func(b []byte) string { return versions.ReplaceAllString(string(b), "-") }; mask(got.Body) != mask(want.Body) {
				t.Errorf("%.300s\ndirect %.300s", got.Body, want.Body)
			}
			figure(t, "%d, %d bytes, ends with its head: %v", got.Status, len(got.Body), got.HeadOnly)
		})
	}
}

var versions = regexp.MustCompile(`"resourceVersion":"[0-9]*"`)

// curl 7.88 loses an answer that comes together with RST_STREAM while it still uploads.
func TestCurlSeesEveryEarlyAnswer(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	ctx := within(t, 3*time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	folder := t.TempDir()
	body := filepath.Join(folder, "body")
	if err := os.WriteFile(body, []byte(strings.Repeat("x", 20_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	authority := filepath.Join(folder, "ca")
	if err := os.WriteFile(authority, cluster.CA.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(proxy.Address)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	const tries = 40
	for range tries {
		seen[curlStatus(ctx, curl, "--cacert", authority, "--resolve", "localhost:"+port+":127.0.0.1",
			"--data-binary", "@"+body, "https://localhost:"+port+"/api/v1/%zz")]++
	}
	figure(t, "%v", seen)
	if seen["2 400"] != tries {
		t.Errorf("%v instead of %d times HTTP/2 and 400", seen, tries)
	}
}

// curlStatus is the version of HTTP and the status, or curl's complaint.
func curlStatus(ctx context.Context, curl string, arguments ...string) string {
	out, err := exec.CommandContext(ctx, curl, append([]string{"--silent", "--show-error", "--http2", "--max-time", "20",
		"--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"}, arguments...)...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return string(out)
}
