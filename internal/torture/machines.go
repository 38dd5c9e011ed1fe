package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// agents are the workers' processes on the machines below a directory: ours and
// stock ones, but no watchdogs.
func agents(dir string) (pids []int) {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte("HOME="+dir+"/")) {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || !bytes.Contains(cmdline, []byte("\x00worker\x00--from-user-data")) && !bytes.Contains(cmdline, []byte(stockWorker+"\x00start")) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/environ", &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killAgents kills the agents of all machines.
func (r *run) killAgents() {
	for _, pid := range agents(filepath.Join(r.dir, "machines")) {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			r.count(&r.fig.agentKills, 1)
		}
	}
}
