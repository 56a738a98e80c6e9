// SPDX-License-Identifier: GPL-3.0-or-later
//
// A client that is spread over servers sees what one server would have shown it: what it has just
// written, and one version while servers of two are there.

package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

// program is a client with a connection of its own, as each kubectl is one.
type program struct {
	client *http.Client
	base   string
	token  string
}

// place is where programs ask: the proxy, or one server without it.
type place struct {
	address string
	tls     func(*harness.Pair) *tls.Config
}

// person is who runs programs: by a token or, if there is one, by a certificate.
type person struct {
	token       string
	certificate *harness.Pair
}

// pause is what a program takes to start, and a person to go on. A server's own informers hear of a
// write some milliseconds after its client; that is the same with one server and no proxy.
const pause = 50 * time.Millisecond

func newProgram(at place, who person) *program {
	time.Sleep(pause)
	transport := &http.Transport{TLSClientConfig: at.tls(who.certificate), ForceAttemptHTTP2: true}
	return &program{&http.Client{Transport: transport, Timeout: 30 * time.Second}, "https://" + at.address, who.token}
}

func (p *program) end() { p.client.CloseIdleConnections() }

func (p *program) do(ctx context.Context, method, path, as, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, p.base+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, "", err
	}
	if p.token != "" {
		request.Header.Set("Authorization", "Bearer "+p.token)
	}
	request.Header.Set("Content-Type", "application/json")
	if path == "/apis" {
		// As client-go asks: what each server serves itself.
		request.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	}
	if as != "" {
		request.Header.Set("Impersonate-User", as)
	}
	answer, err := p.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// expect says what was wrong, "" if nothing was.
func (p *program) expect(ctx context.Context, status int, method, path, as, body string) string {
	got, text, err := p.do(ctx, method, path, as, body)
	if err == nil && got == status {
		return ""
	}
	return fmt.Sprintf("%s %s: %d %v %.200s", method, path, got, err, text)
}

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

func definition(group string) string {
	return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.` + group + `"},` +
		`"spec":{"group":"` + group + `","scope":"Cluster","names":{"plural":"things","singular":"thing","kind":"Thing"},` +
		`"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`
}

