// SPDX-License-Identifier: GPL-3.0-or-later
//
// Who watches beside a roll of the API servers and is no informer: kubectl, a program that wants no bookmarks, Kubernetes'
// Python client; and an aggregated API that refuses, whose refusals are nobody else's.

package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"sluice/tests/kubernetes/harness"
)

const refusingGroup = "refusing.test"

// refusals are what the aggregated API answers, by the name that is asked for.
var refusals = map[string]int{"unauthorized": http.StatusUnauthorized, "gone": http.StatusGone, "unavailable": http.StatusServiceUnavailable}

// beside are those who watch, and what went wrong for them.
type beside struct {
	running sync.WaitGroup
	stop    context.CancelFunc

	resumed, plainEvents, kubectlRuns, kubectlLines, pythonLines, refused atomic.Int64
	python                                                                bool

	mutex    sync.Mutex
	failures []string
}

func (b *beside) fail(format string, arguments ...any) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.failures = append(b.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, arguments...))
}

func startBeside(ctx context.Context, t *testing.T, cluster *harness.Cluster, proxy *harness.Proxy) *beside {
	t.Helper()
	b := &beside{}
	startRefusingAPI(ctx, t, cluster)
	ctx, b.stop = context.WithCancel(ctx)
	t.Cleanup(func() { b.stop(); b.running.Wait() })
	certificate := testerCertificate(t, cluster)

	plain := clientset(t, proxy.Config(harness.TesterToken, nil))
	list, err := plain.CoreV1().ConfigMaps(watchedObjects).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.running.Go(func() { b.watchWithoutBookmarks(ctx, plain, list.ResourceVersion) })

	k := newKubectl(t, cluster, proxy.Address, watchedObjects)
	b.running.Go(func() { b.kubectlGetWatch(ctx, k) })
	if command := pythonWatch(t); command != nil {
		b.python = true
		b.running.Go(func() { b.pythonWatches(ctx, append(command, k.config, watchedObjects)) })
	}
	for _, config := range []*rest.Config{proxy.Config(harness.TesterToken, nil), proxy.Config("", certificate)} {
		client := must[*http.Client](t)(rest.HTTPClientFor(config))
		b.running.Go(func() { b.askWhoRefuses(ctx, client, config.Host) })
	}
	return b
}

// watchWithoutBookmarks goes on from the last event that it has seen, which for a busy resource is not old.
func (b *beside) watchWithoutBookmarks(ctx context.Context, client *kubernetes.Clientset, version string) {
	for ; ctx.Err() == nil; b.resumed.Add(1) {
		events, err := client.CoreV1().ConfigMaps(watchedObjects).Watch(ctx, metav1.ListOptions{ResourceVersion: version})
		if err != nil {
			if ctx.Err() == nil {
				b.fail("a watch without bookmarks cannot begin: %v", err)
			}
			return
		}
		for event := range events.ResultChan() {
			if ctx.Err() != nil {
				events.Stop()
				return
			}
			accessor, err := meta.Accessor(event.Object)
			if event.Type == watch.Error || err != nil {
				b.fail("a watch without bookmarks: %v %v", event.Type, event.Object)
				events.Stop()
				return
			}
			before, _ := strconv.ParseUint(version, 10, 64)
			now, _ := strconv.ParseUint(accessor.GetResourceVersion(), 10, 64)
			if now <= before {
				b.fail("a watch without bookmarks goes back from %d to %d", before, now)
			}
			version = accessor.GetResourceVersion()
			b.plainEvents.Add(1)
		}
	}
}

// countLines runs a command to its end, and returns what it said to standard error.
func countLines(command *exec.Cmd, lines *atomic.Int64) (said string, err error) {
	var errors bytes.Buffer
	command.Stderr = &errors
	pipe, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		return "", err
	}
	for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
		lines.Add(1)
	}
	err = command.Wait()
	return errors.String(), err
}

// kubectlGetWatch runs it again whenever it ends. It ends with its watch, as it does directly, and for no other reason.
func (b *beside) kubectlGetWatch(ctx context.Context, k *kubectl) {
	for ; ctx.Err() == nil; b.kubectlRuns.Add(1) {
		said, err := countLines(k.command(ctx, "get", "configmaps", "--watch", "--no-headers"), &b.kubectlLines)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !strings.Contains(said, "watch closed before") {
			b.fail("kubectl get --watch: %v: %s", err, said)
			time.Sleep(time.Second)
		}
	}
}

