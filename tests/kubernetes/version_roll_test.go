// SPDX-License-Identifier: GPL-3.0-or-later
//
// Three API servers are rolled to the next version of Kubernetes as its documentation tells it: one after the other, with
// the flags that they had. Beside what is true of any roll, no client sees what the new version serves before the last server
// has it, or misses it afterwards; and who asks for it all the same is served from the first server on.

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

const (
	migrationsGroup = "storagemigration.k8s.io/v1" // Stable, and there at all, since 1.37.
	migrations      = "/apis/" + migrationsGroup + "/storageversionmigrations"
	migration       = `{"apiVersion":"storagemigration.k8s.io/v1","kind":"StorageVersionMigration","metadata":{"name":"new"},` +
		`"spec":{"resource":{"group":"apps","resource":"deployments"}}}`
)

// discoverers ask again and again what is served, each time as a program of its own, as each kubectl is one.
type discoverers struct {
	at      place
	viewer  person
	running sync.WaitGroup
	stop    context.CancelFunc

	mutex    sync.Mutex
	seen     []sighting
	failures []string
}

type sighting struct {
	began, ended time.Time
	what         string // The version, or the group versions.
}

func (d *discoverers) fail(format string, arguments ...any) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.failures = append(d.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

// every does something over and over until the end.
func (d *discoverers) every(ctx context.Context, pause time.Duration, do func()) {
	d.running.Go(func() {
		for ctx.Err() == nil {
			do()
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	})
}

// look asks once. What stands behind aggregation each server learns for itself, of whatever version it is.
func (at place) look(ctx context.Context, who person) (version, groups string, err error) {
	client := newProgram(at, who)
	defer client.end()
	found, err := whatIsServed(ctx, client)
	found.group = slices.DeleteFunc(found.group, func(name string) bool { return strings.HasPrefix(name, refusingGroup) })
	slices.Sort(found.group)
	return found.version, strings.Join(found.group, " "), err
}

func (d *discoverers) discover(ctx context.Context) {
	began := time.Now()
	version, groups, err := d.at.look(ctx, d.viewer)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		d.fail("discovery: %v", err)
		return
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.seen = append(d.seen, sighting{began, time.Now(), version}, sighting{began, time.Now(), groups})
}

// upgrade is a roll, and what is known of the two versions.
type upgrade struct {
	*longRoll
	d            *discoverers
	tester       person
	older, newer [2]string // The version and the group versions.
	requests     int       // To what only the newer version serves.
	lastTold     time.Time // When the last old server was told to stop,
	lastGone     time.Time // and when it had.
}

func TestARollToTheNextVersionIsNoticedByNobody(t *testing.T) {
	previous := os.Getenv("SLUICE_PREVIOUS")
	if previous == "" {
		t.Skip("the kube-apiserver of the version before is for the full run (SLUICE_PREVIOUS)")
	}
	current := filepath.Join(programsDir(t), "kube-apiserver")
	size := rollSize{clients: 20, writes: 100, reads: 500, pause: 30 * time.Second}
	ctx, r := startLongRoll(t, size, harness.ServerCount, harness.ClusterOptions{Program: previous})
	r.restart = func(server *harness.APIServer) error { return r.cluster.RestartAs(server, current) }
	u := &upgrade{longRoll: r, tester: person{token: r.cluster.Token(harness.TesterToken)}}
	u.d = &discoverers{at: place{r.proxy.Address, r.proxy.TLS}, viewer: person{token: r.cluster.Token(harness.ViewerToken)}}
	u.older = u.direct(ctx, t, 0)
	asking, stop := context.WithCancel(ctx)
	u.d.stop = stop
	t.Cleanup(func() { stop(); u.d.running.Wait() })
	u.d.every(asking, 100*time.Millisecond, func() { u.d.discover(asking) })

	for number, server := range r.cluster.Servers {
		if number == len(r.cluster.Servers)-1 {
			u.lastTold = time.Now()
			gone := server.Done()
			u.d.running.Go(func() {
				select {
				case <-gone:
					u.lastGone = time.Now()
				case <-asking.Done():
				}
			})
		}
		r.replace(ctx, t, number, "upgraded", terminate)
		if number == 0 {
			u.awaitVersions(t)
			u.newer = u.direct(ctx, t, 0)
			u.useNewer(asking, t)
		}
	}
	u.finish(ctx, t)
}

func (u *upgrade) direct(ctx context.Context, t *testing.T, server int) [2]string {
	t.Helper()
	version, groups, err := place{u.cluster.Servers[server].Address, u.cluster.DirectTLS}.look(ctx, u.d.viewer)
	if err != nil {
		t.Fatal(err)
	}
	return [2]string{version, groups}
}

// awaitVersions waits until the proxy knows that versions differ: until then what only one of them serves is a matter of luck.
func (u *upgrade) awaitVersions(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "the proxy knows two versions", func() bool {
		versions, err := u.proxy.Samples("sluice_backend_api_minor_version", "backend")
		known := map[float64]bool{}
		for _, version := range versions {
			known[version] = true
		}
		delete(known, 0)
		return err == nil && len(known) == 2
	})
}

// useNewer asks from now on, through the proxy, for what only the newer version serves.
func (u *upgrade) useNewer(ctx context.Context, t *testing.T) {
	t.Helper()
	var only []string
	for name := range strings.FieldsSeq(u.newer[1]) {
		if !slices.Contains(strings.Fields(u.older[1]), name) {
			only = append(only, name)
		}
	}
	if !slices.Contains(only, migrationsGroup) {
		t.Fatalf("%s is not among what only the newer version serves (%v): this test shows nothing", migrationsGroup, only)
	}
	u.d.every(ctx, 200*time.Millisecond, func() {
		client := newProgram(u.d.at, u.tester)
		defer client.end()
		expect := func(status int, method, path, body string) {
			if wrong := client.expect(ctx, status, method, path, "", body); wrong != "" && ctx.Err() == nil {
				u.d.fail("what only the newer version serves: %s", wrong)
			}
			u.requests++
		}
		for _, name := range only {
			expect(http.StatusOK, "GET", "/apis/"+name, "")
		}
		expect(http.StatusOK, "GET", migrations, "")
		expect(http.StatusCreated, "POST", migrations+"?dryRun=All", migration)
	})
}

func (u *upgrade) finish(ctx context.Context, t *testing.T) {
	t.Helper()
	// Once more, when nothing but the new version is left.
	u.d.discover(ctx)
	u.d.stop()
	u.d.running.Wait()
	u.longRoll.finish(ctx, t, fmt.Sprintf("%d servers upgraded", len(u.cluster.Servers)))
	moved := must[map[string]float64](t)(u.proxy.Samples("sluice_replays_total", "cause"))["unknown_path"]
	old, young, err := u.checkSightings()
	figure(t, "discovery was the older version's %d times, then the newer's %d times; %d requests to what only the newer serves, %.0f moved; %d failures",
		old, young, u.requests, moved, len(u.d.failures))
	if err != nil {
		t.Error(err)
	}
	for i, why := range u.d.failures {
		if i < 10 {
			t.Error(why)
		}
	}
	if moved == 0 {
		t.Error("no request met a server that does not know its path: the test does not see")
	}
}

// checkSightings holds what clients were told against which servers there were. While the last old server stops either is
// right, but nothing that was new becomes old again.
func (u *upgrade) checkSightings() (old, young int, err error) {
	if u.older == u.newer || u.lastGone.IsZero() {
		return 0, 0, errors.New("nothing was upgraded: the test does not see")
	}
	var newSince time.Time
	for _, s := range u.d.seen {
		isOld, isNew := slices.Contains(u.older[:], s.what), slices.Contains(u.newer[:], s.what)
		at := s.began.Format("15:04:05.000")
		switch {
		case !isOld && !isNew:
			return old, young, fmt.Errorf("at %s a client was told what neither version says: %s", at, s.what)
		case isNew && s.ended.Before(u.lastTold):
			return old, young, fmt.Errorf("at %s a client was told of the new version, and there were old servers: %s", at, s.what)
		case isOld && s.began.After(u.lastGone):
			return old, young, fmt.Errorf("at %s a client was told of the old version, and no server had it: %s", at, s.what)
		case isOld && !newSince.IsZero() && s.began.After(newSince):
			return old, young, fmt.Errorf("at %s a client was told of the old version, %v after the new one", at, s.began.Sub(newSince))
		case isNew && newSince.IsZero():
			newSince = s.ended
		}
		if isOld {
			old++
		} else {
			young++
		}
	}
	if old == 0 || young == 0 {
		return old, young, errors.New("only one version was seen: the test does not see")
	}
	return old, young, nil
}
