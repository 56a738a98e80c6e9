// SPDX-License-Identifier: GPL-3.0-or-later
//
// Answers through the proxy are the servers' own: status, fields and bytes. What differs between
// any two requests by nature (dates, ids, and in what is written uids and versions) is set aside.

package kubernetes

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sluice/tests/kubernetes/harness"
)

const answersNamespace = "answers"

// side is one way to the servers: past the proxy, or through it.
type side struct {
	name   string
	host   string
	token  string
	client *http.Client
}

func newSide(t *testing.T, name, host string, config *tls.Config) *side {
	transport := &http.Transport{
		TLSClientConfig:    config,
		ForceAttemptHTTP2:  true,
		DisableCompression: true, // The test asks for compression itself and sees the bytes.
		DialContext:        (&net.Dialer{}).DialContext,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &side{name: name, host: host, token: harness.TesterToken, client: &http.Client{Transport: transport}}
}

// call is one request, answerRead its answer with the body read.
type call struct {
	method, path string
	header       http.Header
	body         []byte
}

type answerRead struct {
	status int
	header http.Header
	body   []byte
}

func (s *side) send(ctx context.Context, c call) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, c.method, "https://"+s.host+c.path, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		request.Header[name] = values
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	return s.client.Do(request)
}

func (s *side) do(ctx context.Context, t *testing.T, c call) answerRead {
	t.Helper()
	response, err := s.send(ctx, c)
	if err != nil {
		t.Fatalf("%s: %s %s: %v", s.name, c.method, c.path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s: %s %s: body: %v", s.name, c.method, c.path, err)
	}
	return answerRead{response.StatusCode, response.Header, body}
}

// settled returns the fields without those that differ between any two requests.
func settled(header http.Header) http.Header {
	header = header.Clone()
	header.Del("Date")
	header.Del("Audit-Id")
	header.Del("Last-Modified") // Of OpenAPI: when this server made it.
	return header
}

func compare(t *testing.T, direct, proxied answerRead) {
	t.Helper()
	if direct.status != proxied.status {
		t.Errorf("status %d, direct %d: %.300s", proxied.status, direct.status, proxied.body)
	}
	if got, want := settled(proxied.header), settled(direct.header); !reflect.DeepEqual(got, want) {
		t.Errorf("fields %v\n direct %v", got, want)
	}
	for _, name := range []string{"Date", "Audit-Id"} {
		if len(proxied.header.Values(name)) != len(direct.header.Values(name)) {
			t.Errorf("%s: %q, direct %q", name, proxied.header.Values(name), direct.header.Values(name))
		}
	}
	if !bytes.Equal(direct.body, proxied.body) {
		t.Errorf("%d bytes differ from %d direct ones from position %d: %.200q, direct %.200q",
			len(proxied.body), len(direct.body), firstDifference(direct.body, proxied.body), proxied.body, direct.body)
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// changing is what a write decides anew each time.
var changing = regexp.MustCompile(`"(uid|resourceVersion|creationTimestamp|time)":"[^"]*"`)

func fixed(answer answerRead) answerRead {
	answer.body = changing.ReplaceAll(answer.body, []byte(`"$1":"-"`))
	answer.header = answer.header.Clone()
	answer.header.Del("Content-Length") // Versions grow by digits.
	return answer
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

const (
	protobuf = "application/vnd.kubernetes.protobuf"
	table    = "application/json;as=Table;v=v1;g=meta.k8s.io"
)

// fixture is the control plane with what is read in it.
type fixture struct {
	cluster *harness.Cluster
	direct  *side
	proxied *side
	raw     func(context.Context) (*harness.RawClient, error)
	version string // A resource version that includes all of it.
}

func newFixture(ctx context.Context, t *testing.T) *fixture {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	f := &fixture{
		cluster: cluster,
		direct:  newSide(t, "direct", cluster.Servers[0].Address, cluster.DirectTLS(nil)),
		proxied: newSide(t, "proxied", proxy.Address, proxy.TLS(nil)),
		raw: func(ctx context.Context) (*harness.RawClient, error) {
			return harness.DialRaw(ctx, proxy.Address, "", proxy.TLS(nil))
		},
	}
	makeNamespace(ctx, t, cluster, answersNamespace)
	objects := clientset(t, cluster.Direct(0, harness.AdminToken)).CoreV1().ConfigMaps(answersNamespace)
	for i := range 40 {
		object := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("object-%02d", i), Labels: map[string]string{"parity": fmt.Sprint(i % 2)}},
			Data:       map[string]string{"text": strings.Repeat(fmt.Sprintf("line %d äöü\n", i), 700)},
		}
		created := must[*corev1.ConfigMap](t)(objects.Create(ctx, object, metav1.CreateOptions{}))
		f.version = created.ResourceVersion
	}
	return f
}

func TestAnswersEqualTheDirectOnes(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	f := newFixture(ctx, t)
	collection := "/api/v1/namespaces/" + answersNamespace + "/configmaps"
	exact := "resourceVersion=" + f.version + "&resourceVersionMatch=Exact"
	for _, read := range []struct {
		name string
		call
	}{
		{"get", call{method: "GET", path: collection + "/object-00"}},
		{"get protobuf", call{method: "GET", path: collection + "/object-00", header: header("Accept", protobuf)}},
		{"get yaml", call{method: "GET", path: collection + "/object-00", header: header("Accept", "application/yaml")}},
		{"get as table", call{method: "GET", path: collection + "/object-00", header: header("Accept", table)}},
		{"get what is not there", call{method: "GET", path: collection + "/nothing"}},
		{"get what cannot be accepted", call{method: "GET", path: collection + "/object-00", header: header("Accept", "text/html")}},
		{"list", call{method: "GET", path: collection + "?" + exact}},
		{"list protobuf", call{method: "GET", path: collection + "?" + exact, header: header("Accept", protobuf)}},
		{"list gzip", call{method: "GET", path: collection + "?" + exact, header: header("Accept-Encoding", "gzip")}},
		{"list protobuf gzip", call{method: "GET", path: collection + "?" + exact, header: header("Accept", protobuf, "Accept-Encoding", "gzip")}},
		{"list as table", call{method: "GET", path: collection + "?" + exact, header: header("Accept", table)}},
		{"list by labels", call{method: "GET", path: collection + "?labelSelector=parity%3D1&" + exact}},
		{"list with bad selector", call{method: "GET", path: collection + "?fieldSelector=nonsense"}},
		{"version", call{method: "GET", path: "/version"}},
		{"discovery", call{method: "GET", path: "/apis", header: header("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")}},
		{"openapi", call{method: "GET", path: "/openapi/v3/api/v1"}},
		{"head", call{method: "HEAD", path: collection + "/object-00"}},
		{"method not allowed", call{method: "POST", path: collection + "/object-00"}},
		{"unknown path", call{method: "GET", path: "/nowhere/at%20all?a=b;c"}},
	} {
		t.Run(read.name, func(t *testing.T) {
			direct, proxied := f.direct.do(ctx, t, read.call), f.proxied.do(ctx, t, read.call)
			compare(t, direct, proxied)
			figure(t, "%d, %d bytes", proxied.status, len(proxied.body))
			if wanted := read.header.Get("Accept-Encoding"); wanted != "" && proxied.header.Get("Content-Encoding") != wanted {
				t.Errorf("the server did not compress: this tests nothing")
			} else if wanted != "" {
				must[[]byte](t)(ungzip(proxied.body))
			}
		})
	}
	t.Run("list by pages", func(t *testing.T) { f.pages(ctx, t, collection, exact) })
	t.Run("writes", func(t *testing.T) { f.writes(ctx, t, collection) })
	t.Run("warnings", func(t *testing.T) { f.warnings(ctx, t, collection) })
	t.Run("watch with bookmarks", func(t *testing.T) { f.watches(ctx, t) })
	t.Run("watch-list of 30 MB", func(t *testing.T) { f.watchList(ctx, t) })
	t.Run("early 413 during an upload", func(t *testing.T) { f.earlyRefusal(ctx, t, collection) })
	t.Run("an upload that breaks off at the head of an error", func(t *testing.T) { f.brokenUpload(ctx, t, collection) })
}

// pages follows the continue tokens of each side by itself.
func (f *fixture) pages(ctx context.Context, t *testing.T, collection, exact string) {
	next, pages := exact, 0
	for next != "" {
		pages++
		c := call{method: "GET", path: collection + "?limit=7&" + next}
		direct, proxied := f.direct.do(ctx, t, c), f.proxied.do(ctx, t, c)
		compare(t, direct, proxied)
		var list metav1.PartialObjectMetadataList
		if err := json.Unmarshal(proxied.body, &list); err != nil {
			t.Fatal(err)
		}
		if next = list.Continue; next != "" {
			next = "continue=" + next
		}
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
	}
	figure(t, "%d pages", pages)
	if pages != 6 {
		t.Errorf("40 objects made %d pages of 7", pages)
	}
}

// writes does the same to one object on each side, of the same name in turn, and compares step by step.
func (f *fixture) writes(ctx context.Context, t *testing.T, collection string) {
	object := collection + "/written"
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"written","labels":{"a":"b"}},"data":{"k":"v"}}`)
	jsonType := header("Content-Type", "application/json")
	steps := []struct {
		name string
		call
		status int
	}{
		{"create", call{"POST", collection + "?fieldManager=m", jsonType, body}, 201},
		{"create again", call{"POST", collection + "?fieldManager=m", jsonType, body}, 409},
		{"update", call{"PUT", object + "?fieldManager=m", jsonType, bytes.Replace(body, []byte(`"v"`), []byte(`"w"`), 1)}, 200},
		{"update to another name", call{"PUT", object + "?fieldManager=m", jsonType, bytes.Replace(body, []byte(`"written"`), []byte(`"other"`), 1)}, 400},
		{"merge patch", call{"PATCH", object + "?fieldManager=m", header("Content-Type", "application/merge-patch+json"), []byte(`{"data":{"k":"x"}}`)}, 200},
		{"json patch", call{"PATCH", object + "?fieldManager=m", header("Content-Type", "application/json-patch+json"), []byte(`[{"op":"add","path":"/data/l","value":"y"}]`)}, 200},
		{"strategic patch", call{"PATCH", object + "?fieldManager=m", header("Content-Type", "application/strategic-merge-patch+json"), []byte(`{"metadata":{"labels":{"c":"d"}}}`)}, 200},
		{"apply with a conflict", call{"PATCH", object + "?fieldManager=other", header("Content-Type", "application/apply-patch+yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: written}\ndata: {k: z}\n")}, 409},
		{"apply by force", call{"PATCH", object + "?fieldManager=other&force=true", header("Content-Type", "application/apply-patch+yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: written}\ndata: {k: z}\n")}, 200},
		{"apply new", call{"PATCH", collection + "/applied?fieldManager=other", header("Content-Type", "application/apply-patch+yaml"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {k: z}\n")}, 201},
		{"unknown patch", call{"PATCH", object, header("Content-Type", "text/plain"), []byte(`{}`)}, 415},
		{"delete", call{method: "DELETE", path: object}, 200},
		{"delete with options", call{"DELETE", collection + "/applied", jsonType, []byte(`{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Background"}`)}, 200},
		{"delete again", call{method: "DELETE", path: object}, 404},
	}
	var direct []answerRead
	for _, step := range steps {
		direct = append(direct, f.direct.do(ctx, t, step.call))
	}
	for i, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			proxied := f.proxied.do(ctx, t, step.call)
			if direct[i].status != step.status {
				t.Errorf("direct: %d %s, expected %d: this tests nothing", direct[i].status, direct[i].body, step.status)
			}
			compare(t, fixed(direct[i]), fixed(proxied))
		})
	}
}

