// SPDX-License-Identifier: GPL-3.0-or-later
//
// Kubernetes' client libraries of other languages, each by its package (tests/clients/libraries): what they list, watch,
// run in a pod and read of its log must be the same directly and through the proxy.

package kubernetes

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var libraries = []string{"python-kubernetes", "python-kubernetes-asyncio", "node-kubernetes", "java-fabric8", "rust-kube"}

// scenario is what each of them prints, but for the last but one line, in which each words a refusal in its own way.
var scenario = []string{
	"list first,second", "missing 404", "watch ADDED written v", "watch MODIFIED written w", "watch DELETED written w",
	"exec out got hello", "exec err bad", "exec code 3", "exec missing", "log said at the start",
}

func TestClientLibraries(t *testing.T) {
	wanted := libraries
	switch names := os.Getenv("SLUICE_CLIENTS"); names {
	case "":
		t.Skip("client libraries of other languages are for the full run (SLUICE_CLIENTS)")
	case "all":
	default:
		wanted = slices.DeleteFunc(strings.Fields(names), func(name string) bool { return !slices.Contains(libraries, name) })
		if len(wanted) == 0 {
			t.Skip("none of them is among SLUICE_CLIENTS")
		}
	}
	ctx := within(t, 15*time.Minute)
	s := newStage(ctx, t, sharedCluster(t), "libraries")
	for _, name := range []string{"first", "second"} {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"scenario": "there"}}}
		if _, err := s.client.CoreV1().ConfigMaps(s.kubelet.Namespace).Create(ctx, object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pod := s.startPod(ctx, t, corev1.Container{Command: []string{"sh", "-c", "echo said at the start; sleep infinity"}})
	s.awaitLog(ctx, t, pod)
	for _, name := range wanted {
		t.Run(name, func(t *testing.T) {
			command := clientCommand(t, name)
			for _, user := range []string{"certificate", "token"} {
				t.Run(user, func(t *testing.T) {
					direct := s.sides["direct"].runScenario(ctx, t, command, user, s.kubelet.Namespace, pod)
					checkScenario(t, direct)
					proxied := s.sides["proxied"].runScenario(ctx, t, command, user, s.kubelet.Namespace, pod)
					if !slices.Equal(proxied, direct) {
						t.Errorf("proxied:\n%s\ndirect:\n%s", strings.Join(proxied, "\n"), strings.Join(direct, "\n"))
					}
				})
			}
		})
	}
}

// awaitLog waits until the pod has said what it says.
func (s *stage) awaitLog(ctx context.Context, t *testing.T, pod string) {
	t.Helper()
	for {
		log, err := s.client.CoreV1().Pods(s.kubelet.Namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err == nil && len(log) > 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the log of %s: %q, %v", pod, log, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// runScenario runs a library's program with a kubeconfig of one user.
func (k *kubectl) runScenario(ctx context.Context, t *testing.T, command []string, user, namespace, pod string) []string {
	t.Helper()
	content := must[[]byte](t)(os.ReadFile(k.config))
	own := k.config + "-" + user
	if err := os.WriteFile(own, regexp.MustCompile(`(?m)^current-context: .*`).ReplaceAll(content, []byte("current-context: "+user)), 0o600); err != nil {
		t.Fatal(err)
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	process := exec.CommandContext(limited, command[0], append(slices.Clone(command[1:]), own, namespace, pod, "written")...)
	process.Env = append(os.Environ(), "HOME="+k.home)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	seen := runCommand(t, process, "").settled()
	if seen.code != 0 {
		t.Fatalf("%s: %v", command[0], seen)
	}
	return strings.Split(strings.TrimSpace(seen.output), "\n")
}

func checkScenario(t *testing.T, lines []string) {
	t.Helper()
	if len(lines) != len(scenario) {
		t.Fatalf("directly it says %d lines:\n%s\nexpected %d:\n%s", len(lines), strings.Join(lines, "\n"), len(scenario), strings.Join(scenario, "\n"))
	}
	for i, want := range scenario {
		if lines[i] != want && !(strings.HasSuffix(want, "missing") && strings.HasPrefix(lines[i], want+" ")) {
			t.Fatalf("directly it says %q, expected %q: this tests nothing", lines[i], want)
		}
	}
}
