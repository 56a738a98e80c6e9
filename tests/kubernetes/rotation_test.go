// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an operator changes while clients are served: certificates and authorities of one control
// plane, and which control planes there are. Whoever asks, writes or watches meanwhile notices
// nothing.

package kubernetes

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const (
	trafficNamespace = "traffic"
	watchesEach      = 10
	// As an operator may expect of files that change by themselves.
	changeSeenWithin = 5 * time.Second
)

// traffic is watches, reads and writes of one control plane, by token and by certificate.
type traffic struct {
	name    string
	stop    context.CancelFunc
	running sync.WaitGroup
	reads   atomic.Int64
	writes  atomic.Int64
	seen    [watchesEach]atomic.Int64 // The last write that each watch has told of.

	mutex    sync.Mutex
	failures []string
}

func (f *traffic) fail(format string, arguments ...any) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.failures = append(f.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

// startTraffic makes a client for each loop, so that connections are old ones when things change.
func startTraffic(ctx context.Context, t *testing.T, gateway *harness.Gateway, name string, cluster *harness.Cluster) *traffic {
	t.Helper()
	makeNamespace(ctx, t, cluster, trafficNamespace)
	token := func() *rest.Config { return gateway.ClientOf(name, cluster.Token(harness.TesterToken), nil) }
	certificate := func() *rest.Config { return gateway.ClientOf(name, "", testerCertificate(t, cluster)) }
	f := &traffic{name: name}
	ctx, f.stop = context.WithCancel(ctx)
	t.Cleanup(f.stop)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "counter"}, Data: map[string]string{"count": "0"}}
	object = must[*corev1.ConfigMap](t)(clientset(t, token()).CoreV1().ConfigMaps(trafficNamespace).Create(ctx, object, metav1.CreateOptions{}))
	for number := range watchesEach {
		client := clientset(t, []func() *rest.Config{token, certificate}[number%2]())
		hours := int64(3 * 3600)
		events := must[watch.Interface](t)(client.CoreV1().ConfigMaps(trafficNamespace).Watch(ctx, metav1.ListOptions{
			ResourceVersion: object.ResourceVersion, TimeoutSeconds: &hours,
		}))
		f.running.Go(func() { f.follow(ctx, number, events) })
	}
	for _, config := range []*rest.Config{token(), certificate(), withoutHTTP2(token()), withoutHTTP2(certificate())} {
		client := clientset(t, config)
		f.running.Go(func() { f.read(ctx, client) })
	}
	writer := clientset(t, certificate())
	f.running.Go(func() { f.write(ctx, writer, object) })
	return f
}

func (f *traffic) follow(ctx context.Context, number int, events watch.Interface) {
	defer events.Stop()
	for event := range events.ResultChan() {
		object, ok := event.Object.(*corev1.ConfigMap)
		if ctx.Err() != nil {
			return
		}
		if !ok {
			f.fail("watch %d: %v %v", number, event.Type, event.Object)
			return
		}
		var count int64
		_, _ = fmt.Sscan(object.Data["count"], &count)
		f.seen[number].Store(count)
	}
	if ctx.Err() == nil {
		f.fail("watch %d has ended", number)
	}
}

func (f *traffic) read(ctx context.Context, client *kubernetes.Clientset) {
	for ; ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if _, err := client.CoreV1().ConfigMaps(trafficNamespace).Get(ctx, "counter", metav1.GetOptions{}); err != nil && ctx.Err() == nil {
			f.fail("read: %v", err)
		}
		f.reads.Add(1)
	}
}

func (f *traffic) write(ctx context.Context, client *kubernetes.Clientset, object *corev1.ConfigMap) {
	for ; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		object.Data = map[string]string{"count": fmt.Sprint(f.writes.Load() + 1)}
		updated, err := client.CoreV1().ConfigMaps(trafficNamespace).Update(ctx, object, metav1.UpdateOptions{})
		if err != nil {
			if ctx.Err() == nil {
				f.fail("write: %v", err)
			}
			continue
		}
		object = updated
		f.writes.Add(1)
	}
}

