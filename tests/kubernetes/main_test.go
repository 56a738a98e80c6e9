// SPDX-License-Identifier: GPL-3.0-or-later
//
// End to end on the real thing: real kube-apiservers, real client-go, real kubectl, and the proxy
// binary before them. What the servers saw is read from their audit logs.
//
// Environment:
//
//	SLUICE_BINARY        the proxy (default ../../build/release/sluice)
//	SLUICE_PROGRAMS      folder of kube-apiserver, kubectl and etcd (default: what ./build prints)
//	SLUICE_LOSS_RUNS     how often each loss is tried beside a compiler (default 5)
//	SLUICE_QUIET_PERIOD  how long lists are counted after a server has gone (default 1m)
//	SLUICE_VERBOSE       set: the servers' last lines are shown, too, where a test fails
//	SLUICE_CLIENTS       names of foreign clients, or all (default: those that need no other language)
//	SLUICE_RELOADS       how often the configuration changes under traffic (default 100)
//	SLUICE_TAKE_OVERS    how often another process takes over (default 20)
//	SLUICE_ROLL_CLIENTS  how many clients with five informers each see a roll (default 40)
//	SLUICE_ROLL_WRITES, SLUICE_ROLL_READS  what is asked a second beside it (default 500, 2000)
//	SLUICE_ROLL_PAUSE    how long between two servers (default 2m)
//	SLUICE_ROLL_KILLS    how many servers are killed behind the roll (default 3)
//	SLUICE_PREVIOUS      a kube-apiserver of the version before, from which a cluster is upgraded (./build --previous; default none)
//	SLUICE_OWN_WRITES    how often something is written that servers act by, and then used (default 1000)
//	SLUICE_RECORDED      how many requests the recording backends judge (default 100000)
package kubernetes

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"sluice/tests/kubernetes/harness"
)

var shared struct {
	sync.Mutex
	cluster *harness.Cluster
}

// clientLog is what client-go says of itself, shown where a test fails.
var clientLog logBuffer

// logBuffer keeps the last part of a log.
type logBuffer struct {
	sync.Mutex
	content []byte
}

func (b *logBuffer) Write(line []byte) (int, error) {
	const limit = 16 << 10
	b.Lock()
	defer b.Unlock()
	b.content = append(b.content, line...)
	if len(b.content) > 2*limit {
		b.content = append([]byte(nil), b.content[len(b.content)-limit:]...)
	}
	return len(line), nil
}

func (b *logBuffer) take() string {
	b.Lock()
	defer b.Unlock()
	content := string(b.content)
	b.content = nil
	return content
}

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(&clientLog)
	code := m.Run()
	stopSharedCluster()
	os.Exit(code)
}

// programs is where the servers are.
var programs = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("SLUICE_PROGRAMS"); dir != "" {
		return dir, nil
	}
	output, err := exec.Command("./build").Output()
	return strings.TrimSpace(string(output)), err
})

func programsDir(t *testing.T) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Skipf("kube-apiserver, kubectl and etcd cannot be built here: %v", err)
	}
	return dir
}

func sluiceBinary(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("SLUICE_BINARY")
	if binary == "" {
		binary = "../../build/release/sluice"
	}
	binary, err := filepath.Abs(binary)
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err != nil {
		t.Skipf("the proxy is not built: %v", err)
	}
	return binary
}

// sharedCluster is the control plane of the tests that leave it whole.
func sharedCluster(t *testing.T) *harness.Cluster {
	t.Helper()
	dir := programsDir(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		cluster, err := harness.StartCluster(dir, harness.ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = cluster
	}
	showServersOnFailure(t, shared.cluster)
	return shared.cluster
}

func stopSharedCluster() {
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		shared.cluster.Stop()
		shared.cluster = nil
	}
}

// ownCluster is for tests that end servers or need other flags. The shared one makes room for it.
func ownCluster(t *testing.T, options harness.ClusterOptions) *harness.Cluster {
	t.Helper()
	dir := programsDir(t)
	stopSharedCluster()
	cluster, err := harness.StartCluster(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	showServersOnFailure(t, cluster)
	return cluster
}

func showServersOnFailure(t *testing.T, cluster *harness.Cluster) {
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("SLUICE_VERBOSE") != "" {
			for _, server := range cluster.Servers {
				t.Log(server.Tail(10))
			}
		}
	})
}

// startProxy starts the proxy before a cluster.
func startProxy(t *testing.T, cluster *harness.Cluster, options harness.ProxyOptions) *harness.Proxy {
	t.Helper()
	return watchOver(t)(cluster.StartProxy(sluiceBinary(t), options))
}

// watchOver ends the proxy with the test, and finds out whether it had ended before.
func watchOver(t *testing.T) func(*harness.Proxy, error) *harness.Proxy {
	return func(proxy *harness.Proxy, err error) *harness.Proxy {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			select {
			case <-proxy.Done():
				t.Errorf("the proxy ended during the test\n%s", proxy.Tail(40))
			default:
			}
			if said := clientLog.take(); t.Failed() {
				t.Logf("%s\n--- client-go, last lines ---\n%s", proxy.Tail(40), said)
			}
			proxy.Close()
		})
		return proxy
	}
}

// within bounds a test.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// figure prints a line that can be quoted.
func figure(t *testing.T, format string, arguments ...any) {
	t.Helper()
	fmt.Printf("    figure: %s: %s\n", t.Name(), fmt.Sprintf(format, arguments...))
}

func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func clientset(t *testing.T, config *rest.Config) *kubernetes.Clientset {
	t.Helper()
	return must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
}

// makeNamespace makes a namespace past the proxy and waits until every server knows it: admission
// looks it up in each server's own cache.
func makeNamespace(ctx context.Context, t *testing.T, cluster *harness.Cluster, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := clientset(t, cluster.Direct(0, harness.AdminToken)).CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range cluster.Servers {
		direct := clientset(t, cluster.Direct(i, harness.AdminToken))
		for {
			probe := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
			_, err := direct.CoreV1().ConfigMaps(name).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("namespace %s at server %d: %v", name, i, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// testerCertificate is a certificate of a user who may do everything, by RBAC.
func testerCertificate(t *testing.T, cluster *harness.Cluster) *harness.Pair {
	t.Helper()
	return must[*harness.Pair](t)(cluster.ClientCA.Issue(harness.Leaf{
		CommonName: "certificate-tester", Organizations: []string{harness.TesterGroup},
	}))
}

func durationFromEnvironment(t *testing.T, name string, standard time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	return must[time.Duration](t)(time.ParseDuration(text))
}

func countFromEnvironment(t *testing.T, name string, standard int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	return must[int](t)(strconv.Atoi(text))
}

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
