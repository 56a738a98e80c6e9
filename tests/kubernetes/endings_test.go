// SPDX-License-Identifier: GPL-3.0-or-later
//
// An API server goes, in every way in which servers go, and no informer lists anything again.

package kubernetes

import (
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	currentWithin = 3 * time.Second
	shutdownDelay = 5 * time.Second
)

func TestInformersListNothingAgainWhenAServerIsKilled(t *testing.T) {
	informersSurvive(t, loss{settle: 3 * time.Second, end: kill})
}

func TestInformersListNothingAgainWhenAServerIsLostRightAfterTheySynced(t *testing.T) {
	informersSurvive(t, loss{settle: 200 * time.Millisecond, end: kill})
}

func TestInformersListNothingAgainWhenAServerStopsAtOnce(t *testing.T) {
	informersSurvive(t, loss{settle: 3 * time.Second, end: terminate})
}

func TestInformersListNothingAgainWhenAServerStopsAfterADelay(t *testing.T) {
	informersSurvive(t, loss{settle: 3 * time.Second, end: terminate, shutdownDelay: shutdownDelay})
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
}

func kill(_ *testing.T, server *harness.APIServer) { server.Lose() }

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
		if client%2 == 0 {
			return proxy.Config("", certificate)
		}
		return proxy.Config(harness.TesterToken, nil)
	})
	if result.lists != 0 {
		t.Errorf("the survivors saw %d lists", result.lists)
	}
	if result.slowest > currentWithin {
		t.Errorf("the last informer was current after %.2f s, later than %v", result.slowest.Seconds(), currentWithin)
	}
}

func measureRelay(t *testing.T, clean bool) outcome {
	cluster := ownCluster(t, harness.ClusterOptions{})
	relay := must[*harness.StreamRelay](t)(cluster.StartStreamRelay(clean))
	t.Cleanup(relay.Close)
	return measureLoss(t, cluster, loss{settle: 3 * time.Second, end: kill, quiet: 8 * time.Second}, func(int) *rest.Config {
		config := cluster.Direct(0, harness.TesterToken)
		config.Host = "https://" + relay.Address
		config.TLSClientConfig = rest.TLSClientConfig{CAData: cluster.CA.PEM}
		return config
	})
}

// measureLoss runs the informers, ends a server, and counts what the survivors are asked for.
func measureLoss(t *testing.T, cluster *harness.Cluster, l loss, config func(client int) *rest.Config) outcome {
	t.Helper()
	ctx := within(t, l.quiet+2*time.Minute)
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
	slowest := fleet.awaitMarker(t, "loss", 10*time.Second).Sub(moment)
	// A server that stops in its own time takes its watches with it at the end of that time.
	select {
	case <-gone:
	case <-ctx.Done():
		t.Fatalf("%s did not end", lost.Name)
	}
	if ended.Sub(moment) > time.Second {
		mark(ctx, t, writer, "end")
		slowest = max(slowest, fleet.awaitMarker(t, "end", 10*time.Second).Sub(ended))
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
	if slowest > currentWithin {
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