// warnings checks that several Warning fields stay several.
func (f *fixture) warnings(ctx context.Context, t *testing.T, collection string) {
	c := call{"POST", collection + "?dryRun=All&fieldValidation=Warn", header("Content-Type", "application/json"),
		[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"warned"},"one":1,"two":2,"data":{"a":"1","a":"2"}}`)}
	direct, proxied := f.direct.do(ctx, t, c), f.proxied.do(ctx, t, c)
	compare(t, fixed(direct), fixed(proxied))
	warnings := proxied.header.Values("Warning")
	figure(t, "%d fields: %q", len(warnings), warnings)
	if len(warnings) < 3 {
		t.Errorf("%d Warning fields: this tests nothing", len(warnings))
	}
}

type watchEvent struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// watches compares two watches of the same changes.
func (f *fixture) watches(ctx context.Context, t *testing.T) {
	path := "/api/v1/namespaces/" + answersNamespace + "/secrets"
	list := f.direct.do(ctx, t, call{method: "GET", path: path})
	var meta metav1.PartialObjectMetadataList
	if err := json.Unmarshal(list.body, &meta); err != nil {
		t.Fatal(err)
	}
	watch := call{method: "GET", path: path + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=6&resourceVersion=" + meta.ResourceVersion}
	type seen struct {
		events    [][]byte
		bookmarks int
		header    http.Header
		err       error
	}
	follow := func(s *side, result chan<- seen) {
		var got seen
		response, err := s.send(ctx, watch)
		if err != nil {
			result <- seen{err: err}
			return
		}
		defer response.Body.Close()
		got.header = response.Header
		body, err := io.ReadAll(response.Body)
		got.err = err
		for line := range bytes.Lines(body) {
			var event watchEvent
			if err := json.Unmarshal(line, &event); err != nil {
				got.err = fmt.Errorf("%w in %q", err, line)
			}
			if event.Type == "BOOKMARK" {
				got.bookmarks++
			} else {
				got.events = append(got.events, slices.Clone(line))
			}
		}
		result <- got
	}
	results := [2]chan seen{make(chan seen, 1), make(chan seen, 1)}
	go follow(f.direct, results[0])
	go follow(f.proxied, results[1])

	secrets := clientset(t, f.cluster.Direct(1, harness.AdminToken)).CoreV1().Secrets(answersNamespace)
	const objects = 50
	for i := range objects {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("watched-%d", i)}}
		secret = must[*corev1.Secret](t)(secrets.Create(ctx, secret, metav1.CreateOptions{}))
		secret.Data = map[string][]byte{"k": []byte("v")}
		must[*corev1.Secret](t)(secrets.Update(ctx, secret, metav1.UpdateOptions{}))
		if err := secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	direct, proxied := <-results[0], <-results[1]
	if direct.err != nil || proxied.err != nil {
		t.Fatalf("proxied %v, direct %v: a watch's own end is a clean one", proxied.err, direct.err)
	}
	if !reflect.DeepEqual(settled(direct.header), settled(proxied.header)) {
		t.Errorf("fields %v\n direct %v", proxied.header, direct.header)
	}
	if !slices.EqualFunc(direct.events, proxied.events, bytes.Equal) || len(direct.events) != 3*objects {
		t.Errorf("%d events differ from %d direct ones, of %d", len(proxied.events), len(direct.events), 3*objects)
	}
	figure(t, "%d events, %d bookmarks", len(proxied.events), proxied.bookmarks)
	if proxied.bookmarks == 0 || direct.bookmarks == 0 {
		t.Errorf("bookmarks: proxied %d, direct %d", proxied.bookmarks, direct.bookmarks)
	}
}

// watchList reads a large collection as the initial events of a watch, through both sides.
func (f *fixture) watchList(ctx context.Context, t *testing.T) {
	const namespace, objects, size = "large", 30, 1_000_000
	makeNamespace(ctx, t, f.cluster, namespace)
	store := clientset(t, f.cluster.Direct(0, harness.AdminToken)).CoreV1().ConfigMaps(namespace)
	for i := range objects {
		object := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("large-%02d", i)},
			Data:       map[string]string{"bytes": strings.Repeat(fmt.Sprintf("%09d ", i), size/10)},
		}
		must[*corev1.ConfigMap](t)(store.Create(ctx, object, metav1.CreateOptions{}))
	}
	defer func() { _ = store.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}) }()
	path := "/api/v1/namespaces/" + namespace + "/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=60"
	for _, accept := range []string{"application/json", protobuf + ";stream=watch"} {
		t.Run(accept[len("application/"):], func(t *testing.T) {
			c := call{method: "GET", path: path, header: header("Accept", accept)}
			direct, proxied := f.initialEvents(ctx, t, f.direct, c), f.initialEvents(ctx, t, f.proxied, c)
			total := 0
			for _, event := range proxied {
				total += len(event)
			}
			figure(t, "%d initial events of %.1f MB", len(proxied), float64(total)/1e6)
			if len(proxied) < objects || total < objects*size {
				t.Errorf("%d events of %d bytes: not all of it", len(proxied), total)
			}
			if !slices.EqualFunc(direct, proxied, bytes.Equal) {
				t.Errorf("%d initial events differ from %d direct ones", len(proxied), len(direct))
			}
		})
	}
}

// initialEvents reads a watch until the bookmark that ends its initial events, which differs in its
// version and is left out; then it cancels. The order is that of the objects' bytes.
func (f *fixture) initialEvents(ctx context.Context, t *testing.T, s *side, c call) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	response, err := s.send(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", s.name, response.Status)
	}
	isJSON := strings.HasSuffix(response.Header.Get("Content-Type"), "json")
	reader := frameReader{from: response.Body, isJSON: isJSON}
	var events [][]byte
	for {
		event, err := reader.next()
		if err != nil {
			t.Fatalf("%s: after %d events: %v", s.name, len(events), err)
		}
		if bytes.Contains(event[:min(len(event), 2000)], []byte("k8s.io/initial-events-end")) {
			break
		}
		events = append(events, event)
	}
	slices.SortFunc(events, bytes.Compare)
	return events
}

// frameReader cuts a watch into its events: lines of JSON, or length-prefixed protobuf.
type frameReader struct {
	from   io.Reader
	isJSON bool
	rest   []byte
}

func (r *frameReader) next() ([]byte, error) {
	buffer := make([]byte, 256<<10)
	for {
		if event, found := r.cut(); found {
			return event, nil
		}
		count, err := r.from.Read(buffer)
		r.rest = append(r.rest, buffer[:count]...)
		if err != nil && count == 0 {
			return nil, err
		}
	}
}

func (r *frameReader) cut() ([]byte, bool) {
	end := 0
	if r.isJSON {
		end = bytes.IndexByte(r.rest, '\n') + 1
	} else if len(r.rest) >= 4 {
		end = 4 + int(r.rest[0])<<24 + int(r.rest[1])<<16 + int(r.rest[2])<<8 + int(r.rest[3])
	}
	if end == 0 || len(r.rest) < end {
		return nil, false
	}
	event := r.rest[:end]
	r.rest = slices.Clone(r.rest[end:])
	return event, true
}

// earlyRefusal uploads more than a server takes. It refuses in the middle, and the whole refusal must
// arrive while the client is still sending.
func (f *fixture) earlyRefusal(ctx context.Context, t *testing.T, collection string) {
	body := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"huge"},"data":{"k":"` + strings.Repeat("x", 12<<20) + `"}}`)
	request := harness.RawRequest{Method: "POST", Path: collection, Body: body, Fields: []harness.Field{
		{Name: "content-type", Value: "application/json"}, bearer(harness.TesterToken),
	}}
	direct := f.survives(ctx, t, f.rawDirect, request, collection)
	for range 10 {
		proxied := f.survives(ctx, t, f.raw, request, collection)
		if proxied.Status != direct.Status || !bytes.Equal(proxied.Body, direct.Body) {
			t.Fatalf("%d %s, direct %d %s", proxied.Status, proxied.Body, direct.Status, direct.Body)
		}
		if proxied.EarlyReset != nil && *proxied.EarlyReset != 0 {
			t.Errorf("the answer was followed by RST_STREAM %v", *proxied.EarlyReset)
		}
	}
	early := direct.EarlyReset != nil
	figure(t, "%d, %d bytes, upload stopped by the server %v", direct.Status, len(direct.Body), early)
	if direct.Status != 413 || !early {
		t.Errorf("direct: %d, stopped early %v: this tests nothing", direct.Status, early)
	}

	// A client of the usual kind sees the same.
	usual := f.proxied.do(ctx, t, call{"POST", collection, header("Content-Type", "application/json"), body})
	if usual.status != 413 || !bytes.Equal(usual.body, direct.Body) {
		t.Errorf("usual client: %d %s", usual.status, usual.body)
	}
}

