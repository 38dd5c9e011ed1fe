//go:build unix && !linux

package ec2sim

import (
	"os/exec"
	"syscall"
)

// processAttributes make the boot process the leader of a session, and so of a
// group.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// awaitExit waits for the boot process to end and says how it did.
func awaitExit(cmd *exec.Cmd) string {
	// The error says only what the state says too.
	_ = cmd.Wait()
	return cmd.ProcessState.String()
}

// reap has nothing to do where awaitExit has waited.
func reap(*exec.Cmd) {}

// machineProcesses names the machine's group, as a process number for a signal,
// as long as it has members. Here a process that leaves the group is out of
// reach.
func machineProcesses(group int, _ string) []int {
	if syscall.Kill(-group, 0) != nil {
		return nil
	}
	return []int{-group}
}

// onFirstThread reports whether the caller runs on the process's first thread.
// What depends on that is Linux's alone.
func onFirstThread() bool { return false }
