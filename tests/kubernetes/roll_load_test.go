// SPDX-License-Identifier: GPL-3.0-or-later
//
// What is asked beside a roll of the API servers: reads and writes at a rate, and a ledger of what was written, by which
// nothing that was acknowledged is missing and nothing has happened twice.

package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	loadConnections = 8 // Of readers, and as many of writers.
	askersAtOnce    = 24
	countersAtOnce  = 8
	readObjects     = 20
)

// rollLoad is reads, creations and updates, each with its own rate.
type rollLoad struct {
	began time.Time
	// Set where a server is ended without a word: what it was about to do nobody knows.
	lossBegan atomic.Bool

	reads, created, updated atomic.Int64
	running                 sync.WaitGroup
	stop                    context.CancelFunc

	mutex    sync.Mutex
	failures []string
	unknown  map[string]bool // Creations of which nobody knows whether they were executed.
	counts   map[string]int  // By counter, as far as it was acknowledged.
	doubts   int             // Updates likewise.
}

func (l *rollLoad) fail(format string, arguments ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

// pace calls do at a rate, by so many at once; where those are too slow, as often as they can.
func (l *rollLoad) pace(ctx context.Context, perSecond, atOnce int, do func(asker, number int)) {
	var next atomic.Int64
	began := time.Now()
	for asker := range atOnce {
		l.running.Go(func() {
			for {
				number := int(next.Add(1)) - 1
				due := began.Add(time.Duration(number) * time.Second / time.Duration(perSecond))
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(due)):
				}
				if ctx.Err() == nil {
					do(asker, number)
				}
			}
		})
	}
}

// startRollLoad asks through the proxy from now on. A quarter of the writes are updates.
func startRollLoad(ctx context.Context, t *testing.T, config func(number int) *rest.Config, admin *kubernetes.Clientset, writes, reads int) *rollLoad {
	t.Helper()
	l := &rollLoad{began: time.Now(), unknown: map[string]bool{}, counts: map[string]int{}}
	for number := range readObjects {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("read-%d", number)}}
		if _, err := admin.CoreV1().ConfigMaps(harness.LedgerNamespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var readers, writers []*kubernetes.Clientset
	for number := range loadConnections {
		readers = append(readers, clientset(t, config(number)))
		writers = append(writers, clientset(t, config(number)))
	}
	var counters []*corev1.PodTemplate
	for number := range countersAtOnce {
		counter := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("counter-%d", number), Annotations: map[string]string{"count": "0"}}}
		counter.Template.Spec.Containers = []corev1.Container{{Name: "none", Image: "none"}}
		counters = append(counters, must[*corev1.PodTemplate](t)(admin.CoreV1().PodTemplates(harness.LedgerNamespace).Create(ctx, counter, metav1.CreateOptions{})))
	}
	var running context.Context
	running, l.stop = context.WithCancel(ctx)
	t.Cleanup(func() { l.stop(); l.running.Wait() })
	// Nothing is cancelled on its way: its outcome would be unknown for our reason.
	l.pace(running, reads, askersAtOnce, func(asker, number int) { l.read(ctx, readers[asker%loadConnections], number) })
	l.pace(running, max(1, writes*3/4), askersAtOnce, func(asker, number int) { l.create(ctx, writers[asker%loadConnections], number) })
	l.pace(running, max(1, writes/4), countersAtOnce, func(asker, _ int) { l.update(ctx, writers[asker%loadConnections], &counters[asker]) })
	return l
}

func (l *rollLoad) read(ctx context.Context, client *kubernetes.Clientset, number int) {
	name := fmt.Sprintf("read-%d", number%readObjects)
	_, err := client.CoreV1().ConfigMaps(harness.LedgerNamespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		l.fail("a read: %v", err)
		return
	}
	l.reads.Add(1)
}

// isUnknown tells whether an answer says that nobody knows the outcome, at a time at which that can be.
func (l *rollLoad) isUnknown(err error) bool {
	status, ok := err.(apierrors.APIStatus)
	return ok && status.Status().Code == 502 && l.lossBegan.Load()
}

