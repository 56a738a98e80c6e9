// SPDX-License-Identifier: GPL-3.0-or-later
//
// What kubectl is made to do with streams.

package kubernetes

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"sluice/tests/kubernetes/harness"
)

// execCase runs a shell's script in a pod that is there for it.
func execCase(name, input string, want transcript, script string) streamCase {
	return streamCase{name: name, want: want, run: func(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
		pod := s.startPod(ctx, t, corev1.Container{})
		return k.ended(ctx, t, input, "exec", "-i", pod, "--", "sh", "-c", script)
	}}
}

// inOneForm is for what other forms do not do the same each time, directly: with SPDY, an exit code is lost when the connection
// ends before the client looks.
func inOneForm(form string, c streamCase) streamCase {
	c.form = form
	return c
}

// often is for what may be lost by chance: here, an exit code that comes just before a reset.
func often(times int, c streamCase) streamCase {
	c.times = times
	return c
}

// plainCase runs kubectl with these arguments; POD stands for a running pod.
func plainCase(name string, want transcript, arguments ...string) streamCase {
	return streamCase{name: name, want: want, once: true, run: func(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
		pod := s.startPod(ctx, t, corev1.Container{})
		own := append([]string(nil), arguments...)
		for i := range own {
			own[i] = strings.ReplaceAll(own[i], "POD", pod)
		}
		return k.ended(ctx, t, "", own...)
	}}
}

func streamCases() []streamCase {
	return []streamCase{
		execCase("exec", "", transcript{0, "out\n", "err\n"}, "echo out; echo err >&2"),
		execCase("exec with an exit code", "", transcript{42, "", "exit code 42"}, "exit 42"),
		execCase("exec with stdin, stderr and an exit code", "line\n", transcript{7, "line\n", "done\n"}, "cat; echo done >&2; exit 7"),
		execCase("exec of 5 MB each way", someText(5<<20), transcript{code: 0, output: someText(5 << 20)}, "cat"),
		inOneForm("websocket", often(15, execCase("exec whose input nobody reads", someText(1<<20), transcript{3, "", ""}, "exit 3"))),
		{name: "exec on a terminal", run: execOnTerminal, want: transcript{output: "40 120\r\n"}},
		plainCase("exec of what is not there", transcript{1, "", "executable file not found"}, "exec", "POD", "--", "no-such-program"),
		plainCase("exec into no pod", transcript{1, "", `pods "pod-none" not found`}, "exec", "pod-none", "--", "true"),
		plainCase("exec into no container", transcript{1, "", "container not-there"}, "exec", "POD", "-c", "not-there", "--", "true"),
		plainCase("exec without permission", transcript{1, "", "forbidden"}, "exec", "POD", "--context=viewer", "--", "true"),
		plainCase("exec with a wrong token", transcript{1, "", "logged in"}, "exec", "POD", "--context=unknown", "--", "true"),
		plainCase("exec into a pod that no node has", transcript{1, "", "pods"}, "exec", "pod/none", "--", "true"),
		plainCase("attach without permission", transcript{1, "", "forbidden"}, "attach", "POD", "--context=viewer"),
		plainCase("port-forward without permission", transcript{1, "", "forbidden"}, "port-forward", "pod/POD", ":80", "--context=viewer"),
		plainCase("logs without permission", transcript{1, "", "forbidden"}, "logs", "-f", "POD", "--context=viewer"),
		{name: "attach", run: attach, want: transcript{0, "got one\ngot two\n", "at the end\n"}},
		// A pod that ends at once may be gone before kubectl has shown what it said.
		{name: "run -i --rm", run: runOnce, want: transcript{3, "got hello\n", ""}, tries: 3},
		{name: "debug", run: debug, want: transcript{0, "got hello\n", ""}},
		{name: "logs", run: logs, want: transcript{0, "one\ntwo\n", ""}},
		{name: "port-forward of 1000 requests", run: portForward, want: transcript{0, "1000 answers", ""}},
		{name: "port-forward to a closed port", run: portForwardToNothing, want: transcript{1, "no answer", "connection refused"}, once: true},
		{name: "cp of 100 MB both ways", run: copyBothWays, want: transcript{0, "equal hashes", ""}, once: true},
		{name: "proxy with a watch through it", run: proxyWithWatch, want: transcript{0, "ADDED marker", ""}},
	}
}

// someText is lines that differ.
func someText(bytes int) string {
	var text strings.Builder
	for i := 0; text.Len() < bytes; i++ {
		fmt.Fprintf(&text, "%d of many lines\n", i)
	}
	return text.String()
}