// end is the verdict: nobody has noticed anything, and every watch is where the writes are.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	last := f.writes.Load()
	deadline := time.Now().Add(10 * time.Second)
	for number := range f.seen {
		for f.seen[number].Load() < last {
			if time.Now().After(deadline) {
				t.Errorf("%s: watch %d is at %d of %d writes", f.name, number, f.seen[number].Load(), last)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	f.stop()
	f.running.Wait()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for i, failure := range f.failures {
		if i == 20 {
			t.Errorf("%s: and %d more", f.name, len(f.failures)-i)
			break
		}
		t.Errorf("%s: %s", f.name, failure)
	}
	figure(t, "%s: %d reads, %d writes, %d watches: %d failures", f.name, f.reads.Load(), last, watchesEach, len(f.failures))
	if f.reads.Load() < 100 || last < 20 {
		t.Errorf("%s: that is too little to be told by", f.name)
	}
}

// servedLeaf is the serial number of the certificate that new clients of a cluster see.
func servedLeaf(ctx context.Context, gateway *harness.Gateway, cluster string) string {
	config := gateway.TLSOf(cluster, harness.ServerNameOf(cluster), nil)
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", gateway.Address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// eventually waits for a condition.
func eventually(t *testing.T, limit time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !condition() {
		if time.Since(began) > limit {
			t.Errorf("not within %v: %s", limit, what)
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

func replaceFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func newServing(t *testing.T, cluster *harness.Cluster, name string) *harness.Pair {
	t.Helper()
	return must[*harness.Pair](t)(cluster.CA.Issue(harness.Leaf{
		CommonName: "sluice", Serving: true, Names: []string{harness.ServerNameOf(name), "*." + harness.ServerNameOf(name)},
	}))
}

// A mounted Secret is a folder of links into one that is swapped as a whole.
func mountSecret(t *testing.T, dir string, pair *harness.Pair) {
	t.Helper()
	generation := must[string](t)(os.MkdirTemp(dir, "..generation-"))
	for name, content := range map[string][]byte{"tls.crt": pair.PEM, "tls.key": pair.KeyPEM} {
		if err := os.WriteFile(generation+"/"+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(dir + "/" + name); err != nil {
			if err := os.Symlink("..data/"+name, dir+"/"+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Symlink(generation[len(dir)+1:], dir+"/..data_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/..data_tmp", dir+"/..data"); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesRotateAndNobodyNotices(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	clusters := twoControlPlanes(t, 2)
	gateway := startGateway(t, clusters, harness.GatewayOptions{})
	all := []*traffic{startTraffic(ctx, t, gateway, blue, clusters[blue]), startTraffic(ctx, t, gateway, green, clusters[green])}
	cluster := clusters[blue]
	path := func(name string) string { return gateway.Path(blue, name) }
	isServed := func(pair *harness.Pair) func() bool {
		return func() bool { return servedLeaf(ctx, gateway, blue) == pair.Certificate.SerialNumber.String() }
	}

	together := newServing(t, cluster, blue)
	replaceFile(t, path("serving.crt"), together.PEM)
	replaceFile(t, path("serving.key"), together.KeyPEM)
	figure(t, "a serving certificate is seen after %v", eventually(t, changeSeenWithin, "a new serving certificate", isServed(together)))

	keyFirst := newServing(t, cluster, blue)
	replaceFile(t, path("serving.key"), keyFirst.KeyPEM)
	time.Sleep(3 * time.Second) // Long enough for a reload of what does not fit.
	if !isServed(together)() {
		t.Errorf("while key and certificate do not fit, another certificate is served: %s", servedLeaf(ctx, gateway, blue))
	}
	replaceFile(t, path("serving.crt"), keyFirst.PEM)
	figure(t, "one whose key came first after %v", eventually(t, changeSeenWithin, "one whose key came first", isServed(keyFirst)))

	secret := gateway.Path(blue, "secret")
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		mounted := newServing(t, cluster, blue)
		mountSecret(t, secret, mounted)
		if round == 0 {
			if err := gateway.WriteFile(blue); err != nil {
				t.Fatal(err)
			}
			content := string(must[[]byte](t)(os.ReadFile(gateway.Path("blue.conf"))))
			content = strings.ReplaceAll(strings.ReplaceAll(content, "blue/serving.crt", "blue/secret/tls.crt"), "blue/serving.key", "blue/secret/tls.key")
			if err := gateway.WriteLines(blue, strings.TrimSpace(content)); err != nil {
				t.Fatal(err)
			}
		}
		figure(t, "one of a mounted Secret after %v", eventually(t, changeSeenWithin, "one of a mounted Secret", isServed(mounted)))
	}

	// The old authority stays in the bundle, as it does in every rotation.
	authority := must[*harness.Authority](t)(harness.NewAuthority("client-ca"))
	newcomer := must[*harness.Pair](t)(authority.Issue(harness.Leaf{CommonName: "newcomer", Organizations: []string{harness.TesterGroup}}))
	bundle := append(append([]byte(nil), cluster.ClientCA.PEM...), authority.PEM...)
	replaceFile(t, cluster.Dir+"/client-ca.crt", bundle)
	replaceFile(t, path("client-ca.crt"), bundle)
	figure(t, "a client of a new authority is somebody after %v", eventually(t, changeSeenWithin, "a new client CA", func() bool {
		return whoami(ctx, t, gateway.ClientOf(blue, "", newcomer)) == "newcomer"
	}))

	// The servers learn of the new front-proxy authority only later.
	front := must[*harness.Authority](t)(harness.NewAuthority("front-proxy-ca-2"))
	pair := must[*harness.Pair](t)(front.Issue(harness.Leaf{CommonName: harness.FrontProxyName}))
	replaceFile(t, path("front-proxy.key"), pair.KeyPEM)
	replaceFile(t, path("front-proxy.crt"), pair.PEM)
	time.Sleep(20 * time.Second)
	replaceFile(t, cluster.Dir+"/front-proxy-ca.crt", append(append([]byte(nil), cluster.FrontProxy.PEM...), front.PEM...))
	time.Sleep(10 * time.Second)
	// Now they take nothing else any more.
	replaceFile(t, cluster.Dir+"/front-proxy-ca.crt", front.PEM)
	time.Sleep(5 * time.Second)
	if user := whoami(ctx, t, gateway.ClientOf(blue, "", newcomer)); user != "newcomer" {
		t.Errorf("with the new front-proxy pair alone a client is %s", user)
	}
	for _, f := range all {
		f.end(t)
	}
}

func TestControlPlanesComeAndGoAndTheOthersDoNotNotice(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{Waiting: []string{green}, Before: func(g *harness.Gateway) error {
		return os.Remove(g.Path(green + ".conf"))
	}})
	steady := startTraffic(ctx, t, gateway, blue, clusters[blue])
	token := clusters[green].Token(harness.TesterToken)
	version := func() int {
		client := must[*http.Client](t)(rest.HTTPClientFor(gateway.ClientOf(green, token, nil)))
		defer client.CloseIdleConnections()
		response, err := client.Get("https://" + harness.ServerNameOf(green) + "/version")
		if err != nil {
			return 0
		}
		response.Body.Close()
		return response.StatusCode
	}
	write := func(lines ...string) {
		t.Helper()
		if err := gateway.WriteFile(green, lines...); err != nil {
			t.Fatal(err)
		}
	}
	if status := version(); status != 0 {
		t.Errorf("a cluster without a file is served: %d", status)
	}
	write()
	figure(t, "added: served after %v", eventually(t, changeSeenWithin, "a cluster that was added", func() bool { return version() == http.StatusOK }))
	added := startTraffic(ctx, t, gateway, green, clusters[green])
	write("probe-interval=soon")
	time.Sleep(2 * time.Second)
	if err := gateway.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, changeSeenWithin, "the mistake is counted", func() bool {
		sum, _, err := gateway.Metric("sluice_config_errors")
		return err == nil && sum >= 1
	})
	if status := version(); status != http.StatusOK {
		t.Errorf("with a mistake in its file its old version answers %d", status)
	}
	write("request-timeout=50s")
	eventually(t, changeSeenWithin, "the mistake is mended", func() bool {
		sum, _, err := gateway.Metric("sluice_config_errors")
		return err == nil && sum == 0
	})
	// Its own traffic has seen nothing of that, either.
	added.end(t)
	write("hibernated=true")
	eventually(t, changeSeenWithin, "a cluster that hibernates", func() bool { return version() == http.StatusServiceUnavailable })
	write()
	eventually(t, changeSeenWithin, "one that is awake again", func() bool { return version() == http.StatusOK })
	if err := os.Remove(gateway.Path(green + ".conf")); err != nil {
		t.Fatal(err)
	}
	figure(t, "removed: not served after %v", eventually(t, changeSeenWithin, "a cluster that was removed", func() bool { return version() == 0 }))
	write()
	figure(t, "added again: served after %v", eventually(t, changeSeenWithin, "a cluster that was added again", func() bool { return version() == http.StatusOK }))
	steady.end(t)
}

func TestAHundredReloadsChangeNothingForAnybody(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	clusters := twoControlPlanes(t, 1)
	gateway := startGateway(t, clusters, harness.GatewayOptions{})
	all := []*traffic{startTraffic(ctx, t, gateway, blue, clusters[blue]), startTraffic(ctx, t, gateway, green, clusters[green])}
	memory := func() int64 {
		status := string(must[[]byte](t)(os.ReadFile(fmt.Sprintf("/proc/%d/status", gateway.PID()))))
		_, status, _ = strings.Cut(status, "VmRSS:")
		var kilobytes int64
		_, _ = fmt.Sscan(status, &kilobytes)
		return kilobytes
	}
	reloads := countFromEnvironment(t, "SLUICE_RELOADS", 100)
	var early int64
	for number := range reloads {
		began := time.Now()
		lines := []string{fmt.Sprintf("request-timeout=%ds", 60+number)}
		switch number % 3 {
		case 1:
			lines = append(lines, "no line of ours")
		case 2:
			if err := gateway.WriteServing(green); err != nil {
				t.Fatal(err)
			}
		}
		if err := gateway.WriteFile([]string{blue, green}[number%2], lines...); err != nil {
			t.Fatal(err)
		}
		if err := gateway.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if number == 10 {
			early = memory()
		}
		time.Sleep(time.Until(began.Add(600 * time.Millisecond)))
	}
	late := memory()
	figure(t, "%d reloads: %d KB after the tenth, %d KB after the last", reloads, early, late)
	if late > early+8<<10 {
		t.Errorf("memory has grown from %d to %d KB", early, late)
	}
	for _, f := range all {
		f.end(t)
	}
}
