// SPDX-License-Identifier: GPL-3.0-or-later
//
// Three API servers are rolled gracefully, one after the other, and then killed one by one, under informers, reads and writes,
// beside everybody else who watches. Nobody lists, nothing fails, nothing is lost and nothing happens twice.

package kubernetes

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	// Of an equal part of the watches.
	rollShare = 1.35
	// Bookmarks, by which quiet informers stay current, come once a minute. A faster roll has writes instead.
	bookmarksWithin = 90 * time.Second
	rollEndsWithin  = 2 * time.Minute
)

// longRoll is what the steps of one have in common.
type longRoll struct {
	cluster *harness.Cluster
	proxy   *harness.Proxy
	fleet   *fleet
	load    *rollLoad
	others  *beside
	pause   time.Duration
	restart func(*harness.APIServer) error
	synced  time.Time
	begun   []time.Time // When each server was started.
	old     map[int]bool
	slowest time.Duration
}

// rollSize is how much there is beside a roll; the environment may say otherwise.
type rollSize struct {
	clients, writes, reads int
	pause                  time.Duration
}

func TestARollIsNoticedByNobody(t *testing.T) {
	kills := countFromEnvironment(t, "SLUICE_ROLL_KILLS", harness.ServerCount)
	size := rollSize{clients: 40, writes: 500, reads: 2000, pause: 2 * time.Minute}
	ctx, r := startLongRoll(t, size, harness.ServerCount+kills, harness.ClusterOptions{})
	for number := range r.cluster.Servers {
		r.replace(ctx, t, number, "rolled", terminate)
	}
	r.load.lossBegan.Store(true)
	for number := range kills {
		r.replace(ctx, t, number, "killed", kill)
	}
	r.finish(ctx, t, fmt.Sprintf("%d servers rolled and %d killed", len(r.cluster.Servers), kills))
}

// startLongRoll starts what a roll of so many steps is beside, and waits until it is calm.
func startLongRoll(t *testing.T, size rollSize, steps int, options harness.ClusterOptions) (context.Context, *longRoll) {
	t.Helper()
	clients := countFromEnvironment(t, "SLUICE_ROLL_CLIENTS", size.clients)
	r := &longRoll{pause: durationFromEnvironment(t, "SLUICE_ROLL_PAUSE", size.pause), old: map[int]bool{}}
	options.ShutdownDelay = shutdownDelay
	if r.pause < time.Minute {
		options.RequestTimeout = 15 * time.Second
	}
	r.cluster = ownCluster(t, options)
	r.restart = r.cluster.Restart
	for number := range r.cluster.Servers {
		r.begun, r.old[number] = append(r.begun, time.Now()), true
	}
	r.proxy = startProxy(t, r.cluster, harness.ProxyOptions{})
	ctx := within(t, time.Duration(steps)*(r.pause+rollEndsWithin)+5*time.Minute)
	for _, namespace := range []string{watchedObjects, harness.LedgerNamespace} {
		makeNamespace(ctx, t, r.cluster, namespace)
	}
	certificate := testerCertificate(t, r.cluster)
	config := func(number int) *rest.Config {
		if number%2 == 0 {
			return r.proxy.Config("", certificate)
		}
		return r.proxy.Config(harness.TesterToken, nil)
	}
	began := time.Now()
	r.fleet = startFleetOf(ctx, t, clients, config)
	r.synced = time.Now()
	admin := clientset(t, r.cluster.Direct(0, harness.AdminToken))
	r.load = startRollLoad(ctx, t, config, admin, countFromEnvironment(t, "SLUICE_ROLL_WRITES", size.writes),
		countFromEnvironment(t, "SLUICE_ROLL_READS", size.reads))
	r.keepBusy(ctx, t, config(1))
	r.others = startBeside(ctx, t, r.cluster, r.proxy)
	time.Sleep(settleLong)
	figure(t, "%d informers synced in %.1f s", r.fleet.size(), r.synced.Sub(began).Seconds())
	r.checkShares(t, "at the beginning")
	return ctx, r
}

// finish ends everything and looks at what it has seen of it.
func (r *longRoll) finish(ctx context.Context, t *testing.T, what string) {
	t.Helper()
	r.load.finish(ctx, t, clientset(t, r.cluster.Direct(0, harness.AdminToken)))
	r.others.finish(t)
	lists, resumed := 0, 0
	for _, server := range r.cluster.Servers {
		l, n := startsSince(t, server, r.synced)
		lists, resumed = lists+l, resumed+n
	}
	figure(t, "%s, %v after each: %d watches resumed, %d lists, all informers current within %.1f s of each end",
		what, r.pause, resumed, lists, r.slowest.Seconds())
	if lists != 0 {
		t.Errorf("%d lists, last watch error: %v", lists, r.fleet.lastError.Load())
	}
	if resumed < r.fleet.size() {
		t.Errorf("only %d watches went on: the test does not see", resumed)
	}
	if r.slowest > currentWithinBusy {
		t.Errorf("the last informer was current after %v", r.slowest)
	}
	trusted, _, err := r.proxy.Metric("backend_trusts_identity")
	if err != nil || int(trusted) != len(r.cluster.Servers) {
		t.Errorf("%v of %d servers are trusted with identities (%v)", trusted, len(r.cluster.Servers), err)
	}
}