// brokenUpload ends before its length, as soon as its answer has begun.
func (f *fixture) brokenUpload(ctx context.Context, t *testing.T, collection string) {
	request := harness.RawRequest{Method: "PATCH", Path: collection + "/object-00", Body: []byte("{}"), Breaks: true, Fields: []harness.Field{
		{Name: "content-type", Value: "text/plain"}, bearer(harness.TesterToken),
	}}
	direct := f.survives(ctx, t, f.rawDirect, request, collection)
	if direct.Status != 415 || len(direct.Body) == 0 {
		t.Errorf("direct: %d, %d bytes: this tests nothing", direct.Status, len(direct.Body))
	}
	for range 10 {
		proxied := f.survives(ctx, t, f.raw, request, collection)
		if proxied.Status != direct.Status || !bytes.Equal(proxied.Body, direct.Body) {
			t.Fatalf("%d %s, direct %d %s", proxied.Status, proxied.Body, direct.Status, direct.Body)
		}
	}
}

// survives sends a request of which the connection must know nothing afterwards.
func (f *fixture) survives(ctx context.Context, t *testing.T, dial func(context.Context) (*harness.RawClient, error), request harness.RawRequest, collection string) *harness.RawResponse {
	t.Helper()
	client := must[*harness.RawClient](t)(dial(ctx))
	defer client.Close()
	response, err := client.Do(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	after, err := client.Do(ctx, harness.RawRequest{Method: "GET", Path: collection + "/object-00", Fields: []harness.Field{bearer(harness.TesterToken)}})
	if err != nil || after.Status != 200 {
		t.Fatalf("the next request on the connection: %+v, %v", after, err)
	}
	return response
}

func (f *fixture) rawDirect(ctx context.Context) (*harness.RawClient, error) {
	return harness.DialRaw(ctx, f.cluster.Servers[0].Address, "", f.cluster.DirectTLS(nil))
}

// ungzip fails where a compressed answer is not whole.
func ungzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
