// SPDX-License-Identifier: GPL-3.0-or-later
//
// API servers are found by the slice of their own Service, default/kubernetes, which they keep
// themselves, and which is forged: nobody else is used, and nobody who lives is lost. In a network
// namespace, where the servers have addresses of their own and all of them one port.

package kubernetes

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"sluice/tests/kubernetes/harness"
)

const (
	ownPort       = "6443"
	gatewayHost   = "192.0.2.10"   // Of the gateway, which listens there at the servers' port.
	foreignHost   = "192.0.2.77"   // In the networks, and no API server, whatever its certificate says.
	elsewhereHost = "198.51.100.7" // Outside.
)

func ownHost(server int) string { return fmt.Sprintf("192.0.2.%d", server+1) }

// foreigner answers everything well, with a certificate of the cluster's authority, and notes who
// asks it for more than a probe does.
func foreigner(t *testing.T, cluster *harness.Cluster) (asked *atomic.Int64, misled *atomic.Int64) {
	t.Helper()
	asked, misled = new(atomic.Int64), new(atomic.Int64)
	pair := must[*harness.Pair](t)(cluster.CA.Issue(harness.Leaf{CommonName: "foreigner", Serving: true, Names: []string{harness.ServerName}}))
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			user := r.Header.Get("X-Remote-User")
			if r.Header.Get("Authorization") != "" || (user != "" && !strings.HasPrefix(user, "sluice:probe:")) {
				misled.Add(1)
			}
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "{}")
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair.TLS}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12},
	}
	listener := must[net.Listener](t)(net.Listen("tcp", net.JoinHostPort(foreignHost, ownPort)))
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
	return asked, misled
}

