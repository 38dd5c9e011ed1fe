package command

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// awaitExit waits for the leader's end without reaping it: while it is a
// zombie its process group's id cannot come into other use, so that a later
// signal to the group reaches nobody else.
func (p *osProcess) awaitExit() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Reap returns how the leader ended; it is called after Exited was closed.
func (p *osProcess) Reap() exitStatus {
	if !p.reaped {
		_ = p.cmd.Wait() // its error repeats the status
		p.reaped, p.status = true, statusOf(p.cmd.ProcessState)
		p.told(p.cmd.Process.Pid)
	}
	return p.status
}

// GroupAlive looks at each process of the machine where the kernel says that
// the group has members, since orphans that nobody reaps (as in a container
// whose first process is no init) are members for ever.
func (p *osProcess) GroupAlive() bool {
	group := p.cmd.Process.Pid
	if unix.Kill(-group, 0) != nil {
		return false
	}
	proc, err := os.Open("/proc")
	if err != nil {
		return true
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return true
	}
	for _, name := range names {
		if name[0] < '1' || name[0] > '9' {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err == nil && liveIn(stat, group) {
			return true
		}
	}
	return false
}

// liveIn reads a process's stat file, see proc_pid_stat(5): its state and its
// group follow its name, which may hold anything but is in parentheses.
func liveIn(stat []byte, group int) bool {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 3 {
		return false
	}
	pgrp, err := strconv.Atoi(string(fields[2]))
	state := fields[0][0]
	return err == nil && pgrp == group && state != 'Z' && state != 'X'
}
