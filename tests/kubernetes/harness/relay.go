// SPDX-License-Identifier: GPL-3.0-or-later
//
// A TCP relay that delays what a backend answers: the backend looks slow, though it does no more work.

package harness

import (
	"net"
	"time"
)

// DelayRelay forwards connections to one address.
type DelayRelay struct {
	Address string

	listener net.Listener
	target   string
	delay    time.Duration
}

// StartDelayRelay listens on a free port of loopback.
func StartDelayRelay(target string, delay time.Duration) (*DelayRelay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &DelayRelay{Address: listener.Addr().String(), listener: listener, target: target, delay: delay}
	go r.accept()
	return r, nil
}

// Close stops accepting; connections end with their peers.
func (r *DelayRelay) Close() { r.listener.Close() }

func (r *DelayRelay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		backend, err := net.Dial("tcp", r.target)
		if err != nil {
			client.Close()
			continue
		}
		go forward(backend, client, 0)
		go forward(client, backend, r.delay)
	}
}

// forward sends each piece on when it is old enough. Reading goes on meanwhile, so that the delay
// costs time and not throughput.
func forward(to, from net.Conn, delay time.Duration) {
	type piece struct {
		due   time.Time
		bytes []byte
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer close(pieces)
		for {
			buffer := make([]byte, 16<<10)
			count, err := from.Read(buffer)
			if count > 0 {
				pieces <- piece{time.Now().Add(delay), buffer[:count]}
			}
			if err != nil {
				return
			}
		}
	}()
	for next := range pieces {
		time.Sleep(time.Until(next.due))
		if _, err := to.Write(next.bytes); err != nil {
			break
		}
	}
	to.Close()
	from.Close()
	for range pieces { // Lets the reader end.
	}
}