func TestServersAreFoundByTheirOwnSlice(t *testing.T) {
	programsDir(t)
	sluiceBinary(t)
	if !harness.InNamespace() {
		stopSharedCluster()
		err := harness.RunInNamespace(t.Name())
		if errors.Is(err, harness.ErrNoNamespace) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatalf("in a network namespace: %v", err)
		}
		return
	}
	ctx := within(t, 4*time.Minute)
	if err := harness.AddAddresses(ownHost(0), ownHost(1), ownHost(2), ownHost(3), gatewayHost, foreignHost); err != nil {
		t.Fatal(err)
	}
	cluster := ownCluster(t, harness.ClusterOptions{
		AddressOf: func(server int) string { return net.JoinHostPort(ownHost(server), ownPort) },
		Flags:     []string{"--endpoint-reconciler-type=lease"},
		// One that goes refuses nobody before the gateway knows.
		ShutdownDelay: 3 * time.Second,
	})
	asked, misled := foreigner(t, cluster)
	start := func(flags []string, backends ...string) *harness.Gateway {
		return startGateway(t, map[string]*harness.Cluster{blue: cluster}, harness.GatewayOptions{Flags: flags, Before: func(g *harness.Gateway) error {
			name := harness.ServerNameOf(blue)
			return g.WriteLines(blue,
				"server-names="+name+",*."+name,
				"tls-cert-file=blue/serving.crt", "tls-private-key-file=blue/serving.key", "client-ca-file=blue/client-ca.crt",
				"proxy-client-cert-file=blue/front-proxy.crt", "proxy-client-key-file=blue/front-proxy.key",
				"backend-ca-file=blue/backend-ca.crt", "backend-server-name="+harness.ServerName,
				"backend="+strings.Join(backends, ","), "backend-discovery=self", "backend-networks=192.0.2.0/24")
		}})
	}
	get := func(gateway *harness.Gateway, path string) string {
		answer := must[*http.Response](t)(http.Get("http://" + gateway.Admin + path))
		defer answer.Body.Close()
		return string(must[[]byte](t)(io.ReadAll(answer.Body)))
	}
	// entry is what the gateway shows of a backend; "": it has none there.
	entry := func(gateway *harness.Gateway, server int) string {
		_, rest, found := strings.Cut(get(gateway, "/backends"), fmt.Sprintf(`"name":"%s:%s"`, ownHost(server), ownPort))
		if !found {
			return ""
		}
		return strings.SplitN(rest, "}", 2)[0]
	}
	serves := func(gateway *harness.Gateway, server int) bool {
		now := entry(gateway, server)
		return strings.Contains(now, `"health":"ready"`) && !strings.Contains(now, `"leaving":true`)
	}

	// One is written, the others are found.
	began := time.Now()
	gateway := start([]string{"--listen", net.JoinHostPort(gatewayHost, ownPort)}, cluster.Servers[0].Address)
	eventually(t, 20*time.Second, "all three servers serve", func() bool { return serves(gateway, 0) && serves(gateway, 1) && serves(gateway, 2) })
	figure(t, "the two others serve %.1f s after the gateway was started", time.Since(began).Seconds())

	stop := startMakers(ctx, t, cluster, gateway, 20*time.Millisecond)

	// The slice is forged: nobody of them, but the gateway, a foreigner, and somebody elsewhere. The
	// servers put it right within ten seconds, so it is forged again and again.
	slices := clientset(t, cluster.Direct(0, harness.AdminToken)).DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	forge := func() {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			slice, err := slices.Get(ctx, "kubernetes", metav1.GetOptions{})
			if err != nil {
				return err
			}
			yes := true
			slice.Endpoints = nil
			for _, host := range []string{gatewayHost, foreignHost, elsewhereHost} {
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{host}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}})
			}
			_, err = slices.Update(ctx, slice, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var forged time.Time
	forgeAgain := func() {
		if time.Since(forged) > time.Second {
			forge()
			forged = time.Now()
		}
	}
	took := eventually(t, 20*time.Second, "our own address and the one elsewhere are refused", func() bool {
		forgeAgain()
		return strings.Contains(get(gateway, "/clusters"), `"refused":2`)
	})
	figure(t, "our own address and a foreign one are refused %v after they were forged", took)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		forgeAgain()
		for server := range 3 {
			if !serves(gateway, server) {
				t.Fatalf("a forged slice takes server %d away: %s", server, get(gateway, "/backends"))
			}
		}
		if page := get(gateway, "/backends"); strings.Contains(page, foreignHost) || strings.Contains(page, gatewayHost+":"+ownPort) || strings.Contains(page, elsewhereHost) {
			t.Fatalf("a forged slice adds a backend: %s", page)
		}
	}
	if asked.Load() == 0 {
		t.Error("the foreigner was not even tried, so it has shown nothing")
	}
	figure(t, "a foreigner with a certificate of the cluster's was asked %d times by trials, and never for a client", asked.Load())

	// One comes, and one goes in its own time.
	if err := cluster.Servers[2].Drain(); err != nil {
		t.Fatal(err)
	}
	drained := time.Now()
	must[*harness.APIServer](t)(cluster.Add())
	came := time.Now()
	eventually(t, 30*time.Second, "the fourth server serves", func() bool { return serves(gateway, 3) })
	figure(t, "a server that comes serves %.1f s after it is ready", time.Since(came).Seconds())
	answers := stop()
	figure(t, "%d requests meanwhile, of two clients, while the slice was forged, a server went and one came", answers)
	if answers < 200 {
		t.Errorf("%d requests are too few to be told by", answers)
	}

	// The one that is written is lost, and another gateway has it first in its list.
	cluster.Servers[0].Lose()
	second := start(nil, cluster.Servers[0].Address, cluster.Servers[1].Address)
	eventually(t, 20*time.Second, "a gateway whose first address is dead finds the others", func() bool { return serves(second, 1) && serves(second, 3) })
	eventually(t, 60*time.Second, "the server that went is no backend any more", func() bool { return entry(gateway, 2) == "" })
	figure(t, "a server that went is no backend any more %.1f s later", time.Since(drained).Seconds())
	if !serves(gateway, 1) || !serves(gateway, 3) || entry(gateway, 0) == "" {
		t.Errorf("with its only written server lost a gateway has %s", get(gateway, "/backends"))
	}
	for _, each := range []*harness.Gateway{gateway, second} {
		maps := clientset(t, each.ClientOf(blue, cluster.Token(harness.TesterToken), nil)).CoreV1().ConfigMaps(trafficNamespace)
		must[*corev1.ConfigMapList](t)(maps.List(ctx, metav1.ListOptions{Limit: 1}))
	}
	if misled.Load() != 0 {
		t.Errorf("%d requests of clients went to the foreigner", misled.Load())
	}
}