// pythonWatch is the program that watches by Kubernetes' Python client; nil where it is not among SLUICE_CLIENTS.
func pythonWatch(t *testing.T) []string {
	t.Helper()
	names := os.Getenv("SLUICE_CLIENTS")
	if names != "all" && !strings.Contains(names, "python-kubernetes") {
		return nil
	}
	output, err := exec.Command("../clients/build", "python-kubernetes").Output()
	if err != nil {
		t.Logf("the Python client cannot be had here: %v", err)
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	command := strings.Fields(lines[len(lines)-1])
	last := len(command) - 1
	command[last] = filepath.Join(filepath.Dir(command[last]), "kubernetes_watch.py")
	return command
}

// pythonWatches is one run: the client goes on by itself where a watch ends cleanly, and by an exception elsewhere.
func (b *beside) pythonWatches(ctx context.Context, words []string) {
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if said, err := countLines(command, &b.pythonLines); ctx.Err() == nil {
		b.fail("the Python client's watch has ended: %v: %s", err, said)
	}
}

// startRefusingAPI serves an API group of its own behind the API servers, and waits until each of them knows it.
func startRefusingAPI(ctx context.Context, t *testing.T, cluster *harness.Cluster) {
	t.Helper()
	status := func(w http.ResponseWriter, code int) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"as always","code":%d}`, code)
	}
	group := "/apis/" + refusingGroup + "/v1"
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if request.URL.Path == group {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"%s/v1","resources":[]}`, refusingGroup)
			return
		}
		code, ok := refusals[filepath.Base(request.URL.Path)]
		if !ok {
			code = http.StatusNotFound
		}
		status(w, code)
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, text, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port := must[int](t)(strconv.Atoi(text))

	admin := clientset(t, cluster.Direct(0, harness.AdminToken))
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "refusing"}}
	service.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}
	if _, err := admin.CoreV1().Services(watchedObjects).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	object := fmt.Sprintf(`{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.%[1]s"},"spec":{
		"group":%[1]q,"version":"v1","groupPriorityMinimum":100,"versionPriority":100,"insecureSkipTLSVerify":true,
		"service":{"namespace":%[2]q,"name":"refusing","port":%[3]d}}}`, refusingGroup, watchedObjects, port)
	created := admin.CoreV1().RESTClient().Post().AbsPath("/apis/apiregistration.k8s.io/v1/apiservices").
		SetHeader("Content-Type", "application/json").Body([]byte(object)).Do(ctx)
	if err := created.Error(); err != nil {
		t.Fatal(err)
	}
	for number := range cluster.Servers {
		direct := clientset(t, cluster.Direct(number, harness.TesterToken))
		eventually(t, 30*time.Second, "the aggregated API at server "+fmt.Sprint(number), func() bool {
			var code int
			direct.CoreV1().RESTClient().Get().AbsPath(group + "/things/gone").Do(ctx).StatusCode(&code)
			return code == http.StatusGone
		})
	}
}

// askWhoRefuses gets each refusal as it is, whichever server passes it on, and for whoever asks.
func (b *beside) askWhoRefuses(ctx context.Context, client *http.Client, host string) {
	defer client.CloseIdleConnections()
	for ; ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		for name, want := range refusals {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/apis/"+refusingGroup+"/v1/things/"+name, nil)
			if err != nil {
				b.fail("%v", err)
				return
			}
			response, err := client.Do(request)
			if err != nil {
				if ctx.Err() == nil {
					b.fail("the aggregated API, %s: %v", name, err)
				}
				continue
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != want {
				b.fail("the aggregated API, %s: %s %s", name, response.Status, body)
				continue
			}
			b.refused.Add(1)
		}
	}
}

func (b *beside) finish(t *testing.T) {
	t.Helper()
	b.stop()
	b.running.Wait()
	figure(t, "beside it: a watch without bookmarks saw %d events and went on %d times; kubectl get --watch ended with its watch %d times (%d lines); "+
		"the Python client saw %d events; an aggregated API refused %d times; %d failures",
		b.plainEvents.Load(), b.resumed.Load(), b.kubectlRuns.Load(), b.kubectlLines.Load(), b.pythonLines.Load(), b.refused.Load(), len(b.failures))
	for i, why := range b.failures {
		if i < 10 {
			t.Error(why)
		}
	}
	if b.plainEvents.Load() == 0 || b.kubectlLines.Load() == 0 || b.refused.Load() == 0 || (b.python && b.pythonLines.Load() == 0) {
		t.Error("somebody saw nothing: the test does not see")
	}
}
