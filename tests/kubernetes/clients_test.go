// SPDX-License-Identifier: GPL-3.0-or-later
//
// Clients that nobody here wrote, each by its package (tests/clients): the same plan of requests
// goes to a server and through the proxy, and a client must see the same.

package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice/tests/kubernetes/harness"
)

const (
	clientsNamespace = "clients"
	clientsAtOnce    = 10
	// cannotRun is the exit code of a script that lacks something.
	cannotRun = 77
)

// Those of the ordinary run, and those that take packages of other languages.
var (
	usualClients = []string{"go", "go-http1", "curl", "curl-http1", "python-httpx", "python-httpx-http1", "python-h2", "python-requests"}
	otherClients = []string{"node", "rust", "java"}
)

// planned is a request; the columns of the plan are in tests/clients/README.md.
type planned struct {
	name, method, path string
	body               []byte
	mode               string
	fields             []string
	status             int // What the server must say, or this tests nothing; 0: either.
}

// shown is an answer as a client's library shows it.
type shown struct {
	version, status, failure string
	body                     []byte
	fields                   []string
}

// clientSide is where a client connects to, and as whom.
type clientSide struct {
	base, ca, cert, key string
	tls                 *tls.Config
}

func TestClients(t *testing.T) {
	wanted := usualClients
	switch names := os.Getenv("SLUICE_CLIENTS"); names {
	case "":
	case "all":
		wanted = slices.Concat(usualClients, otherClients)
	default:
		wanted = slices.DeleteFunc(strings.Fields(names), func(name string) bool { return slices.Contains(libraries, name) })
	}
	ctx := within(t, 10*time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	makeNamespace(ctx, t, cluster, clientsNamespace)
	dir := t.TempDir()
	alice := testerCertificate(t, cluster)
	certFile, keyFile, err := alice.Write(dir, "tester")
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, cluster.CA.PEM, 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(address string) string {
		return "https://localhost" + address[strings.LastIndex(address, ":"):]
	}
	for _, credential := range []string{"token", "certificate"} {
		direct := clientSide{base: at(cluster.Servers[0].Address), ca: ca, cert: "-", key: "-", tls: cluster.DirectTLS(nil)}
		proxied := clientSide{base: at(proxy.Address), ca: ca, cert: "-", key: "-", tls: proxy.TLS(nil)}
		var fields []string
		if credential == "token" {
			fields = []string{"Authorization: Bearer " + harness.TesterToken}
		} else {
			direct.cert, direct.key, direct.tls = certFile, keyFile, cluster.DirectTLS(alice)
			proxied.cert, proxied.key, proxied.tls = certFile, keyFile, proxy.TLS(alice)
		}
		plan := clientPlan(ctx, t, cluster, fields)
		file := filepath.Join(dir, credential+".plan")
		writePlan(t, dir, file, plan)
		for _, name := range wanted {
			t.Run(name+" with a "+credential, func(t *testing.T) {
				version := "2"
				if strings.HasSuffix(name, "-http1") || name == "python-requests" {
					version = "1.1"
				}
				run := clientNamed(t, name)
				compareClients(ctx, t, plan, file, version, run, direct, proxied)
			})
		}
	}
}

// clientPlan is what every client does; `credential` is added to all but those that try others.
func clientPlan(ctx context.Context, t *testing.T, cluster *harness.Cluster, credential []string) []planned {
	collection := "/api/v1/namespaces/" + clientsNamespace + "/configmaps"
	object := collection + "/written"
	jsonType := "Content-Type: application/json"
	body := func(bytes int) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"written"},"data":{"text":%q}}`, strings.Repeat("x", bytes))
	}
	review := []byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	tag, version := clientFacts(ctx, t, cluster)
	watch := collection + "?watch=1&fieldSelector=metadata.name%3Dwatched&timeoutSeconds=2&resourceVersion=" + version
	plan := []planned{
		{name: "version", method: "GET", path: "/version", status: 200},
		{name: "who am I", method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews", body: review, fields: []string{jsonType}, status: 201},
		{name: "not there", method: "GET", path: collection + "/nothing", status: 404},
		{name: "create 100 KB", method: "POST", path: collection, body: body(100_000), fields: []string{jsonType}, status: 201},
		{name: "create again", method: "POST", path: collection, body: body(100_000), fields: []string{jsonType}, status: 409},
		{name: "get", method: "GET", path: object, status: 200},
		{name: "head", method: "HEAD", path: object, status: 405}, // Servers do not take it, and say so in a head alone.
		{name: "several at once", method: "GET", path: object, mode: "parallel", status: 200},
		{name: "gzip", method: "GET", path: object, fields: []string{"Accept-Encoding: gzip"}, status: 200},
		{name: "protobuf", method: "GET", path: object, fields: []string{"Accept: " + protobuf}, status: 200},
		{name: "odd query", method: "GET", path: collection + "?labelSelector=a%3Db&limit=5&pretty=true", status: 200},
		{name: "not modified", method: "GET", path: clientsOpenAPI, fields: []string{"If-None-Match: " + tag}, status: 304},
		{name: "openapi", method: "GET", path: clientsOpenAPI, status: 200},
		{name: "watch that ends", method: "GET", path: watch, status: 200},
		{name: "watch that is cancelled", method: "GET", path: watch, mode: "cancel", status: 200},
		{name: "get after a cancelled watch", method: "GET", path: object, status: 200},
		{name: "update", method: "PUT", path: object, body: body(10), fields: []string{jsonType}, status: 200},
		{name: "patch", method: "PATCH", path: object, body: []byte(`{"data":{"more":"y"}}`), fields: []string{"Content-Type: application/merge-patch+json"}, status: 200},
		{name: "unknown type", method: "PATCH", path: object, body: []byte(`{}`), fields: []string{"Content-Type: text/plain"}, status: 415},
		{name: "delete", method: "DELETE", path: object, status: 200},
		{name: "delete again", method: "DELETE", path: object, status: 404},
		{name: "wrong token", method: "GET", path: "/api/v1/pods", fields: []string{"Authorization: Bearer nonsense"}, status: 401},
		{name: "after a wrong token", method: "GET", path: "/version", status: 200},
	}
	for i := range plan {
		if plan[i].mode == "" {
			plan[i].mode = "one"
		}
		if plan[i].name != "wrong token" {
			plan[i].fields = append(plan[i].fields, credential...)
		} else if len(credential) == 0 {
			// A certificate decides before a token is looked at.
			plan[i].status = 200
		}
	}
	return plan
}

const clientsOpenAPI = "/openapi/v3/apis/authentication.k8s.io/v1"

// clientFacts asks a server for a tag that its OpenAPI has, and makes an object for watches, which
// begin at the version before.
func clientFacts(ctx context.Context, t *testing.T, cluster *harness.Cluster) (tag, version string) {
	direct := newSide(t, "direct", cluster.Servers[0].Address, cluster.DirectTLS(nil))
	tag = direct.do(ctx, t, call{method: "GET", path: clientsOpenAPI}).header.Get("Etag")
	objects := clientset(t, cluster.Direct(0, harness.AdminToken)).CoreV1().ConfigMaps(clientsNamespace)
	_ = objects.Delete(ctx, "watched", metav1.DeleteOptions{})
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watched := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}, Data: map[string]string{"a": "b"}}
	if _, err := objects.Create(ctx, watched, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return tag, list.ResourceVersion
}

func writePlan(t *testing.T, dir, file string, plan []planned) {
	t.Helper()
	var text strings.Builder
	for i, request := range plan {
		body := "-"
		if request.body != nil {
			body = filepath.Join(dir, fmt.Sprintf("%s.%d", filepath.Base(file), i))
			if err := os.WriteFile(body, request.body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		columns := append([]string{request.name, request.method, request.path, body, request.mode}, request.fields...)
		text.WriteString(strings.Join(columns, "\t") + "\n")
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// runClient sends a plan and returns the answers by the names of their requests.
type runClient func(ctx context.Context, plan []planned, file string, to clientSide) (map[string][]shown, error)

func clientNamed(t *testing.T, name string) runClient {
	t.Helper()
	switch name {
	case "go", "go-http1":
		return runGo(name == "go")
	case "curl", "curl-http1":
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("curl is not here")
		}
		protocol := "--http2"
		if name == "curl-http1" {
			protocol = "--http1.1"
		}
		return runCurl(protocol)
	}
	return runProgram(clientCommand(t, name))
}

// clientCommand puts a client of ../clients in place and tells how it is called.
func clientCommand(t *testing.T, name string) []string {
	t.Helper()
	output, err := exec.Command("../clients/build", name).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == cannotRun {
		t.Skipf("%s", strings.TrimSpace(string(output)))
	} else if errors.As(err, &exit) {
		t.Fatalf("../clients/build %s: %v\n%s", name, err, exit.Stderr)
	} else if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.Fields(lines[len(lines)-1])
}

func compareClients(ctx context.Context, t *testing.T, plan []planned, file, version string, run runClient, direct, proxied clientSide) {
	want := must[map[string][]shown](t)(run(ctx, plan, file, direct))
	got := must[map[string][]shown](t)(run(ctx, plan, file, proxied))
	equal := 0
	for _, request := range plan {
		t.Run(request.name, func(t *testing.T) {
			w, g := want[request.name], got[request.name]
			count := 1
			if request.mode == "parallel" {
				count = clientsAtOnce
			}
			if len(w) != count || len(g) != count {
				t.Fatalf("%d answers, direct %d, of %d", len(g), len(w), count)
			}
			for i := range w {
				if request.status == 401 && w[i].failure != "" {
					// A server ends the connection behind a 401, at which some libraries give up the answer,
					// too; the proxy's own connection to its client stays.
					if g[i].status != "401" {
						t.Errorf("status %s %s", g[i].status, g[i].failure)
					}
					continue
				}
				if w[i].status != fmt.Sprint(request.status) || w[i].version != version {
					t.Errorf("direct: status %s, expected %d, version %s, %s: this tests nothing", w[i].status, request.status, w[i].version, w[i].failure)
				}
				compareShown(t, w[i], g[i])
			}
			if !t.Failed() {
				equal++
			}
		})
	}
	figure(t, "%d of %d requests equal", equal, len(plan))
}

func compareShown(t *testing.T, direct, proxied shown) {
	t.Helper()
	if proxied.version != direct.version || proxied.status != direct.status || proxied.failure != direct.failure {
		t.Errorf("%s %s %s, direct %s %s %s", proxied.version, proxied.status, proxied.failure, direct.version, direct.status, direct.failure)
	}
	if got, want := settledFields(proxied), settledFields(direct); !reflect.DeepEqual(got, want) {
		t.Errorf("fields %q\n direct %q", got, want)
	}
	if got, want := settledBody(proxied), settledBody(direct); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, direct %d, differ from position %d: %.300q, direct %.300q", len(got), len(want), firstDifference(want, got), got, want)
	}
}

// settledFields are those that do not differ between any two requests.
func settledFields(answer shown) []string {
	var fields []string
	for _, field := range answer.fields {
		name, _, _ := strings.Cut(field, ":")
		switch name {
		case "date", "audit-id", "last-modified":
			field = name
		case "content-length":
			// Versions and compressed bodies that hold one grow by digits; HEAD and 304 tell nothing else.
			if len(answer.body) > 0 {
				field = name
			}
		}
		fields = append(fields, field)
	}
	slices.Sort(fields)
	return fields
}

// settledBody is a body without what a write decides anew each time.
func settledBody(answer shown) []byte {
	body := answer.body
	if plain, err := ungzip(body); err == nil {
		body = plain
	}
	for _, field := range answer.fields {
		if strings.HasPrefix(field, "content-type: "+protobuf) {
			return nil // Its versions and times lie in binary.
		}
	}
	return changing.ReplaceAll(changingPretty.ReplaceAll(body, []byte(`"$1": "-"`)), []byte(`"$1":"-"`))
}

// changingPretty is the same in an indented body.
var changingPretty = regexp.MustCompile(`"(uid|resourceVersion|creationTimestamp|time)": "[^"]*"`)