// replace ends a server, sees that everybody is current, and brings it back.
func (r *longRoll) replace(ctx context.Context, t *testing.T, number int, how string, end func(*testing.T, *harness.APIServer)) {
	t.Helper()
	server := r.cluster.Servers[number]
	name := fmt.Sprintf("%s-%d", how, number)
	moment := time.Now()
	end(t, server)
	// Written past the proxy, at a server that stays.
	elsewhere := clientset(t, r.cluster.Direct((number+1)%len(r.cluster.Servers), harness.AdminToken))
	mark(ctx, t, elsewhere, name)
	r.slowest = max(r.slowest, r.fleet.awaitMarker(t, name, currentWithinBusy+10*time.Second).Sub(moment))
	select {
	case <-server.Done():
	case <-time.After(rollEndsWithin):
		t.Fatalf("%s did not end", server.Name)
	}
	gone := time.Since(moment)
	mark(ctx, t, elsewhere, name+"-gone")
	r.fleet.awaitMarker(t, name+"-gone", currentWithinBusy+10*time.Second)
	r.old[number], r.begun[number] = false, time.Now()
	r.checkShares(t, "while "+name)

	r.begun[number] = time.Now()
	if err := r.restart(server); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the proxy sees "+server.Name, func() bool {
		ready, _, err := r.proxy.Metric("backend_ready")
		return err == nil && int(ready) == len(r.cluster.Servers)
	})
	back := time.Since(moment)
	time.Sleep(r.pause)
	if r.pause < bookmarksWithin {
		mark(ctx, t, elsewhere, name+"-back")
		r.fleet.awaitMarker(t, name+"-back", currentWithinBusy)
	}
	r.checkShares(t, "after "+name)
	t.Logf("%s: gone after %.1f s, back after %.1f s", name, gone.Seconds(), back.Seconds())
	if t.Failed() && ctx.Err() != nil {
		t.FailNow()
	}
}

// checkShares looks at those servers that are old enough to be given any watch, where there are two of them at least: a
// young one has no history, and gets few.
func (r *longRoll) checkShares(t *testing.T, when string) {
	t.Helper()
	sum, most, among := 0, 0, 0
	var all []int
	for number, server := range r.cluster.Servers {
		held := heldSince(t, server, r.begun[number])
		all = append(all, held)
		if !r.old[number] {
			continue
		}
		among++
		sum, most = sum+held, max(most, held)
	}
	figure(t, "watches by server %s: %v", when, all)
	if among < 2 {
		return
	}
	if share := float64(sum) / float64(among); float64(most) > rollShare*share {
		t.Errorf("%s one of %d old servers holds %d watches, more than %.2f times its share of %.0f", when, among, most, rollShare, share)
	}
}

// heldSince counts the informers' watches that are open at a server, of those that began after a moment: of what was lost
// with a server its log knows no end.
func heldSince(t *testing.T, server *harness.APIServer, moment time.Time) int {
	t.Helper()
	open := map[string]bool{}
	for _, event := range must[[]harness.AuditEvent](t)(harness.ReadAudit(server.Audit, func(event *harness.AuditEvent) bool {
		return event.UserAgent == informerAgent && event.Verb == "watch" && event.Received.After(moment)
	})) {
		if event.Stage == harness.StageStarted {
			open[event.AuditID] = true
		} else {
			delete(open, event.AuditID)
		}
	}
	return len(open)
}

// keepBusy changes config maps and leases about twenty times a second, through the proxy: no server stays.
func (r *longRoll) keepBusy(ctx context.Context, t *testing.T, config *rest.Config) {
	t.Helper()
	client := clientset(t, config)
	const objects = 10
	for i := range objects {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("busy-%d", i)}}
		if _, err := client.CoreV1().ConfigMaps(watchedObjects).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	running.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"turn":"%d"}}}`, i)
			_, err := client.CoreV1().ConfigMaps(watchedObjects).Patch(ctx, fmt.Sprintf("busy-%d", i%objects), types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil && !r.load.isUnknown(err) && !apierrors.IsConflict(err) {
				r.load.fail("change: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
}