func (p *program) waitEstablished(ctx context.Context, group string) error {
	for ctx.Err() == nil {
		_, text, err := p.do(ctx, "GET", definitionsPath+"/things."+group, "", "")
		if err != nil {
			return err
		}
		var made struct {
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
		if err := json.Unmarshal([]byte(text), &made); err != nil {
			return err
		}
		for _, condition := range made.Status.Conditions {
			if condition.Type == "Established" && condition.Status == "True" {
				return nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// useOwnDefinition creates a custom resource, waits until it is established, and creates an object
// of it; a second program lists them.
func useOwnDefinition(ctx context.Context, at place, who person, number int) (failures []string) {
	group := fmt.Sprintf("own-%d.example.com", number)
	things := "/apis/" + group + "/v1/things"
	first := newProgram(at, who)
	defer first.end()
	note := func(wrong string) {
		if wrong != "" {
			failures = append(failures, wrong)
		}
	}
	if wrong := first.expect(ctx, http.StatusCreated, "POST", definitionsPath, "", definition(group)); wrong != "" {
		return []string{wrong}
	}
	if err := first.waitEstablished(ctx, group); err != nil {
		return []string{err.Error()}
	}
	time.Sleep(pause)
	thing := `{"apiVersion":"` + group + `/v1","kind":"Thing","metadata":{"name":"one"}}`
	note(first.expect(ctx, http.StatusCreated, "POST", things, "", thing))
	second := newProgram(at, who)
	defer second.end()
	note(second.expect(ctx, http.StatusOK, "GET", things, "", ""))
	note(second.expect(ctx, http.StatusOK, "DELETE", definitionsPath+"/things."+group, "", ""))
	return failures
}

// useOwnBinding binds a role (one that no controller has to fill) to a user, whom it then impersonates; so does a second program.
func useOwnBinding(ctx context.Context, at place, who person, number int) (failures []string) {
	user := fmt.Sprintf("user-%d", number)
	bindings := "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
	binding := `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"` + user + `"},` +
		`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:aggregate-to-view"},` +
		`"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"` + user + `"}]}`
	first := newProgram(at, who)
	defer first.end()
	if wrong := first.expect(ctx, http.StatusCreated, "POST", bindings, "", binding); wrong != "" {
		return []string{wrong}
	}
	second := newProgram(at, who) // So first has paused, too.
	defer second.end()
	for _, client := range []*program{first, second} {
		for range 3 {
			if wrong := client.expect(ctx, http.StatusOK, "GET", "/api/v1/namespaces/default/pods?limit=1", user, ""); wrong != "" {
				failures = append(failures, wrong)
			}
		}
	}
	if wrong := second.expect(ctx, http.StatusOK, "DELETE", bindings+"/"+user, "", ""); wrong != "" {
		failures = append(failures, wrong)
	}
	return failures
}

// useOwnWrites returns what went wrong in so many rounds of both, of several people at once.
func useOwnWrites(ctx context.Context, t *testing.T, cluster *harness.Cluster, rounds int, at place) (failures []string) {
	t.Helper()
	people := []person{{token: cluster.Token(harness.TesterToken)}}
	for number := range 3 {
		certificate := must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{
			CommonName: fmt.Sprintf("person-%d", number), Organizations: []string{harness.TesterGroup},
		}))
		people = append(people, person{certificate: certificate})
	}
	var next atomic.Int64
	var lock sync.Mutex
	var working sync.WaitGroup
	for _, who := range people {
		working.Go(func() {
			for number := int(next.Add(1)); number <= rounds && ctx.Err() == nil; number = int(next.Add(1)) {
				wrong := append(useOwnDefinition(ctx, at, who, number), useOwnBinding(ctx, at, who, number)...)
				lock.Lock()
				failures = append(failures, wrong...)
				lock.Unlock()
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		t.Fatalf("%v after %d rounds, %d failures", ctx.Err(), next.Load(), len(failures))
	}
	return failures
}

// behindProxy is a proxy with that --write-affinity.
func behindProxy(t *testing.T, cluster *harness.Cluster, affinity string) place {
	t.Helper()
	proxy := startProxy(t, cluster, harness.ProxyOptions{Flags: []string{"--write-affinity", affinity}})
	return place{proxy.Address, proxy.TLS}
}

func TestOwnWrites(t *testing.T) {
	rounds := countFromEnvironment(t, "SLUICE_OWN_WRITES", 1000)
	few := min(rounds, 30)
	ctx := within(t, 4*time.Minute+time.Duration(rounds)*time.Second)
	cluster := sharedCluster(t)
	failures := useOwnWrites(ctx, t, cluster, rounds, behindProxy(t, cluster, "5s"))
	figure(t, "%d custom resources and role bindings used right after they were written: %d failures", rounds, len(failures))
	if len(failures) > 0 {
		t.Errorf("%s", strings.Join(failures[:min(len(failures), 5)], "\n"))
	}
	// That none fails here says that this machine is quick, and nothing more.
	without := useOwnWrites(ctx, t, cluster, few, behindProxy(t, cluster, "0s"))
	directly := useOwnWrites(ctx, t, cluster, few, place{cluster.Servers[0].Address, cluster.DirectTLS})
	figure(t, "the same %d times without --write-affinity: %d failures; at one server without the proxy: %d",
		few, len(without), len(directly))
}

// Two of three servers hear of everything late, as where etcd is far or busy.
func TestOwnWritesWhereServersLag(t *testing.T) {
	const rounds = 10
	const lag = 200 * time.Millisecond
	ctx := within(t, 8*time.Minute)
	cluster := ownCluster(t, harness.ClusterOptions{EtcdDelays: []time.Duration{0, lag, lag}})
	failures := useOwnWrites(ctx, t, cluster, rounds, behindProxy(t, cluster, "5s"))
	without := useOwnWrites(ctx, t, cluster, rounds, behindProxy(t, cluster, "0s"))
	figure(t, "two of three servers %v behind, %d rounds: %d failures, without --write-affinity %d", lag, rounds, len(failures), len(without))
	if len(failures) > 0 {
		t.Errorf("%s", strings.Join(failures[:min(len(failures), 5)], "\n"))
	}
	if len(without) == 0 {
		t.Error("the servers did not lag: this test has shown nothing")
	}
}

// description is what a server says of itself.
type description struct {
	groups  string // The answer to /apis.
	version string
	group   []string // Group versions.
}

func whatIsServed(ctx context.Context, client *program) (found description, err error) {
	for path, into := range map[string]*string{"/apis": &found.groups, "/version": &found.version} {
		status, text, err := client.do(ctx, "GET", path, "", "")
		if err != nil || status != http.StatusOK {
			return found, fmt.Errorf("GET %s: %d %v", path, status, err)
		}
		*into = text
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Versions []struct{ Version string }
		}
	}
	if err := json.Unmarshal([]byte(found.groups), &list); err != nil {
		return found, err
	}
	for _, group := range list.Items {
		for _, version := range group.Versions {
			found.group = append(found.group, group.Metadata.Name+"/"+version.Version)
		}
	}
	return found, nil
}

// One of three servers emulates the version before.
func TestVersionSkew(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	cluster := ownCluster(t, harness.ClusterOptions{
		FlagsOf: func(server int) []string {
			if server == 0 {
				// These two versions serve the same group versions; others do not.
				return []string{"--emulated-version=kube=1.36", "--runtime-config=autoscaling/v2=false"}
			}
			return nil
		},
	})
	tester := person{token: cluster.Token(harness.TesterToken)}
	direct := func(server int) description {
		client := newProgram(place{cluster.Servers[server].Address, cluster.DirectTLS}, tester)
		defer client.end()
		return must[description](t)(whatIsServed(ctx, client))
	}
	older, newer := direct(0), direct(1)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	for { // The versions are asked for once servers are ready.
		versions := must[map[string]float64](t)(proxy.Samples("sluice_backend_api_minor_version", "backend"))
		if len(versions) == 3 && slices.Min(slices.Collect(maps.Values(versions))) > 0 {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("versions: %v", versions)
		}
		time.Sleep(20 * time.Millisecond)
	}
	client := newProgram(place{proxy.Address, proxy.TLS}, tester)
	defer client.end()
	for range 60 {
		found := must[description](t)(whatIsServed(ctx, client))
		if found.groups != older.groups || found.version != older.version {
			t.Fatalf("discovery is not that of the lowest version: %s", found.version)
		}
	}
	var onlyNewer []string
	for _, version := range newer.group {
		if !slices.Contains(older.group, version) {
			onlyNewer = append(onlyNewer, version)
		}
	}
	if len(onlyNewer) == 0 {
		t.Fatal("the two versions serve the same: this test has shown nothing")
	}
	const scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
	const scaler = `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"new"},` +
		`"spec":{"maxReplicas":2,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}}}`
	requests := 0
	for range 20 {
		if wrong := client.expect(ctx, http.StatusCreated, "POST", scalers+"?dryRun=All", "", scaler); wrong != "" {
			t.Fatal(wrong)
		}
		for _, version := range onlyNewer {
			requests++
			if wrong := client.expect(ctx, http.StatusOK, "GET", "/apis/"+version, "", ""); wrong != "" {
				t.Fatal(wrong)
			}
		}
	}
	figure(t, "discovery the same %d times; %d requests to what only the newer version serves (%s), none failed",
		60, requests, strings.Join(onlyNewer, ", "))
}