// --- the clients ------------------------------------------------------------------------------

// runProgram is a client that is a program of its own.
func runProgram(command []string) runClient {
	return func(ctx context.Context, _ []planned, file string, to clientSide) (map[string][]shown, error) {
		arguments := append(slices.Clone(command[1:]), file, to.base, to.ca, to.cert, to.key)
		process := exec.CommandContext(ctx, command[0], arguments...)
		var complaints bytes.Buffer
		process.Stderr = &complaints
		output, err := process.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", command[0], err, complaints.Bytes())
		}
		answers := map[string][]shown{}
		for line := range strings.Lines(string(output)) {
			columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(columns) >= 3 && columns[1] == "error" {
				answers[columns[0]] = append(answers[columns[0]], shown{failure: columns[2]})
				continue
			}
			if len(columns) < 4 {
				return nil, fmt.Errorf("%s said %q", command[0], line)
			}
			body, err := base64.StdEncoding.DecodeString(columns[3])
			if err != nil {
				return nil, err
			}
			answer := shown{version: columns[1], status: columns[2], body: body, fields: columns[4:]}
			answers[columns[0]] = append(answers[columns[0]], answer)
		}
		return answers, nil
	}
}

// runGo is the standard library's client, as client-go uses it: DISABLE_HTTP2 leaves out the same.
func runGo(http2 bool) runClient {
	return func(ctx context.Context, plan []planned, _ string, to clientSide) (map[string][]shown, error) {
		// A clone: the transport adds its protocols to it.
		transport := &http.Transport{TLSClientConfig: to.tls.Clone(), ForceAttemptHTTP2: http2, DisableCompression: true}
		defer transport.CloseIdleConnections()
		return sendGo(ctx, plan, transport, to)
	}
}

