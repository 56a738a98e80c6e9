// SPDX-License-Identifier: GPL-3.0-or-later
//
// What stands in for a container: a program of this machine, without any isolation, whose output is
// kept as its log and which clients can attach to.

package harness

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// output is one piece of what a container wrote.
type output struct {
	toError bool
	bytes   []byte
}

type container struct {
	name, image string
	once        bool // Its standard input ends with the first client that attaches to it.
	command     *exec.Cmd
	input       io.WriteCloser // Nil where there is none.
	started     time.Time

	mutex    sync.Mutex
	log      []output
	ended    bool
	code     int
	finished time.Time
	changed  chan struct{} // Closed, and replaced, at each change.
}

// startContainer starts the program that the container names; ended is called when it has ended.
func startContainer(spec *corev1.Container, dir string, ended func()) (*container, error) {
	words := append(append([]string(nil), spec.Command...), spec.Args...)
	if len(words) == 0 {
		words = []string{"sleep", "infinity"} // What an image without a word of its own would do.
	}
	c := &container{name: spec.Name, image: spec.Image, once: spec.StdinOnce, started: time.Now(), changed: make(chan struct{})}
	c.command = program(words, dir)
	c.command.Stdout, c.command.Stderr = logWriter{c, false}, logWriter{c, true}
	if spec.Stdin {
		pipe, err := c.command.StdinPipe()
		if err != nil {
			return nil, err
		}
		c.input = pipe
	}
	if err := c.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		code := exitCode(c.command.Wait())
		c.change(func() { c.ended, c.code, c.finished = true, code, time.Now() })
		ended()
	}()
	return c, nil
}

// program is a command that dies with the test process.
func program(words []string, dir string) *exec.Cmd {
	command := exec.Command(words[0], words[1:]...)
	command.Dir = dir
	command.Env = append(os.Environ(), "HOME="+dir)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	// Whoever inherited its output and lives on does not keep the end from being seen.
	command.WaitDelay = time.Second
	return command
}

// endProgram ends a program and all that it started.
func endProgram(command *exec.Cmd) {
	if command.Process != nil && command.ProcessState == nil {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
}

// exitCode is what a shell would say.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return 0
	case !errors.As(err, &exit):
		return -1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

func (c *container) change(what func()) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	what()
	close(c.changed)
	c.changed = make(chan struct{})
}

type logWriter struct {
	*container
	toError bool
}

func (w logWriter) Write(bytes []byte) (int, error) {
	w.change(func() { w.log = append(w.log, output{w.toError, append([]byte(nil), bytes...)}) })
	return len(bytes), nil
}

// position is the end of what was written so far.
func (c *container) position() int {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return len(c.log)
}

// follow hands on what was and will be written from a position, until the container has ended, take
// fails, or the time is over.
func (c *container) follow(ctx context.Context, from int, take func(output) error) error {
	for {
		c.mutex.Lock()
		pieces, ended, changed := c.log[from:], c.ended, c.changed
		c.mutex.Unlock()
		for _, piece := range pieces {
			if err := take(piece); err != nil {
				return err
			}
		}
		if from += len(pieces); ended {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// attach joins a client to the container until that ends.
func (c *container) attach(ctx context.Context, in io.Reader, out, errors io.Writer) error {
	from := c.position()
	if in != nil && c.input != nil {
		go func() {
			_, _ = io.Copy(c.input, in)
			if c.once {
				_ = c.input.Close()
			}
		}()
	}
	return c.follow(ctx, from, func(piece output) error {
		to := out
		if piece.toError {
			to = errors
		}
		if to == nil {
			return nil
		}
		_, err := to.Write(piece.bytes)
		return err
	})
}

// status is what a kubelet reports of it.
func (c *container) status() corev1.ContainerStatus {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	running := !c.ended
	status := corev1.ContainerStatus{Name: c.name, Image: c.image, ImageID: c.image, Ready: running, Started: &running}
	if running {
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.started).Rfc3339Copy()}
		return status
	}
	reason := "Completed"
	if c.code != 0 {
		reason = "Error"
	}
	status.State.Terminated = &corev1.ContainerStateTerminated{
		ExitCode: int32(c.code), Reason: reason, StartedAt: metav1.NewTime(c.started).Rfc3339Copy(), FinishedAt: metav1.NewTime(c.finished).Rfc3339Copy(),
	}
	return status
}

func (c *container) running() bool {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return !c.ended
}
