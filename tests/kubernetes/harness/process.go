// SPDX-License-Identifier: GPL-3.0-or-later
//
// Child processes. Each writes its output to a file, is ended by its own pid, and dies with the
// test process should that one end without tidying up.

package harness

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running child.
type Process struct {
	Name    string
	LogFile string

	command *exec.Cmd
	done    chan struct{}
	exit    error
}

// StartProcess starts a program with its output in dir/NAME.log.
func StartProcess(dir, name, program string, arguments ...string) (*Process, error) {
	p := &Process{Name: name, LogFile: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.command = exec.Command(program, arguments...)
	p.command.Dir = dir
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.exit = p.command.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the child's process id.
func (p *Process) PID() int { return p.command.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal to the child alone.
func (p *Process) Signal(signal syscall.Signal) error {
	err := p.command.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends the child at once and waits for it.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Stop asks the child to end, and ends it after the grace period. It tells how the child ended.
func (p *Process) Stop(grace time.Duration) error {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.exit
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM", p.Name, grace)
	}
}

// Tail returns the last lines of the child's output, for a failure's message.
func (p *Process) Tail(lines int) string {
	content, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return fmt.Sprintf("--- %s, last lines ---\n%s", p.Name, strings.Join(all, "\n"))
}

// WaitFor polls until ready says yes, the child has ended, or the time is over.
func (p *Process) WaitFor(limit time.Duration, ready func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", p.Name, limit, err, p.Tail(20))
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended (%v)\n%s", p.Name, p.exit, p.Tail(20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var (
	portMutex  sync.Mutex
	portsGiven = map[int]bool{}
)

// FreePort finds a port of loopback that nobody listens on. It stays below the range from which
// outgoing connections take theirs, so that none of them grabs it before its server listens.
func FreePort() (int, error) {
	portMutex.Lock()
	defer portMutex.Unlock()
	for range 1000 {
		port := 15000 + rand.IntN(15000)
		if portsGiven[port] {
			continue
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		listener.Close()
		portsGiven[port] = true
		return port, nil
	}
	return 0, errors.New("no free port found between 15000 and 30000 on 127.0.0.1")
}
