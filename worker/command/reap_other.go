//go:build !linux

package command

import "syscall"

// awaitExit waits for the leader's end, and reaps it.
func (p *osProcess) awaitExit() {
	_ = p.cmd.Wait() // its error repeats the status
	p.reaped, p.status = true, statusOf(p.cmd.ProcessState)
	p.told(p.cmd.Process.Pid)
}

// Reap returns how the leader ended; it is called after Exited was closed.
func (p *osProcess) Reap() exitStatus { return p.status }

func (p *osProcess) GroupAlive() bool { return syscall.Kill(-p.cmd.Process.Pid, 0) == nil }
