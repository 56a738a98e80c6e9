// SPDX-License-Identifier: GPL-3.0-or-later
//
// Fifty informers in ten clients, as controllers run them, over resources that change all the time
// and resources that hardly ever do; and the objects by which a test sees that each is current.

package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"sluice/tests/kubernetes/harness"
)

const (
	informerAgent   = "informer-test"
	informerClients = 10
	watchedObjects  = "watched" // The namespace of what the test writes.
)

// kinds are what each client watches. Config maps and leases are the busy ones.
var kinds = []struct {
	name     string
	informer func(informers.SharedInformerFactory) cache.SharedIndexInformer
	create   func(context.Context, *kubernetes.Clientset, metav1.ObjectMeta) error
}{
	{"configmaps",
		func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Core().V1().ConfigMaps().Informer()
		},
		func(ctx context.Context, client *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := client.CoreV1().ConfigMaps(watchedObjects).Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
	{"leases",
		func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Coordination().V1().Leases().Informer()
		},
		func(ctx context.Context, client *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := client.CoordinationV1().Leases(watchedObjects).Create(ctx, &coordinationv1.Lease{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
	{"secrets",
		func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Core().V1().Secrets().Informer()
		},
		func(ctx context.Context, client *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := client.CoreV1().Secrets(watchedObjects).Create(ctx, &corev1.Secret{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
	{"limitranges",
		func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Core().V1().LimitRanges().Informer()
		},
		func(ctx context.Context, client *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := client.CoreV1().LimitRanges(watchedObjects).Create(ctx, &corev1.LimitRange{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
	{"serviceaccounts",
		func(f informers.SharedInformerFactory) cache.SharedIndexInformer {
			return f.Core().V1().ServiceAccounts().Informer()
		},
		func(ctx context.Context, client *kubernetes.Clientset, meta metav1.ObjectMeta) error {
			_, err := client.CoreV1().ServiceAccounts(watchedObjects).Create(ctx, &corev1.ServiceAccount{ObjectMeta: meta}, metav1.CreateOptions{})
			return err
		}},
}

// fleet is the informers, and when each saw which marker.
type fleet struct {
	clients int
	mutex   sync.Mutex
	seen    map[string][]time.Time // By marker: one entry for each informer that saw it.

	lastError atomic.Value
}

// startFleet starts all informers at once and waits until they have synced.
func startFleet(ctx context.Context, t *testing.T, config func(client int) *rest.Config) *fleet {
	t.Helper()
	return startFleetOf(ctx, t, informerClients, config)
}

func startFleetOf(ctx context.Context, t *testing.T, clients int, config func(client int) *rest.Config) *fleet {
	t.Helper()
	f := &fleet{clients: clients, seen: map[string][]time.Time{}}
	var synced []cache.InformerSynced
	for number := range clients {
		settings := config(number)
		settings.UserAgent = informerAgent
		countDials(settings)
		factory := informers.NewSharedInformerFactory(clientset(t, settings), 0)
		for _, kind := range kinds {
			informer := kind.informer(factory)
			handlers := cache.ResourceEventHandlerFuncs{AddFunc: f.note}
			if _, err := informer.AddEventHandler(handlers); err != nil {
				t.Fatal(err)
			}
			err := informer.SetWatchErrorHandler(func(_ *cache.Reflector, err error) {
				f.lastError.Store(fmt.Sprintf("%s: %v", kind.name, err))
			})
			if err != nil {
				t.Fatal(err)
			}
			synced = append(synced, informer.HasSynced)
		}
		factory.Start(ctx.Done())
	}
	for remaining := synced; len(remaining) > 0; time.Sleep(5 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("%d of %d informers have not synced; last error: %v", len(remaining), len(synced), f.lastError.Load())
		}
		for len(remaining) > 0 && remaining[0]() {
			remaining = remaining[1:]
		}
	}
	return f
}

func (f *fleet) size() int { return f.clients * len(kinds) }

func (f *fleet) note(object any) {
	accessor, err := meta.Accessor(object)
	if err != nil || accessor.GetNamespace() != watchedObjects || !strings.HasPrefix(accessor.GetName(), "marker-") {
		return
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.seen[accessor.GetName()] = append(f.seen[accessor.GetName()], time.Now())
}

// mark writes one object of each kind past the proxy.
func mark(ctx context.Context, t *testing.T, writer *kubernetes.Clientset, name string) {
	t.Helper()
	for _, kind := range kinds {
		if err := kind.create(ctx, writer, metav1.ObjectMeta{Name: "marker-" + name}); err != nil {
			t.Fatalf("write marker %s of %s: %v", name, kind.name, err)
		}
	}
}

// awaitMarker waits until every informer has seen a marker and tells when the last one did.
func (f *fleet) awaitMarker(t *testing.T, name string, limit time.Duration) (last time.Time) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		f.mutex.Lock()
		seen := append([]time.Time(nil), f.seen["marker-"+name]...)
		f.mutex.Unlock()
		if len(seen) == f.size() {
			for _, at := range seen {
				if at.After(last) {
					last = at
				}
			}
			return last
		}
		if time.Now().After(deadline) {
			t.Errorf("marker %s reached %d of %d informers within %v; last watch error: %v", name, len(seen), f.size(), limit, f.lastError.Load())
			return time.Now()
		}
	}
}

// keepBusy changes config maps and leases about forty times a second until the test ends.
func keepBusy(ctx context.Context, t *testing.T, writer *kubernetes.Clientset) {
	t.Helper()
	const objects = 10
	for i := range objects {
		object := metav1.ObjectMeta{Name: fmt.Sprintf("busy-%d", i)}
		if _, err := writer.CoreV1().ConfigMaps(watchedObjects).Create(ctx, &corev1.ConfigMap{ObjectMeta: object}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.CoordinationV1().Leases(watchedObjects).Create(ctx, &coordinationv1.Lease{ObjectMeta: object}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	t.Cleanup(func() { stop(); <-done })
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			name, patch := fmt.Sprintf("busy-%d", i%objects), fmt.Appendf(nil, `{"metadata":{"labels":{"turn":"%d"}}}`, i)
			_, err := writer.CoreV1().ConfigMaps(watchedObjects).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
			if err == nil {
				_, err = writer.CoordinationV1().Leases(watchedObjects).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
			}
			if err != nil && ctx.Err() == nil {
				t.Errorf("change %s: %v", name, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// heldBy counts the informers' watches that are open at a server, by its audit log.
func heldBy(t *testing.T, server *harness.APIServer) int {
	t.Helper()
	events := must[[]harness.AuditEvent](t)(harness.ReadAudit(server.Audit, func(event *harness.AuditEvent) bool {
		return event.UserAgent == informerAgent && event.Verb == "watch"
	}))
	open := map[string]bool{}
	for _, event := range events {
		if event.Stage == harness.StageStarted {
			open[event.AuditID] = true
		} else {
			delete(open, event.AuditID)
		}
	}
	return len(open)
}

// delays are how long after a moment the informers saw a marker, the slowest last.
func (f *fleet) delays(name string, moment time.Time) []time.Duration {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	var all []time.Duration
	for _, at := range f.seen["marker-"+name] {
		all = append(all, at.Sub(moment).Round(10*time.Millisecond))
	}
	slices.Sort(all)
	return all
}

// startsSince counts what the informers began at a server after a moment: lists (and watches that
// cost as one), and watches that go on from where they were.
func startsSince(t *testing.T, server *harness.APIServer, moment time.Time) (lists, resumed int) {
	t.Helper()
	seen := map[string]bool{}
	for _, event := range must[[]harness.AuditEvent](t)(harness.ReadAudit(server.Audit, func(event *harness.AuditEvent) bool {
		return event.UserAgent == informerAgent && !event.Received.Before(moment)
	})) {
		if seen[event.AuditID] {
			continue
		}
		seen[event.AuditID] = true
		switch {
		case event.CostsAsList():
			lists++
		case event.Verb == "watch":
			resumed++
		}
	}
	return lists, resumed
}
