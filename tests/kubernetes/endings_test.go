// SPDX-License-Identifier: GPL-3.0-or-later
//
// An API server goes, in every way in which servers go, and no informer lists anything again.

package kubernetes

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	shutdownDelay = 5 * time.Second
	settleLong    = 3 * time.Second
	settleShort   = 200 * time.Millisecond
	// A watch whose first burst goes on at the loss, as that of a busy resource does for half a minute,
	// ends four to five seconds after it; others at once.
	currentWithin     = 7 * time.Second
	currentWithinBusy = 15 * time.Second
	stoppedCosts      = 6 * time.Second
	// What stands still is known after the probe that misses it, and the check of its connections.
	currentBesideAStopped = 10 * time.Second
)

func TestInformersListNothingAgainWhenAServerIsKilled(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: kill, current: currentWithin})
}

func TestInformersListNothingAgainWhenAServerIsLostRightAfterTheySynced(t *testing.T) {
	informersSurvive(t, loss{settle: settleShort, end: kill, current: currentWithin})
}

func TestInformersListNothingAgainWhenAServerStopsAtOnce(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: terminate, current: currentWithin})
}

func TestInformersListNothingAgainWhenAServerStopsAfterADelay(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: terminate, shutdownDelay: shutdownDelay, current: currentWithin})
}

func TestInformersListNothingAgainWhenAServerStandsStill(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: standStill, current: currentBesideAStopped})
}

func TestInformersWithoutHTTP2ListNothingAgainWhenAServerIsKilled(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: kill, current: currentWithin, http1: true})
}

func TestInformersWithoutHTTP2ListNothingAgainWhenAServerStopsAfterADelay(t *testing.T) {
	informersSurvive(t, loss{settle: settleLong, end: terminate, shutdownDelay: shutdownDelay, current: currentWithin, http1: true})
}

// client-go judges a watch by its own clock, and its machine may be busy.
func TestInformersListNothingAgainBesideACompiler(t *testing.T) {
	besideACompiler(t)
	for _, way := range []struct {
		name string
		loss
	}{
		{"kill", loss{settle: settleLong, end: kill}},
		{"term", loss{settle: settleLong, end: terminate}},
		{"early", loss{settle: settleShort, end: kill}},
	} {
		for run := range countFromEnvironment(t, "SLUICE_LOSS_RUNS", 5) {
			t.Run(fmt.Sprintf("%s-%d", way.name, run+1), func(t *testing.T) {
				l := way.loss
				l.current = currentWithinBusy
				informersSurvive(t, l)
			})
		}
	}
}