func ledgerName(number int) string { return fmt.Sprintf("written-%07d", number) }

func (l *rollLoad) create(ctx context.Context, client *kubernetes.Clientset, number int) {
	name := ledgerName(number)
	event := &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Name: name},
		InvolvedObject: corev1.ObjectReference{Kind: "ConfigMap", Namespace: harness.LedgerNamespace, Name: "read-0"},
		Reason:         "Written", Type: corev1.EventTypeNormal,
	}
	_, err := client.CoreV1().Events(harness.LedgerNamespace).Create(ctx, event, metav1.CreateOptions{})
	switch {
	case err == nil:
		l.created.Add(1)
		return
	case l.isUnknown(err):
	case apierrors.IsAlreadyExists(err):
		l.fail("%s was created twice: %v", name, err)
	default:
		l.fail("%s: %v", name, err)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.unknown[name] = true
}

// update adds one to a counter by the version that it has seen: were an earlier one executed twice, or lost behind its
// acknowledgement, this one would be a conflict.
func (l *rollLoad) update(ctx context.Context, client *kubernetes.Clientset, counter **corev1.PodTemplate) {
	templates := client.CoreV1().PodTemplates(harness.LedgerNamespace)
	before := *counter
	count := l.count(before.Name) + 1
	wanted := before.DeepCopy()
	wanted.Annotations["count"] = fmt.Sprint(count)
	now, err := templates.Update(ctx, wanted, metav1.UpdateOptions{})
	if err != nil && !l.isUnknown(err) {
		l.fail("%s: %v", before.Name, err)
	}
	if err != nil {
		if now, err = templates.Get(ctx, before.Name, metav1.GetOptions{}); err != nil {
			l.fail("%s: %v", before.Name, err)
			return
		}
		var seen int
		_, _ = fmt.Sscan(now.Annotations["count"], &seen)
		if seen != count && seen != count-1 {
			l.fail("%s is at %d behind an update from %d", before.Name, seen, count-1)
		}
		count = seen
		l.mutex.Lock()
		l.doubts++
		l.mutex.Unlock()
	}
	*counter = now
	l.updated.Add(1)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.counts[before.Name] = count
}

func (l *rollLoad) count(counter string) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.counts[counter]
}

// finish ends the load and compares the ledger with what is there.
func (l *rollLoad) finish(ctx context.Context, t *testing.T, admin *kubernetes.Clientset) {
	t.Helper()
	l.stop()
	l.running.Wait()
	seconds := time.Since(l.began).Seconds()
	there := map[string]bool{}
	options := metav1.ListOptions{Limit: 5000}
	for {
		page, err := admin.CoreV1().Events(harness.LedgerNamespace).List(ctx, options)
		if err != nil {
			t.Fatal(err)
		}
		for i := range page.Items {
			there[page.Items[i].Name] = true
		}
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	lost := int(l.created.Load())
	for name := range there {
		if !l.unknown[name] {
			lost--
		}
	}
	for name, count := range l.counts {
		counter := must[*corev1.PodTemplate](t)(admin.CoreV1().PodTemplates(harness.LedgerNamespace).Get(ctx, name, metav1.GetOptions{}))
		if got := counter.Annotations["count"]; got != fmt.Sprint(count) {
			t.Errorf("%s is at %s, %d were acknowledged", name, got, count)
		}
	}
	figure(t, "%.0f reads, %.0f creations and %.0f updates a second for %.0f s: %d failed, "+
		"of %d creations and %d updates nobody knew the outcome, %d acknowledged creations are missing",
		float64(l.reads.Load())/seconds, float64(l.created.Load())/seconds, float64(l.updated.Load())/seconds, seconds,
		len(l.failures), len(l.unknown), l.doubts, lost)
	if lost != 0 {
		t.Errorf("%d acknowledged creations are missing", lost)
	}
	for i, why := range slices.Compact(l.failures) {
		if i < 10 {
			t.Error(why)
		}
	}
	if l.reads.Load() == 0 || l.created.Load() == 0 || l.updated.Load() == 0 {
		t.Error("nothing was asked: the test does not see")
	}
}
