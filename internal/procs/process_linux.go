package procs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// All are the processes of this machine that live, as far as this process sees
// them.
func All() []Process {
	list, _ := scan()
	return list
}

// scan lists the processes that live, and those that have ended and wait to be
// reaped.
func scan() (live, dead []Process) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1) // what there is of them is all there is to do something about
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, state, ok := read(pid)
		switch {
		case !ok:
		case state == 'Z' || state == 'X':
			dead = append(dead, p)
		default:
			live = append(live, p)
		}
	}
	return live, dead
}

// read reads a process's stat file, whose fields proc_pid_stat(5) numbers.
func read(pid int) (p Process, state byte, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return p, 0, false
	}
	// The second field is the program's name in parentheses, and may hold any.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const third, fourth, fifth, twentySecond = 0, 1, 2, 19
	if len(fields) <= twentySecond {
		return p, 0, false
	}
	parent, err1 := strconv.Atoi(string(fields[fourth]))
	group, err2 := strconv.Atoi(string(fields[fifth]))
	started, err3 := strconv.ParseUint(string(fields[twentySecond]), 10, 64)
	return Process{pid, parent, group, started}, fields[third][0], err1 == nil && err2 == nil && err3 == nil
}

func (p Process) file(name string) string { return fmt.Sprintf("/proc/%d/%s", p.PID, name) }

// Marked reports whether a process was started with a variable, given as
// NAME=VALUE, in its environment. Of another user's processes that cannot be
// known.
func (p Process) Marked(variable string) bool {
	environ, err := os.ReadFile(p.file("environ"))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if string(v) == variable {
			return true
		}
	}
	return false
}

// String names the process for people: its number and its command, which may
// hold secrets.
func (p Process) String() string {
	command := "?"
	if line, err := os.ReadFile(p.file("cmdline")); err == nil && len(line) > 0 {
		command = show(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
	} else if name, err := os.ReadFile(p.file("comm")); err == nil {
		command = strings.TrimSpace(string(name))
	}
	return fmt.Sprintf("%d (%s)", p.PID, command)
}

// signal sends a signal, unless the number belongs to another process by now.
func (p Process) signal(sig syscall.Signal) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		if now, _, ok := read(p.PID); ok && now.Started == p.Started { // a kernel, or a sandbox, without pidfd
			_ = unix.Kill(p.PID, sig)
		}
		return
	}
	defer unix.Close(fd)
	if now, _, ok := read(p.PID); ok && now.Started == p.Started {
		// Of what may not be told to end, End says that it is left.
		_ = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
}

// Holders are the processes that can still write to pipes and terminals whose
// other ends are ours.
func Holders(pipes []*os.File) []Process {
	var wanted []string
	for _, f := range pipes {
		if conn, err := f.SyscallConn(); err == nil {
			_ = conn.Control(func(fd uintptr) { wanted = append(wanted, otherEnd(int(fd))) })
		}
	}
	self := os.Getpid()
	return slices.DeleteFunc(All(), func(p Process) bool { return p.PID == self || !p.writes(wanted) })
}

// otherEnd is the name, in /proc/PID/fd, of a pipe or of the other end of a
// terminal.
func otherEnd(fd int) string {
	if n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN); err == nil {
		return fmt.Sprintf("/dev/pts/%d", n)
	}
	var st unix.Stat_t
	_ = unix.Fstat(fd, &st) // an open file has a status
	return fmt.Sprintf("pipe:[%d]", st.Ino)
}

// writes reports whether a process has one of these files open for writing.
func (p Process) writes(files []string) bool {
	dir := p.file("fd")
	open, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer open.Close()
	names, _ := open.Readdirnames(-1) // it may end meanwhile
	for _, name := range names {
		link := dir + "/" + name
		if to, err := os.Readlink(link); err != nil || !slices.Contains(files, to) {
			continue
		}
		if fi, err := os.Lstat(link); err == nil && fi.Mode()&0o200 != 0 {
			return true
		}
	}
	return false
}

// Adopt makes this process the parent of whatever descends from it and loses its
// own parent. It has to reap them then: see [Reap].
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Reap takes the children of this process away that have ended, but for those
// that somebody else waits for.
func Reap(awaited func(Process) bool) {
	_, dead := scan()
	self := os.Getpid()
	for _, p := range dead {
		if p.Parent == self && !awaited(p) {
			_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil)
		}
	}
}

// Start starts a command that is killed when this process ends, however it does,
// and returns what is closed once it has ended. The kernel sends that signal when
// the thread ends that started the command: so the thread is kept until then.
func Start(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // cmd.ProcessState says how it ended
		}
	}()
	return over, <-started
}
