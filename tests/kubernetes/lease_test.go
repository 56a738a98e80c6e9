// SPDX-License-Identifier: GPL-3.0-or-later
//
// A leader renews its lease beside a watch that has far more to say than its connection carries.

package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	leaseNamespace = "leases"
	linkBytes      = 5_000_000 // A second.
	watchedBytes   = 60_000_000
	renewals       = 15 // At most; so many as begin before four fifths of the watch have come.
	renewalsSeen   = 4
	renewEvery     = 200 * time.Millisecond
	renewWithin    = 5 * time.Second // A leader's patience is ten.
)

// slowLink is a connection that carries linkBytes a second towards its client.
type slowLink struct {
	net.Conn
	free time.Time
}

func (l *slowLink) Read(room []byte) (int, error) {
	time.Sleep(time.Until(l.free))
	n, err := l.Conn.Read(room[:min(len(room), 16384)])
	l.free = time.Now().Add(time.Duration(n) * time.Second / linkBytes)
	return n, err
}

func TestALeaseIsRenewedBesideALargeWatchOfTheSameConnection(t *testing.T) {
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	ctx := within(t, 3*time.Minute)
	makeNamespace(ctx, t, cluster, leaseNamespace)
	admin := clientset(t, cluster.Direct(0, harness.AdminToken))
	const objectBytes = 900_000
	for number := range watchedBytes / objectBytes {
		object := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("large-%d", number)},
			Data:       map[string]string{"a": strings.Repeat("x", objectBytes)},
		}
		if _, err := admin.CoreV1().ConfigMaps(leaseNamespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		_ = admin.CoreV1().ConfigMaps(leaseNamespace).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
	})

	direct := slowestRenewal(ctx, t, "direct", cluster.Direct(0, harness.AdminToken))
	proxied := slowestRenewal(ctx, t, "proxied", proxy.Config(harness.AdminToken, nil))
	figure(t, "the slowest renewal beside a watch of %d MB took %.2f s (%.2f s directly)", watchedBytes/1_000_000, proxied.Seconds(), direct.Seconds())
}

func slowestRenewal(ctx context.Context, t *testing.T, name string, config *rest.Config) time.Duration {
	t.Helper()
	config.QPS = -1
	config.DisableCompression = true
	connections := 0
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		connections++
		connection, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &slowLink{Conn: connection}, nil
	}
	client := clientset(t, config)
	lease, err := client.CoordinationV1().Leases(leaseNamespace).Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watching, enough := context.WithCancel(ctx)
	defer enough()
	events, err := client.CoreV1().RESTClient().Get().Namespace(leaseNamespace).Resource("configmaps").Param("watch", "1").Param("resourceVersion", "0").Stream(watching)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var seen atomic.Int64
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			n, err := io.CopyN(io.Discard, events, 16384)
			seen.Add(n)
			if err != nil {
				return
			}
		}
	}()

	var slowest time.Duration
	done := 0
	for ; done < renewals && seen.Load() < watchedBytes*4/5; done++ {
		began := time.Now()
		renewing, cancel := context.WithTimeout(ctx, renewWithin)
		now := metav1.NowMicro()
		lease.Spec.RenewTime = &now
		lease, err = client.CoordinationV1().Leases(leaseNamespace).Update(renewing, lease, metav1.UpdateOptions{})
		cancel()
		if err != nil {
			t.Fatalf("%s, renewal %d: %v", name, done, err)
		}
		slowest = max(slowest, time.Since(began))
		time.Sleep(renewEvery - min(renewEvery, time.Since(began)))
	}
	enough()
	<-over
	if done < renewalsSeen || seen.Load() < linkBytes/2 || connections != 1 {
		t.Errorf("%s: %d renewals beside %d bytes of the watch over %d connections: the test does not see", name, done, seen.Load(), connections)
	}
	return slowest
}
