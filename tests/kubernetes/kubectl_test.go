// SPDX-License-Identifier: GPL-3.0-or-later
//
// Real kubectl through the proxy, with a kubeconfig as a user has it.

package kubernetes

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/tests/kubernetes/harness"
)

const kubectlNamespace = "kubectl"

type kubectl struct {
	program, config, home string
	environment           []string // Beside the usual.
	user                  string   // Of the kubeconfig; empty means the certificate's.
}

// newKubectl writes a kubeconfig for users who may do everything, by certificate and by token, and for two who may not.
func newKubectl(t *testing.T, cluster *harness.Cluster, address, namespace string) *kubectl {
	t.Helper()
	certificate := testerCertificate(t, cluster)
	encoded := base64.StdEncoding.EncodeToString
	home := t.TempDir()
	k := &kubectl{program: filepath.Join(programsDir(t), "kubectl"), config: filepath.Join(home, "config"), home: home}
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: certificate
clusters:
- name: proxy
  cluster: {server: "https://%s", certificate-authority-data: %s}
users:
- name: certificate
  user: {client-certificate-data: %s, client-key-data: %s}
- name: token
  user: {token: %s}
- name: viewer
  user: {token: %s}
- name: unknown
  user: {token: nonsense}
contexts:
`, address, encoded(cluster.CA.PEM), encoded(certificate.PEM), encoded(certificate.KeyPEM), harness.TesterToken, harness.ViewerToken)
	for _, user := range []string{"certificate", "token", "viewer", "unknown"} {
		content += fmt.Sprintf("- name: %s\n  context: {cluster: proxy, user: %s, namespace: %s}\n", user, user, namespace)
	}
	if err := os.WriteFile(k.config, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kubectl) command(ctx context.Context, arguments ...string) *exec.Cmd {
	if k.user != "" {
		// Before what is handed on to a program behind "--".
		arguments = append([]string{"--context=" + k.user}, arguments...)
	}
	command := exec.CommandContext(ctx, k.program, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+k.config, "HOME="+k.home)
	command.Env = append(command.Env, k.environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command
}

func (k *kubectl) run(ctx context.Context, t *testing.T, input string, arguments ...string) string {
	t.Helper()
	command := k.command(ctx, arguments...)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

func expectText(t *testing.T, what, output string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(output, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, output)
		}
	}
}

func TestKubectlWorksThroughTheProxy(t *testing.T) {
	ctx := within(t, 2*time.Minute)
	cluster := sharedCluster(t)
	proxy := startProxy(t, cluster, harness.ProxyOptions{})
	makeNamespace(ctx, t, cluster, kubectlNamespace)
	k := newKubectl(t, cluster, proxy.Address, kubectlNamespace)

	for user, want := range map[string][]string{
		"certificate": {"certificate-tester", harness.TesterGroup, "system:authenticated", "X509SHA256="},
		"token":       {"tester", harness.TesterGroup, "system:authenticated"},
	} {
		t.Run("auth whoami by "+user, func(t *testing.T) {
			output := k.run(ctx, t, "", "auth", "whoami", "--context="+user)
			expectText(t, "whoami", output, want...)
		})
	}

	t.Run("apply, get, get -w, patch, delete", func(t *testing.T) {
		const manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {k: %s}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two}\ndata: {k: v}\n"
		expectText(t, "apply", k.run(ctx, t, fmt.Sprintf(manifest, "v"), "apply", "-f", "-"), "configmap/one created", "configmap/two created")

		watching, stop := context.WithCancel(ctx)
		defer stop()
		watch := k.command(watching, "get", "configmaps", "--watch", "--output-watch-events", "--no-headers")
		pipe, err := watch.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan string, 100)
		go func() {
			defer close(lines)
			for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
				lines <- strings.Join(strings.Fields(scanner.Text()), " ")
			}
		}()
		awaitLine(t, lines, "ADDED two")

		expectText(t, "apply", k.run(ctx, t, fmt.Sprintf(manifest, "w"), "apply", "-f", "-"), "configmap/one configured", "configmap/two unchanged")
		awaitLine(t, lines, "MODIFIED one")
		expectText(t, "server-side apply", k.run(ctx, t, fmt.Sprintf(manifest, "w"), "apply", "--server-side", "--force-conflicts", "-f", "-"), "serverside-applied")
		expectText(t, "get", k.run(ctx, t, "", "get", "configmap", "one", "-o", "jsonpath={.data.k}"), "w")
		expectText(t, "get -A", k.run(ctx, t, "", "get", "configmaps", "-A"), kubectlNamespace, "kube-system")
		expectText(t, "describe", k.run(ctx, t, "", "describe", "configmap", "two"), "Name:", "two")
		k.run(ctx, t, "", "label", "configmap", "two", "a=b")
		expectText(t, "delete", k.run(ctx, t, "", "delete", "configmap", "one", "two"), `"one" deleted`, `"two" deleted`)
		awaitLine(t, lines, "DELETED two")
		stop()
		_ = watch.Wait()
		expectText(t, "api-resources", k.run(ctx, t, "", "api-resources"), "configmaps", "deployments")
		expectText(t, "can-i", k.run(ctx, t, "", "auth", "can-i", "delete", "pods"), "yes")
	})

	// There is no node: what the API server says of that must arrive, by WebSocket and by SPDY/3.1.
	t.Run("exec, attach and port-forward say what they say directly", func(t *testing.T) {
		k.run(ctx, t, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"pod"},"spec":{"containers":[{"name":"c","image":"none"}]}}`, "create", "-f", "-")
		direct := newKubectl(t, cluster, cluster.Servers[0].Address, kubectlNamespace)
		for _, arguments := range [][]string{
			{"exec", "pod", "--", "true"}, {"exec", "nothing", "--", "true"}, {"attach", "pod"}, {"port-forward", "pod", "0:80"},
			{"exec", "pod", "--context=token", "--", "true"},
		} {
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			want, wantErr := direct.command(limited, arguments...).CombinedOutput()
			got, gotErr := k.command(limited, arguments...).CombinedOutput()
			timedOut := limited.Err() != nil
			cancel()
			if timedOut || string(got) != string(want) || (gotErr == nil) != (wantErr == nil) {
				t.Errorf("kubectl %v: %v %s\ndirectly: %v %s", arguments, gotErr, got, wantErr, want)
			}
			figure(t, "%v: %s", arguments, strings.TrimSpace(string(got)))
		}
	})
}

func awaitLine(t *testing.T, lines <-chan string, start string) {
	t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case line, open := <-lines:
			if strings.HasPrefix(line, start) {
				return
			}
			if !open {
				t.Fatalf("the watch ended before %q", start)
			}
		case <-limit:
			t.Fatalf("the watch did not show %q", start)
		}
	}
}
