// SPDX-License-Identifier: GPL-3.0-or-later
//
// Pseudo terminals, for programs that want one.

package harness

import (
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// OpenTerminal returns the two ends of a new pseudo terminal.
func OpenTerminal() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			master.Close()
		}
	}()
	// Not Fd(), which would make reading block a whole thread and deaf to Close.
	raw, err := master.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	number := 0
	controlErr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err == nil {
		err = controlErr
	}
	if err != nil {
		return nil, nil, err
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	return master, slave, err
}

// ResizeTerminal tells a terminal how large its window is.
func ResizeTerminal(master *os.File, width, height uint16) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height})
	})
	if err != nil {
		return err
	}
	return controlErr
}

// OnTerminal makes a terminal the controlling one of a command that has not started.
func OnTerminal(command *exec.Cmd, slave *os.File) {
	command.Stdin, command.Stdout, command.Stderr = slave, slave, slave
	command.SysProcAttr.Setpgid = false
	command.SysProcAttr.Setsid, command.SysProcAttr.Setctty, command.SysProcAttr.Ctty = true, true, 0
}
