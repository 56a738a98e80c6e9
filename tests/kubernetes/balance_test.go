// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every stream of one connection finds its own server, and work is balanced, not requests.

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

// countDials makes a configuration that tells how many connections its client has opened. Clients
// of different configurations never share one.
func countDials(config *rest.Config) *atomic.Int64 {
	var dials atomic.Int64
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}
	return &dials
}

// oneItem is the life of one object in six requests.
const requestsPerItem = 6

func oneItem(ctx context.Context, client *kubernetes.Clientset, namespace, name string) error {
	objects := client.CoreV1().ConfigMaps(namespace)
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"item": name}},
		Data:       map[string]string{"value": "1"},
	}
	object, err := objects.Create(ctx, object, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err = objects.Get(ctx, name, metav1.GetOptions{}); err != nil {
		return fmt.Errorf("get: %w", err)
	}
	object.Data["value"] = "2"
	if _, err = objects.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if _, err = objects.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"value":"3"}}`), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("patch: %w", err)
	}
	list, err := objects.List(ctx, metav1.ListOptions{LabelSelector: "item=" + name})
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if len(list.Items) != 1 || list.Items[0].Data["value"] != "3" {
		return fmt.Errorf("list: the answer does not hold the object as it was written: %+v", list.Items)
	}
	if err = objects.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

func TestStreamsOfOneConnectionAreSpreadEvenly(t *testing.T) {
	spreadsEvenly(t, "")
}

// A client without HTTP/2 has a connection for each request that is under way; none of them pins anything.
func TestRequestsOfClientsWithoutHTTP2AreSpreadEvenly(t *testing.T) {
	spreadsEvenly(t, "http/1.1")
}

// withoutHTTP2 makes a client's configuration what DISABLE_HTTP2 in its environment would.
func withoutHTTP2(config *rest.Config) *rest.Config {
	config.NextProtos = []string{"http/1.1"}
	return config
}

func spreadsEvenly(t *testing.T, protocol string) {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	certificate := testerCertificate(t, cluster)
	for _, identity := range []struct {
		name   string
		config func() *rest.Config
	}{
		{"token", func() *rest.Config { return proxy.Config(harness.TesterToken, nil) }},
		{"certificate", func() *rest.Config { return proxy.Config("", certificate) }},
	} {
		for _, concurrency := range []int{1, 16} {
			t.Run(fmt.Sprintf("%s/concurrency=%d", identity.name, concurrency), func(t *testing.T) {
				config, connectionsMax := identity.config(), 1
				if protocol != "" {
					// Who wants one more may find a free one before the new one is there.
					config, connectionsMax = withoutHTTP2(config), 4*concurrency
				}
				kind, rest, _ := strings.Cut(strings.ToLower(strings.NewReplacer("/", "-", "=", "-").Replace(t.Name())), "evenly")
				namespace := "spread" + rest
				if strings.Contains(kind, "http2") {
					namespace += "-http1"
				}
				spreadsWithin(t, concurrency, func(round int) spread {
					dials := countDials(config)
					found := lifeOfItems(t, cluster, config, concurrency, fmt.Sprintf("%s-%d", namespace, round))
					if got := int(dials.Load()); got < 1 || got > connectionsMax {
						t.Errorf("the client needed %d connections", got)
					}
					return found
				})
			})
		}
	}
}

// spreadsWithin measures shares, which must be within 3 % of what they should be. One at a time, that is the same for all.
// Where several ask at once, what is balanced is work in flight: a server that takes longer than the others, on a machine
// that it shares with everything else, rightly gets less, as much less as it takes longer (Little's law). So a share may be
// anywhere from the same for all to what the servers' times make of it, and one of three rounds must keep to that. Whatever
// pins requests or prefers a server fails them all, since who gets more than the others does not become faster by it.
func spreadsWithin(t *testing.T, concurrency int, measure func(round int) spread) {
	t.Helper()
	const tolerance = 0.03
	rounds := 1
	if concurrency > 1 {
		rounds = 3
	}
	for round := range rounds {
		found := measure(round)
		total, _ := maxToMean(found.requests)
		even, speeds := make([]float64, len(found.requests)), make([]float64, len(found.requests))
		sum := 0.0
		for i := range speeds {
			even[i] = found.requests[i] * float64(len(found.requests)) / total
			speeds[i] = found.requests[i] / found.seconds[i]
			sum += speeds[i]
		}
		within := true
		for i := range speeds {
			speeds[i] *= float64(len(speeds)) / sum
			if concurrency == 1 {
				speeds[i] = 1
			}
			within = within && even[i] >= min(1, speeds[i])-tolerance && even[i] <= max(1, speeds[i])+tolerance
		}
		figure(t, "round %d: %d requests, shares to their mean %.3f, the servers' speeds %.3f", round+1, int(total), even, speeds)
		if within {
			return
		}
	}
	t.Errorf("in %d rounds the shares never were within %.2f of what they should be", rounds, tolerance)
}

// lifeOfItems makes 3000 requests for objects of a new namespace, and tells how the servers shared them.
func lifeOfItems(t *testing.T, cluster *harness.Cluster, config *rest.Config, concurrency int, namespace string) spread {
	t.Helper()
	const items = 500
	const requests = items * requestsPerItem
	ctx := within(t, 3*time.Minute)
	makeNamespace(ctx, t, cluster, namespace)
	config.UserAgent = namespace
	client := clientset(t, config)
	// Outside of the count, being no requests for an object of this namespace.
	findAll(t, cluster, func(event *harness.AuditEvent) bool { return event.UserAgent == namespace }, func() error {
		_, err := client.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	})

	var next, failed atomic.Int64
	started := time.Now()
	var working sync.WaitGroup
	for range concurrency {
		working.Go(func() {
			for {
				item := next.Add(1)
				if item > items {
					return
				}
				if err := oneItem(ctx, client, namespace, fmt.Sprintf("item-%d", item)); err != nil {
					if failed.Add(1) <= 5 {
						t.Errorf("item %d: %v", item, err)
					}
				}
			}
		})
	}
	working.Wait()
	elapsed := time.Since(started)

	found := countShares(t, cluster, func(event *harness.AuditEvent) bool {
		return event.UserAgent == namespace && event.ObjectRef.Namespace == namespace && event.Stage == harness.StageComplete
	}, requests)
	total, _ := maxToMean(found.requests)
	figure(t, "%d requests in %.1f s, %d failed", requests, elapsed.Seconds(), failed.Load())
	if int(total) != requests {
		t.Errorf("the audit logs hold %d requests instead of %d", int(total), requests)
	}
	if failed.Load() > 0 {
		t.Errorf("%d items failed", failed.Load())
	}
	return found
}

// findAll asks until each server has had such a request: before there is a connection to one, others get its share.
func findAll(t *testing.T, cluster *harness.Cluster, such func(*harness.AuditEvent) bool, ask func() error) {
	t.Helper()
	for {
		for range 10 {
			if err := ask(); err != nil {
				t.Fatal(err)
			}
		}
		events := must[[][]harness.AuditEvent](t)(cluster.ReadAudit(such))
		if !slices.ContainsFunc(events, func(seen []harness.AuditEvent) bool { return len(seen) == 0 }) {
			return
		}
	}
}

// Connections of HTTP/1.1 pin nothing: each finds all servers, and fifty of them are as well balanced as one.
func TestFiftyConnectionsOfOneClientAreSpreadAsEvenlyAsOne(t *testing.T) {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	certificate := testerCertificate(t, cluster)
	for identity, config := range map[string]func() *rest.Config{
		"token":       func() *rest.Config { return proxy.Config(harness.TesterToken, nil) },
		"certificate": func() *rest.Config { return proxy.Config("", certificate) },
	} {
		for _, connections := range []int{1, 50} {
			t.Run(fmt.Sprintf("%s/connections=%d", identity, connections), func(t *testing.T) {
				spreadsWithin(t, connections, func(round int) spread {
					return getsOfConnections(t, cluster, config, connections, fmt.Sprintf("%s-%d-connections-%d", identity, connections, round))
				})
			})
		}
	}
}

// getsOfConnections makes 3000 requests, each connection as many as the others, a few at a time.
func getsOfConnections(t *testing.T, cluster *harness.Cluster, config func() *rest.Config, connections int, agent string) spread {
	t.Helper()
	const requests, atOnce = 3000, 4
	ctx := within(t, 3*time.Minute)
	var dials []*atomic.Int64
	var clients []http.RoundTripper
	for i := range connections {
		own := withoutHTTP2(config())
		own.UserAgent = fmt.Sprintf("%s %d", agent, i)
		dials = append(dials, countDials(own))
		clients = append(clients, must[http.RoundTripper](t)(rest.TransportFor(own)))
	}
	first := agent + "-first"
	findAll(t, cluster, func(event *harness.AuditEvent) bool { return event.AuditID == first }, func() error {
		return oneGet(ctx, clients[0], config().Host, first)
	})
	turns := make(chan struct{}, atOnce)
	var working sync.WaitGroup
	for _, client := range clients {
		working.Go(func() {
			for range requests / connections {
				turns <- struct{}{}
				err := oneGet(ctx, client, config().Host, "")
				<-turns
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	working.Wait()
	for i := range connections {
		if got := dials[i].Load(); got != 1 {
			t.Errorf("client %d needed %d connections", i, got)
		}
	}
	mine := func(event *harness.AuditEvent) bool {
		return strings.HasPrefix(event.UserAgent, agent+" ") && event.AuditID != first && event.Stage == harness.StageComplete
	}
	found := countShares(t, cluster, mine, requests)
	if total, _ := maxToMean(found.requests); int(total) != requests {
		t.Errorf("the audit logs hold %d requests instead of %d", int(total), requests)
	}
	servers := map[string]int{}
	for _, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(mine)) {
		seen := map[string]bool{}
		for i := range events {
			seen[events[i].UserAgent] = true
		}
		for client := range seen {
			servers[client]++
		}
	}
	for client, count := range servers {
		if count != len(cluster.Servers) {
			t.Errorf("the %d requests of connection %q came to %d servers", requests/connections, client, count)
		}
	}
	return found
}

// oneGet asks under this audit id; without one the server makes its own.
func oneGet(ctx context.Context, client http.RoundTripper, host, id string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/api/v1/namespaces/default", nil)
	if err != nil {
		return err
	}
	if id != "" {
		request.Header.Set("Audit-ID", id)
	}
	response, err := client.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err = io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// spread is how the servers shared requests: how many, and how long these took in all.
type spread struct {
	requests, seconds []float64
}

// countShares counts events by server. A server writes an event after its answer, so the last ones
// may be a moment late; any above the expected number would show after the pause.
func countShares(t *testing.T, cluster *harness.Cluster, keep func(*harness.AuditEvent) bool, expected int) spread {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		time.Sleep(200 * time.Millisecond)
		events := must[[][]harness.AuditEvent](t)(cluster.ReadAudit(keep))
		found, total := spread{make([]float64, len(events)), make([]float64, len(events))}, 0
		for i := range events {
			found.requests[i] = float64(len(events[i]))
			for j := range events[i] {
				found.seconds[i] += events[i][j].At.Sub(events[i][j].Received).Seconds()
			}
			total += len(events[i])
		}
		if total >= expected || time.Now().After(deadline) {
			return found
		}
	}
}

func maxToMean(values []float64) (sum, ratio float64) {
	largest := 0.0
	for _, value := range values {
		sum += value
		largest = max(largest, value)
	}
	if sum == 0 {
		return 0, 0
	}
	return sum, largest * float64(len(values)) / sum
}

func TestSlowServerGetsNoMoreWorkInFlightThanTheOthers(t *testing.T) {
	cluster := sharedCluster(t)
	ctx := within(t, 2*time.Minute)
	relay := must[*harness.DelayRelay](t)(harness.StartDelayRelay(cluster.Servers[0].Address, 20*time.Millisecond))
	t.Cleanup(relay.Close)
	backends := cluster.Addresses()
	backends[0] = relay.Address

	measure := func(name string, flags ...string) float64 {
		proxy, err := cluster.StartProxy(sluiceBinary(t), harness.ProxyOptions{Backends: backends, Flags: flags})
		if err != nil {
			t.Fatal(err)
		}
		defer proxy.Close()
		inFlight, shares := inFlightByServer(ctx, t, cluster, proxy.Config(harness.TesterToken, nil), name)
		_, ratio := maxToMean(inFlight)
		figure(t, "%s: requests by server %v, mean in flight %.2f, max/mean %.2f", name, shares, inFlight, ratio)
		return ratio
	}
	if ratio := measure("power-of-two"); ratio > 1.5 {
		t.Errorf("power of two choices: in-flight max/mean is %.2f, above 1.5", ratio)
	}
	if ratio := measure("random", "--balance", "random"); ratio <= 1.5 {
		t.Errorf("random: in-flight max/mean is %.2f: the slow server does not show, so this test cannot tell", ratio)
	}
}

// inFlightByServer sends GETs, ten at a time, and tells how many were under way at each server on
// average: the sum of their durations over the time of the whole (Little's law). The audit logs tell
// which server had which request. Ten at a time leave the processors some room: where everything waits
// for them, no server looks slow.
func inFlightByServer(ctx context.Context, t *testing.T, cluster *harness.Cluster, config *rest.Config, name string) (inFlight, shares []float64) {
	t.Helper()
	const requests, concurrency = 3000, 10
	var mutex sync.Mutex
	durations := map[string]time.Duration{}
	config.UserAgent = "in-flight-" + name
	countDials(config)
	transport := must[http.RoundTripper](t)(rest.TransportFor(config))
	get := func(id string) error {
		started := time.Now()
		if err := oneGet(ctx, transport, config.Host, id); err != nil {
			return err
		}
		mutex.Lock()
		defer mutex.Unlock()
		durations[id] = time.Since(started)
		return nil
	}
	// The token earns its place, and connections to all servers get their time to open.
	for i := range 50 {
		if err := get(fmt.Sprintf("%s-warm-%d", name, i)); err != nil {
			t.Fatal(err)
		}
	}
	clear(durations)
	var next atomic.Int64
	started := time.Now()
	var working sync.WaitGroup
	for range concurrency {
		working.Go(func() {
			for {
				i := next.Add(1)
				if i > requests {
					return
				}
				if err := get(fmt.Sprintf("%s-%d", name, i)); err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
			}
		})
	}
	working.Wait()
	elapsed := time.Since(started)

	measured := func(event *harness.AuditEvent) bool { _, found := durations[event.AuditID]; return found }
	shares = countShares(t, cluster, measured, requests).requests
	inFlight = make([]float64, len(cluster.Servers))
	for i, events := range must[[][]harness.AuditEvent](t)(cluster.ReadAudit(measured)) {
		for _, event := range events {
			inFlight[i] += durations[event.AuditID].Seconds() / elapsed.Seconds()
		}
	}
	return inFlight, shares
}
