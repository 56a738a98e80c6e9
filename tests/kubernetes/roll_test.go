// SPDX-License-Identifier: GPL-3.0-or-later
//
// All API servers are restarted, one soon after the other. Each comes back without the history that
// watches need to go on, and tells those that were elsewhere to list everything again.

package kubernetes

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	rollStep     = 50 * time.Second / harness.ServerCount
	rollLists    = 20
	rollCurrent  = 10 * time.Second
	rollDowntime = time.Second
)

// survivors writes past the proxy, at whichever server is there.
type survivors []*kubernetes.Clientset

func (s survivors) write(do func(*kubernetes.Clientset) error) (err error) {
	for _, client := range s {
		if err = do(client); err == nil || apierrors.IsAlreadyExists(err) {
			return nil
		}
	}
	return err
}

func (s survivors) mark(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	for _, kind := range kinds {
		err := s.write(func(client *kubernetes.Clientset) error {
			return kind.create(ctx, client, metav1.ObjectMeta{Name: "marker-" + name})
		})
		if err != nil {
			t.Fatalf("write marker %s of %s: %v", name, kind.name, err)
		}
	}
}

// keepBusy changes a config map about twenty times a second until the test ends: the revision
// moves on, and watches of what does not change fall behind it.
func (s survivors) keepBusy(ctx context.Context, t *testing.T) {
	t.Helper()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "busy"}}
	if err := s.write(func(client *kubernetes.Clientset) error {
		_, err := client.CoreV1().ConfigMaps(watchedObjects).Create(ctx, object, metav1.CreateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"turn":"%d"}}}`, i)
			if err := s.write(func(client *kubernetes.Clientset) error {
				_, err := client.CoreV1().ConfigMaps(watchedObjects).Patch(ctx, "busy", types.MergePatchType, patch, metav1.PatchOptions{})
				return err
			}); err != nil && ctx.Err() == nil {
				t.Errorf("no server takes a change: %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// Each kind of object changes once between two restarts, as even quiet ones do in a cluster.
func TestAFastRollOfAllServersCostsFewLists(t *testing.T) {
	lists := roll(t, true)
	if lists > rollLists {
		t.Errorf("%d lists, more than %d", lists, rollLists)
	}
}

// What did not change at all while its server was the last one must be listed; but once, and
// nothing else.
func TestAFastRollOfAllServersListsWhatIsQuietOnceAtMost(t *testing.T) {
	quiet := informerClients * (len(kinds) - 2)
	if lists := roll(t, false); lists > quiet {
		t.Errorf("%d lists, more than %d informers of quiet kinds", lists, quiet)
	}
}

func roll(t *testing.T, changes bool) (lists int) {
	t.Helper()
	cluster := ownCluster(t, harness.ClusterOptions{})
	// Beside what is tested: SLUICE_ROLL_FLAG=--watch-history-age=0s shows what a roll costs without it.
	var flags []string
	if more := os.Getenv("SLUICE_ROLL_FLAG"); more != "" {
		flags = append(flags, more)
	}
	proxy := startProxy(t, cluster, harness.ProxyOptions{Flags: flags})
	certificate := testerCertificate(t, cluster)
	ctx := within(t, 6*time.Minute)
	makeNamespace(ctx, t, cluster, watchedObjects)
	var writers survivors
	for i := range cluster.Servers {
		writers = append(writers, clientset(t, cluster.Direct(i, harness.AdminToken)))
	}
	writers.keepBusy(ctx, t)
	fleet := startFleet(ctx, t, func(client int) *rest.Config {
		if client%2 == 0 {
			return proxy.Config("", certificate)
		}
		return proxy.Config(harness.TesterToken, nil)
	})
	time.Sleep(settleLong)

	began := time.Now()
	for i, server := range cluster.Servers {
		server.Lose()
		if changes {
			mark := fmt.Sprintf("roll-%d", i)
			writers.mark(ctx, t, mark)
			fleet.awaitMarker(t, mark, rollCurrent)
		}
		time.Sleep(rollDowntime)
		if err := cluster.Restart(server); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * rollStep)))
	}
	took := time.Since(began)
	writers.mark(ctx, t, "end")
	fleet.awaitMarker(t, "end", rollCurrent)
	time.Sleep(durationFromEnvironment(t, "SLUICE_QUIET_PERIOD", time.Minute))

	resumed := 0
	for _, server := range cluster.Servers {
		listed, went := startsSince(t, server, began)
		lists += listed
		resumed += went
	}
	moved := must[map[string]float64](t)(proxy.Samples("sluice_replays_total", "cause"))["no_history"]
	held, _, err := proxy.Metric("sluice_watches_held_total")
	if err != nil {
		t.Fatal(err)
	}
	expired, _, err := proxy.Metric("sluice_watches_expired_total")
	if err != nil {
		t.Fatal(err)
	}
	figure(t, "a roll of %d servers in %.0f s made %d informers list %d times (%d watches began at servers, %.0f were held back, %.0f moved, %.0f expired)",
		len(cluster.Servers), took.Seconds(), fleet.size(), lists, resumed, held, moved, expired)
	return lists
}
