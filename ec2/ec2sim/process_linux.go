package ec2sim

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// processAttributes make the boot process the leader of a session, and so of a
// group, and let it die with the endpoint.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// onFirstThread reports whether the caller runs on the process's first thread.
func onFirstThread() bool { return syscall.Gettid() == syscall.Getpid() }

// waitByPID is P_PID of waitid(2).
const waitByPID = 1

// awaitExit waits for the boot process to end and says how it did. It leaves
// the zombie: while it is there, its number cannot become a stranger's, and
// the group can be named by it.
func awaitExit(cmd *exec.Cmd) string {
	pid := cmd.Process.Pid
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitByPID, uintptr(pid), 0, syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno != syscall.EINTR {
			break
		}
	}
	p, ok := readStat(pid)
	switch status := syscall.WaitStatus(p.exitCode); {
	case !ok:
		return "its status is not known"
	case status.Signaled():
		return "signal: " + status.Signal().String()
	default:
		return "exit status " + strconv.Itoa(status.ExitStatus())
	}
}

// reap takes the zombie away.
func reap(cmd *exec.Cmd) {
	// Its status was told before.
	_ = cmd.Wait()
}

// stat is what is of interest of /proc/PID/stat.
type stat struct {
	state    byte
	group    int
	exitCode int
}

// readStat reads a process's status; proc_pid_stat(5) numbers the fields.
func readStat(pid int) (stat, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	// The second field is the program's name in parentheses, and may hold any.
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return stat{}, false
	}
	fields := strings.Fields(string(text[i+1:]))
	const third, fifth, fiftySecond = 0, 2, 49
	if len(fields) <= fiftySecond {
		return stat{}, false
	}
	group, groupErr := strconv.Atoi(fields[fifth])
	exitCode, exitErr := strconv.Atoi(fields[fiftySecond])
	return stat{fields[third][0], group, exitCode}, groupErr == nil && exitErr == nil
}

// machineProcesses lists the living processes of a machine: those of its group,
// and those that carry its marker, a variable and its value, in the environment
// they were started with. The environment of another user's processes cannot
// be read; those are not ours to end.
func machineProcesses(group int, marker string) []int {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	want := []byte(marker)
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(filepath.Base(entry))
		if err != nil {
			continue
		}
		p, ok := readStat(pid)
		if !ok || p.state == 'Z' || p.state == 'X' {
			continue
		}
		if p.group == group || hasVariable(pid, want) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasVariable(pid int, want []byte) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(variable, want) {
			return true
		}
	}
	return false
}
