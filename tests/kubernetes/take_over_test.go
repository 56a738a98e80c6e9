// SPDX-License-Identifier: GPL-3.0-or-later
//
// The program is upgraded while it serves: another process takes over, again and again, and neither
// informers nor clients that come at that moment notice.

package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	takeOverWithin = 10 * time.Second
	// A busy watch ends without a list when its first burst is over, half a minute after it began.
	takeOverDrain = 40 * time.Second
)

// newcomers come on connections of their own, one after the other, and ask for one thing.
type newcomers struct {
	served atomic.Int64
	mutex  sync.Mutex
	failed []string
}

func (n *newcomers) come(ctx context.Context, t *testing.T, config *rest.Config) {
	t.Helper()
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	request := must[*http.Request](t)(http.NewRequest(http.MethodGet, config.Host+"/version", nil))
	request.Header.Set("Authorization", "Bearer "+config.BearerToken)
	for ctx.Err() == nil {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: tls, DisableKeepAlives: true}, Timeout: 20 * time.Second}
		response, err := client.Do(request)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		switch {
		case err != nil:
			n.fail(err.Error())
		case response.StatusCode != http.StatusOK:
			n.fail(response.Status)
		default:
			n.served.Add(1)
		}
	}
}

func (n *newcomers) fail(why string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.failed = append(n.failed, time.Now().Format("15:04:05.000 ")+why)
}

func TestTakeOversAreNoticedByNobody(t *testing.T) {
	cluster := ownCluster(t, harness.ClusterOptions{})
	proxy := must[*harness.Proxy](t)(cluster.StartProxy(sluiceBinary(t), harness.ProxyOptions{
		Flags: []string{"--shutdown-delay-duration=0s", "--drain-timeout=" + takeOverDrain.String()},
	}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(proxy.Tail(40))
		}
		proxy.EndAll()
	})
	ctx := within(t, 30*time.Minute)
	writer := clientset(t, cluster.Direct(1, harness.AdminToken))
	makeNamespace(ctx, t, cluster, watchedObjects)
	keepBusy(ctx, t, writer)
	fleet := startFleet(ctx, t, func(int) *rest.Config { return proxy.Config(harness.TesterToken, nil) })
	time.Sleep(settleLong)
	synced := time.Now()

	var guests newcomers
	coming, enough := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { guests.come(coming, t, proxy.Config(harness.TesterToken, nil)) })
	}
	rounds := countFromEnvironment(t, "SLUICE_TAKE_OVERS", 20)
	for round := range rounds {
		before := proxy.Processes()
		if len(before) != 1 {
			t.Fatalf("round %d begins with the processes %v", round, before)
		}
		if err := syscall.Kill(before[0], syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, takeOverWithin, "another process", func() bool { return len(proxy.Processes()) == 2 })
		eventually(t, takeOverWithin+takeOverDrain, "the old process is gone", func() bool {
			now := proxy.Processes()
			return len(now) == 1 && now[0] != before[0]
		})
		if round == 0 {
			figure(t, "the first take-over took %v, its drain included", time.Since(began).Round(10*time.Millisecond))
		}
		name := fmt.Sprintf("round-%d", round)
		mark(ctx, t, writer, name)
		fleet.awaitMarker(t, name, currentWithin)
		if t.Failed() {
			break
		}
	}
	enough()
	all.Wait()
	lists, resumed := 0, 0
	for _, server := range cluster.Servers {
		l, r := startsSince(t, server, synced)
		lists, resumed = lists+l, resumed+r
	}
	figure(t, "%d take-overs: %d new connections served and %d not, %d informers, %d watches resumed, %d lists",
		rounds, guests.served.Load(), len(guests.failed), fleet.size(), resumed, lists)
	for i, why := range guests.failed {
		if i < 10 {
			t.Errorf("a new connection: %s", why)
		}
	}
	if lists != 0 {
		t.Errorf("%d lists", lists)
	}
}