func execOnTerminal(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	pod := s.startPod(ctx, t, corev1.Container{})
	// The program waits for its input, so that the size has surely arrived.
	command := k.command(ctx, "exec", "-it", pod, "--", "sh", "-c", "stty -echo; read x; stty size; echo $x; exit 5")
	master, slave, err := harness.OpenTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	if err := harness.ResizeTerminal(master, 120, 40); err != nil {
		t.Fatal(err)
	}
	harness.OnTerminal(command, slave)
	err = command.Start()
	slave.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(master, "typed\n"); err != nil {
		t.Fatal(err)
	}
	shown, _ := io.ReadAll(master) // Ends with an error, when nobody has the other end.
	_ = command.Wait()
	// What the local terminal echoes, and where, is a matter of time.
	text := strings.ReplaceAll(string(shown), "typed\r\n", "")
	if !strings.Contains(string(shown), "typed") {
		t.Errorf("the line that was typed did not come back: %q", shown)
	}
	return transcript{code: command.ProcessState.ExitCode() - 5, output: text}
}

func attach(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	pod := s.startPod(ctx, t, corev1.Container{
		Command: []string{"sh", "-c", `while read x; do echo "got $x"; done; echo at the end >&2`}, Stdin: true, StdinOnce: true,
	})
	return k.ended(ctx, t, "one\ntwo\n", "attach", "-i", pod)
}

func runOnce(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	return k.ended(ctx, t, "hello\n", "run", newPodName(), "-i", "--rm", "--restart=Never", "--image=none", "--quiet",
		"--", "sh", "-c", `read x; echo "got $x"; exit 3`)
}

func debug(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	pod := s.startPod(ctx, t, corev1.Container{})
	return k.ended(ctx, t, "hello\n", "debug", pod, "-i", "--quiet", "--image=none", "--container=other", "--", "sh", "-c", `read x; echo "got $x"`)
}

func logs(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	pod := s.startPod(ctx, t, corev1.Container{Command: []string{"sh", "-c", "echo one; echo two"}})
	return k.ended(ctx, t, "", "logs", "-f", pod)
}

// running is a kubectl that has not ended; its output is read line by line.
type running struct {
	lines      chan string
	command    *exec.Cmd
	complaints strings.Builder
	done       chan struct{}
}

func background(t *testing.T, command *exec.Cmd) *running {
	t.Helper()
	r := &running{lines: make(chan string, 1000), command: command, done: make(chan struct{})}
	pipe, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = &r.complaints
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		defer close(r.lines)
		for scanner := bufio.NewScanner(pipe); scanner.Scan(); {
			select {
			case r.lines <- scanner.Text():
			default: // Nobody reads any more.
			}
		}
	}()
	return r
}

// wait returns how it ended by itself.
func (r *running) wait() transcript {
	<-r.done
	_ = r.command.Wait()
	return transcript{code: r.command.ProcessState.ExitCode(), errors: r.complaints.String()}
}

// end ends it as a user does; its exit code tells nothing then.
func (r *running) end() transcript {
	_ = r.command.Process.Signal(os.Interrupt)
	seen := r.wait()
	seen.code = 0
	return seen
}

var listens = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// listening is the address that kubectl says it listens on.
func (r *running) listening(ctx context.Context, t *testing.T) string {
	t.Helper()
	for {
		select {
		case line, open := <-r.lines:
			if !open {
				t.Fatalf("kubectl ended: %v", r.wait())
			}
			if address := listens.FindString(line); address != "" {
				return address
			}
		case <-ctx.Done():
			t.Fatalf("kubectl does not listen: %v", r.end())
		}
	}
}

func portForward(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	const requests, concurrency = 1000, 8
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		fmt.Fprintf(w, "%s %x", request.URL.Path, sha256.Sum256(body))
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	pod := s.startPod(ctx, t, corev1.Container{})
	kubectl := background(t, k.command(ctx, "port-forward", "pod/"+pod, ":"+port))
	address := kubectl.listening(ctx, t)
	// Each request is a connection of its own, thus a stream of its own.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	numbers, failures := make(chan int, requests), make(chan error, requests)
	for i := range requests {
		numbers <- i
	}
	close(numbers)
	for range concurrency {
		go func() {
			for i := range numbers {
				failures <- onePortForwarded(ctx, client, address, i)
			}
		}()
	}
	right := 0
	for range requests {
		if err := <-failures; err != nil {
			t.Error(err)
		} else {
			right++
		}
	}
	seen := kubectl.end()
	seen.output = fmt.Sprintf("%d answers", right)
	return seen
}

