// SPDX-License-Identifier: GPL-3.0-or-later
//
// A test in a network namespace of its own, with addresses that no machine has.

package harness

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

const namespaceVariable = "SLUICE_IN_NAMESPACE"

// InNamespace tells whether this process is what RunInNamespace has started.
func InNamespace() bool { return os.Getenv(namespaceVariable) != "" }

// ErrNoNamespace says that this machine does not let us have one.
var ErrNoNamespace = errors.New("no network namespace can be made here")

// RunInNamespace runs one test of this program again, in a process that has a network namespace of
// its own, and everything that it starts with it.
func RunInNamespace(test string) error {
	command := exec.Command("/proc/self/exe", "-test.run=^"+test+"$", "-test.v", "-test.count=1")
	command.Env = append(os.Environ(), namespaceVariable+"=1")
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	attributes := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		// Whoever is nobody special is so in a user namespace.
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	command.SysProcAttr = attributes
	if err := command.Start(); err != nil {
		return fmt.Errorf("%w: %v", ErrNoNamespace, err)
	}
	return command.Wait()
}

// AddAddresses gives loopback these addresses of IPv4, each as a network of its own, and makes it
// work: in a new namespace it does not.
func AddAddresses(addresses ...string) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	set := func(name string, request uint, fill func(*unix.Ifreq) error) error {
		interfaceRequest, err := unix.NewIfreq(name)
		if err == nil {
			err = fill(interfaceRequest)
		}
		if err == nil {
			err = unix.IoctlIfreq(socket, request, interfaceRequest)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	up := func(request *unix.Ifreq) error {
		request.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK | unix.IFF_RUNNING)
		return nil
	}
	if err := set("lo", unix.SIOCSIFFLAGS, up); err != nil {
		return err
	}
	for i, text := range addresses {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return err
		}
		name := fmt.Sprintf("lo:%d", i+1)
		if err := set(name, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address.AsSlice()) }); err != nil {
			return err
		}
		if err := set(name, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.CIDRMask(32, 32)) }); err != nil {
			return err
		}
	}
	return nil
}