// besideACompiler keeps all cores busy until the test ends.
func besideACompiler(t *testing.T) {
	t.Helper()
	// Before the cleanup that ends the compiler: what is registered last runs first.
	folder := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done })
	started := make(chan error, 1)
	go func() {
		defer close(done)
		for first := true; ctx.Err() == nil; first = false {
			compiler := exec.CommandContext(ctx, "go", "build", "-a", "std")
			compiler.Env = append(compiler.Environ(), "GOCACHE="+folder, "GOFLAGS=")
			// With all that it has started.
			compiler.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			compiler.Cancel = func() error { return syscall.Kill(-compiler.Process.Pid, syscall.SIGKILL) }
			// Inherited by all of them: they write files until the last one has closed it.
			alive, held, err := os.Pipe()
			if err == nil {
				compiler.ExtraFiles = []*os.File{held}
				err = compiler.Start()
				_ = held.Close()
			}
			if first {
				started <- err
			}
			if err != nil {
				return
			}
			_ = compiler.Wait()
			_ = alive.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.Copy(io.Discard, alive)
			_ = alive.Close()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

// A server that stands still answers nothing and closes nothing.
func TestAStoppedServerCostsAGetSeconds(t *testing.T) {
	cluster := ownCluster(t, harness.ClusterOptions{})
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	ctx := within(t, 3*time.Minute)
	makeNamespace(ctx, t, cluster, watchedObjects)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "read"}}
	if _, err := clientset(t, cluster.Direct(1, harness.AdminToken)).CoreV1().ConfigMaps(watchedObjects).Create(ctx, object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	const readers = 16
	var slowest atomic.Int64
	var reads, cut atomic.Int64
	reading, enough := context.WithCancel(ctx)
	var all sync.WaitGroup
	for number := range readers {
		config := proxy.Config(harness.TesterToken, nil)
		if number%2 == 0 {
			config = proxy.Config("", testerCertificate(t, cluster))
		}
		config.QPS = -1
		client := clientset(t, config).CoreV1().ConfigMaps(watchedObjects)
		all.Go(func() {
			for reading.Err() == nil {
				began := time.Now()
				// The last read may end in its own time.
				if _, err := client.Get(ctx, "read", metav1.GetOptions{}); err != nil {
					// A server that is stopped behind the head of its answer leaves half of it.
					if strings.Contains(err.Error(), "INTERNAL_ERROR; received from peer") {
						cut.Add(1)
						continue
					}
					t.Errorf("a read: %v", err)
					return
				}
				reads.Add(1)
				for took := int64(time.Since(began)); ; {
					before := slowest.Load()
					if took <= before || slowest.CompareAndSwap(before, took) {
						break
					}
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	time.Sleep(2 * time.Second)
	before := time.Duration(slowest.Swap(0))
	stopped := cluster.Servers[0]
	if err := stopped.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(12 * time.Second)
	enough()
	all.Wait()
	if err := stopped.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	after := time.Duration(slowest.Load())
	figure(t, "the slowest of %d reads took %.2f s beside a stopped server (%.3f s before), %d were cut behind their heads", reads.Load(), after.Seconds(), before.Seconds(), cut.Load())
	if cut.Load() > 2 {
		t.Errorf("%d reads were cut", cut.Load())
	}
	if after > stoppedCosts {
		t.Errorf("a read took %v, more than %v", after, stoppedCosts)
	}
	if after < 100*time.Millisecond {
		t.Errorf("no read met the stopped server: the test does not see")
	}
}

// The two relays differ in one thing, the end of a lost watch. The count must see it.
func TestCountSeesListsCausedByResetWatches(t *testing.T) {
	if result := measureRelay(t, false); result.lists == 0 {
		t.Errorf("a relay that resets %d lost watches caused no list: the test does not see", result.held)
	}
}

func TestCountSeesNoListsWhereWatchesEndCleanly(t *testing.T) {
	if result := measureRelay(t, true); result.lists != 0 {
		t.Errorf("a relay that ends %d lost watches cleanly caused %d lists: the test counts what it should not", result.held, result.lists)
	}
}

// loss says how a server goes.
type loss struct {
	settle        time.Duration // Between the informers' sync and the loss.
	end           func(*testing.T, *harness.APIServer)
	shutdownDelay time.Duration
	quiet         time.Duration // How long lists are counted afterwards.
	current       time.Duration // How soon all are current.
	http1         bool          // The informers' clients do without HTTP/2.
}

func kill(_ *testing.T, server *harness.APIServer) { server.Lose() }

// standStill answers nothing and closes nothing, until nobody can expect it any more.
func standStill(t *testing.T, server *harness.APIServer) {
	if err := server.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	time.AfterFunc(currentBesideAStopped+5*time.Second, server.Lose)
}

func terminate(t *testing.T, server *harness.APIServer) {
	if err := server.Drain(); err != nil {
		t.Error(err)
	}
}

type outcome struct {
	held, lists, resumed int
	slowest              time.Duration
}

func informersSurvive(t *testing.T, l loss) {
	l.quiet = durationFromEnvironment(t, "SLUICE_QUIET_PERIOD", time.Minute)
	options := harness.ClusterOptions{ShutdownDelay: l.shutdownDelay}
	if l.quiet < time.Minute {
		options.RequestTimeout = 15 * time.Second // A server that stops need not take its full minute.
	}
	cluster := ownCluster(t, options)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	certificate := testerCertificate(t, cluster)
	result := measureLoss(t, cluster, l, func(client int) *rest.Config {
		config := proxy.Config(harness.TesterToken, nil)
		if client%2 == 0 {
			config = proxy.Config("", certificate)
		}
		if l.http1 {
			return withoutHTTP2(config)
		}
		return config
	})
	if result.lists != 0 {
		t.Errorf("the survivors saw %d lists", result.lists)
	}
	if result.slowest > l.current {
		t.Errorf("the last informer was current after %.2f s, later than %v", result.slowest.Seconds(), l.current)
	}
}

func measureRelay(t *testing.T, clean bool) outcome {
	cluster := ownCluster(t, harness.ClusterOptions{})
	relay := must[*harness.StreamRelay](t)(cluster.StartStreamRelay(clean))
	t.Cleanup(relay.Close)
	return measureLoss(t, cluster, loss{settle: settleLong, end: kill, quiet: 8 * time.Second, current: currentWithin}, func(int) *rest.Config {
		config := cluster.Direct(0, harness.TesterToken)
		config.Host = "https://" + relay.Address
		config.TLSClientConfig = rest.TLSClientConfig{CAData: cluster.CA.PEM}
		return config
	})
}

// measureLoss runs the informers, ends a server, and counts what the survivors are asked for.
func measureLoss(t *testing.T, cluster *harness.Cluster, l loss, config func(client int) *rest.Config) outcome {
	t.Helper()
	ctx := within(t, l.quiet+4*time.Minute)
	lost, survivors := cluster.Servers[0], cluster.Servers[1:]

	// Written past the proxy, at a server that stays.
	writer := clientset(t, cluster.Direct(1, harness.AdminToken))
	makeNamespace(ctx, t, cluster, watchedObjects)
	keepBusy(ctx, t, writer)

	began := time.Now()
	fleet := startFleet(ctx, t, config)
	synced := time.Now()
	initial := 0
	time.Sleep(l.settle)
	held := heldBy(t, lost)

	for _, server := range cluster.Servers {
		lists, _ := startsSince(t, server, began)
		initial += lists
	}
	var ended time.Time
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		<-lost.Done()
		ended = time.Now()
	}()
	moment := time.Now() // From here on the server may be gone.
	l.end(t, lost)
	mark(ctx, t, writer, "loss")
	patience := l.current + 10*time.Second
	slowest := fleet.awaitMarker(t, "loss", patience).Sub(moment)
	// A server that stops in its own time takes its watches with it at the end of that time.
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatalf("%s did not end", lost.Name)
	}
	if ended.Sub(moment) > time.Second {
		mark(ctx, t, writer, "end")
		slowest = max(slowest, fleet.awaitMarker(t, "end", patience).Sub(ended))
	}
	time.Sleep(time.Until(ended.Add(l.quiet)))

	result := outcome{held: held, slowest: slowest}
	for _, server := range survivors {
		lists, resumed := startsSince(t, server, moment)
		result.lists += lists
		result.resumed += resumed
	}
	figure(t, "%d informers synced in %.1f s with %d lists, %d watches at the lost server, which ended %.1f s after its signal, all current after %.2f s, "+
		"%d watches resumed and %d lists at the survivors in the %v after it",
		fleet.size(), synced.Sub(began).Seconds(), initial, result.held, ended.Sub(moment).Seconds(), slowest.Seconds(), result.resumed, result.lists, l.quiet)
	if slowest > l.current {
		t.Logf("current after the loss: %v; after the end: %v", fleet.delays("loss", moment), fleet.delays("end", ended))
		for _, server := range survivors {
			for _, event := range must[[]harness.AuditEvent](t)(harness.ReadAudit(server.Audit, func(event *harness.AuditEvent) bool {
				return event.UserAgent == informerAgent && !event.Received.Before(moment) && event.Stage == harness.StageStarted
			})) {
				t.Logf("%s: %.2f s after the loss: %s %s", server.Name, event.Received.Sub(moment).Seconds(), event.User.Username, event.RequestURI)
			}
		}
	}
	if held < fleet.size()/10 {
		t.Errorf("the lost server held only %d watches: too few to tell anything", held)
	}
	return result
}