func sendGo(ctx context.Context, plan []planned, transport *http.Transport, to clientSide) (map[string][]shown, error) {
	client := &http.Client{Transport: transport}
	send := func(request planned) shown {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		built, err := http.NewRequestWithContext(ctx, request.method, to.base+request.path, bytes.NewReader(request.body))
		if err != nil {
			return shown{failure: err.Error()}
		}
		for _, field := range request.fields {
			name, value, _ := strings.Cut(field, ": ")
			built.Header.Set(name, value)
		}
		response, err := client.Do(built)
		if err != nil {
			return shown{failure: err.Error()}
		}
		defer response.Body.Close()
		answer := shown{version: strings.TrimSuffix(strings.TrimPrefix(response.Proto, "HTTP/"), ".0"), status: fmt.Sprint(response.StatusCode)}
		for name, values := range response.Header {
			for _, value := range values {
				answer.fields = append(answer.fields, strings.ToLower(name)+": "+value)
			}
		}
		if request.mode == "cancel" {
			return answer
		}
		if answer.body, err = io.ReadAll(response.Body); err != nil {
			return shown{failure: err.Error()}
		}
		return answer
	}
	answers := map[string][]shown{}
	for _, request := range plan {
		count := 1
		if request.mode == "parallel" {
			count = clientsAtOnce
		}
		results := make([]shown, count)
		var running sync.WaitGroup
		for i := range results {
			running.Go(func() { results[i] = send(request) })
		}
		running.Wait()
		answers[request.name] = results
	}
	return answers, nil
}