func onePortForwarded(ctx context.Context, client *http.Client, address string, number int) error {
	body := strings.Repeat(fmt.Sprint(number), number%50*40)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://%s/%d", address, number), strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if want := fmt.Sprintf("/%d %x", number, sha256.Sum256([]byte(body))); err != nil || string(answer) != want {
		return fmt.Errorf("request %d: %q, %v, expected %q", number, answer, err, want)
	}
	return nil
}

func portForwardToNothing(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	port := must[int](t)(harness.FreePort())
	pod := s.startPod(ctx, t, corev1.Container{})
	kubectl := background(t, k.command(ctx, "port-forward", "pod/"+pod, fmt.Sprintf(":%d", port)))
	address := kubectl.listening(ctx, t)
	output := "no answer"
	if response, err := http.Get("http://" + address); err == nil {
		output = response.Status
		response.Body.Close()
	}
	seen := kubectl.wait() // It gives up by itself.
	seen.output = output
	seen.errors = strings.ReplaceAll(seen.errors, fmt.Sprint(port), "PORT")
	return seen
}

func copyBothWays(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	const size = 100_000_000
	folder := t.TempDir()
	local, back := filepath.Join(folder, "local"), filepath.Join(folder, "back")
	want := randomFile(t, local, size)
	pod := s.startPod(ctx, t, corev1.Container{})
	remote := filepath.Join(s.kubelet.Dir, pod)
	there := k.ended(ctx, t, "", "cp", local, pod+":"+remote)
	if there.code != 0 {
		return there
	}
	if got := fileHash(t, remote); got != want {
		t.Errorf("the file in the pod has the hash %s, the local one %s", got, want)
	}
	seen := k.ended(ctx, t, "", "cp", pod+":"+remote, back)
	if seen.code != 0 {
		return seen
	}
	if got := fileHash(t, back); got != want {
		t.Errorf("the file that came back has the hash %s, the local one %s", got, want)
	}
	if err := os.Remove(remote); err != nil {
		t.Fatal(err)
	}
	seen.output += "equal hashes"
	return seen
}

// randomFile writes a file and returns its hash.
func randomFile(t *testing.T, path string, size int64) string {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(file, hash), rand.NewChaCha8([32]byte{1}), size); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func fileHash(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

func proxyWithWatch(ctx context.Context, t *testing.T, s *stage, k *kubectl) transcript {
	kubectl := background(t, k.command(ctx, "proxy", "--port=0"))
	address := kubectl.listening(ctx, t)
	marker := "marker-" + newPodName()
	path := fmt.Sprintf("http://%s/api/v1/namespaces/%s/configmaps?watch=1&fieldSelector=metadata.name%%3D%s", address, s.kubelet.Namespace, marker)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	// The head of a watch comes before any event.
	k.run(ctx, t, "", "create", "configmap", marker)
	event, err := bufio.NewReader(response.Body).ReadString('\n')
	if err != nil || !strings.Contains(event, marker) {
		t.Errorf("the watch said %q, %v", event, err)
	}
	_ = response.Body.Close()
	seen := kubectl.end()
	seen.output = response.Status
	if strings.Contains(event, `"type":"ADDED"`) {
		seen.output += " ADDED marker"
	}
	return seen
}

// TestSilentStreamsGoOn leaves streams alone for a while.
func TestSilentStreamsGoOn(t *testing.T) {
	quiet := durationFromEnvironment(t, "SLUICE_QUIET_PERIOD", time.Minute)
	ctx := within(t, quiet+3*time.Minute)
	s := newStage(ctx, t, sharedCluster(t), "silence")
	script := fmt.Sprintf("echo before; sleep %d; echo after", int(quiet.Seconds()))
	// All at once, however many processors there are: none of them does anything.
	var waiting sync.WaitGroup
	for form := range forms {
		k := s.sides["proxied"].in(t, form)
		following := s.startPod(ctx, t, corev1.Container{Command: []string{"sh", "-c", script}})
		for _, arguments := range [][]string{
			{"exec", s.startPod(ctx, t, corev1.Container{}), "--", "sh", "-c", script},
			{"logs", "-f", following},
		} {
			waiting.Go(func() {
				output, err := k.command(ctx, arguments...).CombinedOutput()
				if err != nil || string(output) != "before\nafter\n" {
					t.Errorf("%s %v: %q, %v", forms[form].name, arguments, output, err)
				}
			})
		}
	}
	waiting.Wait()
}
