// SPDX-License-Identifier: GPL-3.0-or-later
//
// kubectl where it needs streams: exec, cp, attach, port-forward, run, debug, logs. Each case runs
// directly against a server and through the proxy, by kubectl of today with WebSockets and with SPDY and by one
// that knows SPDY alone, and must print the same and end with the same code.

package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"sluice/tests/kubernetes/harness"
)

// forms are the ways in which kubectl asks for streams.
var forms = []struct {
	name, program string
	environment   []string
}{
	{"websocket", "kubectl", nil},
	{"spdy", "kubectl", []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"}},
	{"kubectl-0.29", "kubectl-0.29", nil},
}

// stage is a control plane with a node that runs pods, and the proxy before it.
type stage struct {
	cluster *harness.Cluster
	kubelet *harness.Kubelet
	proxy   *harness.Proxy
	client  *kubernetes.Clientset
	sides   map[string]*kubectl
}

// newStage starts a node for a namespace of its own, which reports to the last server.
func newStage(ctx context.Context, t *testing.T, cluster *harness.Cluster, namespace string) *stage {
	t.Helper()
	s := &stage{cluster: cluster, proxy: startProxy(t, cluster, harness.ProxyOptions{})}
	makeNamespace(ctx, t, cluster, namespace)
	last := len(cluster.Servers) - 1
	s.kubelet = must[*harness.Kubelet](t)(cluster.StartKubelet(last, namespace))
	t.Cleanup(s.kubelet.Close)
	s.client = clientset(t, cluster.Direct(last, harness.AdminToken))
	s.sides = map[string]*kubectl{
		"direct":  newKubectl(t, cluster, cluster.Servers[0].Address, namespace),
		"proxied": newKubectl(t, cluster, s.proxy.Address, namespace),
	}
	return s
}

// podNumber makes names of pods, which are no part of a comparison.
var podNumber atomic.Int64

func newPodName() string { return fmt.Sprintf("pod-%d", podNumber.Add(1)) }

// startPod makes a pod of one container, "main", and waits until it runs.
func (s *stage) startPod(ctx context.Context, t *testing.T, container corev1.Container) string {
	t.Helper()
	container.Name, container.Image = "main", "none"
	pods := s.client.CoreV1().Pods(s.kubelet.Namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: newPodName()},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{container}},
	}
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if now.Status.Phase != corev1.PodPending && now.Status.Phase != "" {
			return pod.Name
		}
		select {
		case <-ctx.Done():
			t.Fatalf("pod %s: %+v", pod.Name, now.Status)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// transcript is all that a user sees.
type transcript struct {
	code           int
	output, errors string
}

func (o transcript) String() string {
	return fmt.Sprintf("exit code %d\n--- output ---\n%.1000s\n--- errors ---\n%.2000s", o.code, o.output, o.errors)
}

// What differs between any two runs: addresses, names, and times of log lines.
var differing = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):\d+`), "ADDRESS"},
	{regexp.MustCompile(`pod-\d+`), "POD"},
	{regexp.MustCompile(`(?m)^([EWI])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ `), "$1 TIME "},
	// Who still writes learns of the end by a reset, by a closed stream, or not at all: chance decides, directly, too.
	{regexp.MustCompile(`(?m)^E TIME v2\.go:\d+\] "Copying stdin failed".*\n`), ""},
	{regexp.MustCompile(`debugger-[a-z0-9]{5}`), "DEBUGGER"},
	{regexp.MustCompile(`(localPort=|forwarding )\d+`), "${1}PORT"},
}

func (o transcript) settled() transcript {
	for _, d := range differing {
		o.output, o.errors = d.pattern.ReplaceAllString(o.output, d.instead), d.pattern.ReplaceAllString(o.errors, d.instead)
	}
	// Each stream has a complaint of its own, in no order.
	lines := strings.SplitAfter(o.errors, "\n")
	slices.Sort(lines)
	o.errors = strings.Join(lines, "")
	return o
}

// ended runs kubectl to its end.
func (k *kubectl) ended(ctx context.Context, t *testing.T, input string, arguments ...string) transcript {
	t.Helper()
	return runCommand(t, k.command(ctx, arguments...), input)
}

func runCommand(t *testing.T, command *exec.Cmd, input string) transcript {
	t.Helper()
	var output, complaints bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &output, &complaints
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return transcript{command.ProcessState.ExitCode(), output.String(), complaints.String()}
}

// in makes the same kubectl of another form.
func (k *kubectl) in(t *testing.T, form int) *kubectl {
	t.Helper()
	other := *k
	other.program = filepath.Join(programsDir(t), forms[form].program)
	other.environment = forms[form].environment
	return &other
}

// streamCase runs once on each side.
type streamCase struct {
	name string
	run  func(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript
	want transcript // What the direct one must be, in part, or the case tests nothing.
	// once: a user does not change what is asked.
	once bool
	// form is the only one in which it is tried; "": in all.
	form string
	// times that it is tried, where chance could hide what is lost; 0: once.
	times int
	// tries that it has, where kubectl itself now and then loses something, directly, too; 0: one.
	tries int
}

// compare runs a case on both sides.
func (s *stage) compare(t *testing.T, c streamCase, form int, user string) {
	for range c.tries - 1 {
		if direct, proxied := s.both(t, c, form, user); c.wants(direct) && direct == proxied {
			return
		}
	}
	direct, proxied := s.both(t, c, form, user)
	if !c.wants(direct) {
		t.Fatalf("direct: %v\nexpected %v: this tests nothing", direct, c.want)
	}
	if proxied != direct {
		t.Errorf("proxied: %v\ndirect: %v", proxied, direct)
	}
}

func (c *streamCase) wants(seen transcript) bool {
	return seen.code == c.want.code && strings.Contains(seen.output, c.want.output) && strings.Contains(seen.errors, c.want.errors)
}

func (s *stage) both(t *testing.T, c streamCase, form int, user string) (direct, proxied transcript) {
	ctx := within(t, 2*time.Minute)
	run := func(side string) transcript {
		k := s.sides[side].in(t, form)
		k.user = user
		return c.run(ctx, t, s, k).settled()
	}
	return run("direct"), run("proxied")
}

func TestStreamsOfKubectlAreAsTheyAreDirectly(t *testing.T) {
	ctx := within(t, 15*time.Minute)
	s := newStage(ctx, t, sharedCluster(t), "streams")
	for _, c := range streamCases() {
		t.Run(c.name, func(t *testing.T) {
			for form := range forms {
				for _, user := range []string{"certificate", "token"} {
					if c.once && user == "token" || c.form != "" && c.form != forms[form].name {
						continue
					}
					t.Run(forms[form].name+" by "+user, func(t *testing.T) {
						for range max(1, c.times) {
							s.compare(t, c, form, user)
						}
					})
				}
			}
		})
	}
}
