package worker

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitExit waits for the leader's end without reaping it: while it is a
// zombie its process group's id can not come into other use, so that a later
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
	}
	return p.status
}