// runCurl is one curl for each line of the plan; those at once share its connection, where they can.
func runCurl(protocol string) runClient {
	return func(ctx context.Context, plan []planned, file string, to clientSide) (map[string][]shown, error) {
		return sendCurl(ctx, plan, file, protocol, to)
	}
}

func sendCurl(ctx context.Context, plan []planned, file, protocol string, to clientSide) (map[string][]shown, error) {
	answers := map[string][]shown{}
	for i, request := range plan {
		place := fmt.Sprintf("%s.curl.%d", file, i)
		count, limit := 1, "30"
		var arguments []string
		switch request.mode {
		case "parallel":
			count = clientsAtOnce
			arguments = []string{"--parallel", "--parallel-max", fmt.Sprint(count)}
		case "cancel":
			limit = "1"
		}
		for number := range count {
			if number > 0 {
				arguments = append(arguments, "--next")
			}
			arguments = append(arguments, protocol, "--no-progress-meter", "--noproxy", "*", "--cacert", to.ca, "--max-time", limit)
			if to.cert != "-" {
				arguments = append(arguments, "--cert", to.cert, "--key", to.key)
			}
			own := fmt.Sprintf("%s.%d", place, number)
			if err := os.WriteFile(own+".body", nil, 0o600); err != nil {
				return nil, err
			}
			if request.method == "HEAD" {
				arguments = append(arguments, "--head")
			} else {
				arguments = append(arguments, "--request", request.method)
			}
			for _, field := range request.fields {
				arguments = append(arguments, "--header", field)
			}
			if request.body != nil {
				body := filepath.Join(filepath.Dir(file), fmt.Sprintf("%s.%d", filepath.Base(file), i))
				arguments = append(arguments, "--data-binary", "@"+body)
			}
			arguments = append(arguments, "--dump-header", own+".head", "--output", own+".body", to.base+request.path)
		}
		process := exec.CommandContext(ctx, "curl", arguments...)
		output, err := process.CombinedOutput()
		var exit *exec.ExitError
		timedOut := errors.As(err, &exit) && exit.ExitCode() == 28
		for number := range count {
			answer := shown{}
			if err != nil && !(request.mode == "cancel" && timedOut) {
				answer.failure = fmt.Sprintf("%v %s", err, output)
			} else if answer, err = curlAnswer(fmt.Sprintf("%s.%d", place, number), request); err != nil {
				return nil, err
			}
			answers[request.name] = append(answers[request.name], answer)
		}
	}
	return answers, nil
}

func curlAnswer(own string, request planned) (shown, error) {
	head, err := os.ReadFile(own + ".head")
	if err != nil {
		return shown{}, err
	}
	// The last one: others before it were interim.
	heads := strings.Split(strings.TrimSpace(strings.ReplaceAll(string(head), "\r\n", "\n")), "\n\n")
	lines := strings.Split(heads[len(heads)-1], "\n")
	status := strings.Fields(lines[0])
	if len(status) < 2 {
		return shown{failure: fmt.Sprintf("curl noted %q", lines[0])}, nil
	}
	answer := shown{version: strings.TrimPrefix(status[0], "HTTP/"), status: status[1]}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		answer.fields = append(answer.fields, strings.ToLower(name)+":"+value)
	}
	if request.mode == "cancel" || request.method == "HEAD" {
		return answer, nil
	}
	answer.body, err = os.ReadFile(own + ".body")
	return answer, err
}
