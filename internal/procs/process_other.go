//go:build !linux

package procs

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// All finds nothing here.
func All() []Process { return nil }

// Marked cannot be known here.
func (p Process) Marked(string) bool { return false }

// String names the process for people.
func (p Process) String() string { return fmt.Sprint(p.PID) }

func (p Process) signal(sig syscall.Signal) { _ = syscall.Kill(p.PID, sig) }

// Holders cannot be known here.
func Holders([]*os.File) []Process { return nil }

// Adopt does nothing here.
func Adopt() error { return nil }

// Reap has nothing to do where nothing is adopted.
func Reap(func(Process) bool) {}

// Start starts a command, and returns what is closed once it has ended.
func Start(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	over := make(chan struct{})
	if err := cmd.Start(); err != nil {
		close(over)
		return over, err
	}
	go func() {
		defer close(over)
		_ = cmd.Wait() // cmd.ProcessState says how it ended
	}()
	return over, nil
}
