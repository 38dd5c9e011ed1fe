package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

// readSize is how much is read from a pipe at once: a pipe holds no more on
// Linux by default.
const readSize = 64 << 10

// chunk is what one read from a process's pipe gave. Its data is valid until
// the next chunk of any stream is received.
type chunk struct {
	stream dormouse.Stream
	data   []byte
	time   time.Time
}

// process is a running command as its supervisor sees it: a group of
// processes, their leader, and the pipes that any of them may hold.
type process interface {
	// Output delivers what is read, and is closed once no process holds a
	// pipe any more. Not receiving holds the processes back.
	Output() <-chan chunk
	// Settle has Output closed once it has delivered what is in the pipes now,
	// whoever holds them.
	Settle()
	// Exited is closed when the leader has ended.
	Exited() <-chan struct{}
	// Signal goes to every process in the group.
	Signal(syscall.Signal)
	// Reap returns how the leader ended. After it, the group's id may be used
	// again as soon as the group is empty.
	Reap() exitStatus
	// GroupAlive reports, once the leader was reaped, whether others of the
	// group live.
	GroupAlive() bool
	// Close waits for those who read the pipes, and closes these. It returns those
	// that somebody still holds, open, with the names of who does.
	Close() (held []*procs.Output, holders []string)
}

// exitStatus is how a process ended: by exiting with a code, or by a signal.
type exitStatus struct {
	code   int
	signal syscall.Signal // 0 when it exited by itself
}

// processSpec says what to start.
type processSpec struct {
	argv  []string
	dir   string
	env   []string
	stdin string
	// terminal has it run on a terminal of its own, without stdin.
	terminal bool
	// begin starts the process, and reaped is told when it was waited for.
	begin  func(*exec.Cmd) error
	reaped func(pid int)
}

// notStarted is the error of a command that could not be started, with the
// exit code that a shell would give.
type notStarted struct {
	code int
	err  error
}

func (e *notStarted) Error() string { return e.err.Error() }
func (e *notStarted) Unwrap() error { return e.err }

// osProcess is a process of the operating system.
type osProcess struct {
	cmd    *exec.Cmd
	output chan chunk
	exited chan struct{}
	stop   chan struct{}

	outputs []*procs.Output
	input   *os.File // our end; nil where there is none
	told    func(pid int)
	readers sync.WaitGroup
	feeders sync.WaitGroup
	ended   sync.WaitGroup // closes output

	reaped bool
	status exitStatus
}

// startProcess starts a command as the leader of a process group of its own.
func startProcess(spec processSpec) (*osProcess, error) {
	path, err := findExecutable(spec.argv[0], spec.dir, spec.env)
	if err != nil {
		code := 127
		if errors.Is(err, os.ErrPermission) {
			code = 126
		}
		return nil, &notStarted{code: code, err: err}
	}
	p := &osProcess{
		output: make(chan chunk),
		exited: make(chan struct{}),
		stop:   make(chan struct{}),
		told:   spec.reaped,
		cmd: &exec.Cmd{
			Path:        path,
			Args:        spec.argv,
			Dir:         spec.dir,
			Env:         spec.env,
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		},
	}
	// The pipes are made here, not by os/exec, because its Wait would then
	// wait for whoever inherited them.
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close() // closing a nil file is harmless
		}
	}()
	pipe := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	var outR, errR, inW *os.File
	if spec.terminal {
		var terminal *os.File
		outR, terminal, err = openTerminal()
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
		// The leader of a session is that of a process group as well. The
		// descriptor is the child's.
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		theirs = []*os.File{terminal}
	} else {
		var outW, errW, inR *os.File
		outR, outW = pipe()
		errR, errW = pipe()
		if spec.stdin != "" {
			inR, inW = pipe()
			p.cmd.Stdin = inR
		}
		p.cmd.Stdout, p.cmd.Stderr = outW, errW
		p.input = inW
		theirs = []*os.File{outW, errW, inR}
	}
	if err == nil {
		if err = spec.begin(p.cmd); err != nil {
			err = &notStarted{code: 126, err: err}
		}
	}
	if err != nil {
		for _, f := range []*os.File{outR, errR, inW} {
			f.Close()
		}
		return nil, err
	}
	p.reads(dormouse.Stdout, outR)
	if errR != nil {
		p.reads(dormouse.Stderr, errR)
	}
	p.ended.Go(func() {
		p.readers.Wait()
		close(p.output)
	})
	if inW != nil {
		p.feeders.Go(func() {
			defer inW.Close()
			// A process need not read its input: an error here is its choice.
			_, _ = inW.WriteString(spec.stdin)
		})
	}
	// Not waited for: a process that even SIGKILL does not end is given up.
	go func() {
		p.awaitExit()
		close(p.exited)
	}()
	return p, nil
}

// reads reads an output from now on.
func (p *osProcess) reads(stream dormouse.Stream, f *os.File) {
	o := procs.NewOutput(f)
	p.outputs = append(p.outputs, o)
	p.readers.Go(func() { p.read(stream, o) })
}

func (p *osProcess) read(stream dormouse.Stream, from io.Reader) {
	// Two buffers take turns: when the second is received, the receiver is
	// done with the first.
	buffers := [2][]byte{make([]byte, readSize), make([]byte, readSize)}
	for i := 0; ; i = 1 - i {
		n, err := from.Read(buffers[i])
		if n > 0 {
			select {
			case p.output <- chunk{stream: stream, data: buffers[i][:n], time: time.Now()}:
			case <-p.stop:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *osProcess) Output() <-chan chunk    { return p.output }
func (p *osProcess) Exited() <-chan struct{} { return p.exited }

func (p *osProcess) Signal(sig syscall.Signal) {
	// No such group means that all of it has ended already.
	_ = syscall.Kill(-p.cmd.Process.Pid, sig)
}

func (p *osProcess) Settle() {
	for _, o := range p.outputs {
		o.Settle()
	}
}

func (p *osProcess) Close() (held []*procs.Output, holders []string) {
	close(p.stop)
	p.Settle()
	p.input.Close() // closing a nil file is harmless
	p.ended.Wait()
	p.feeders.Wait()
	var files []*os.File
	for _, o := range p.outputs {
		if o.Held() {
			held, files = append(held, o), append(files, o.File())
		} else {
			o.Close()
		}
	}
	if len(held) > 0 {
		for _, holder := range procs.Holders(files) {
			holders = append(holders, holder.String())
		}
	}
	return held, holders
}

// statusOf translates what Wait returned.
func statusOf(state *os.ProcessState) exitStatus {
	if state == nil {
		return exitStatus{code: -1}
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return exitStatus{code: -1, signal: ws.Signal()}
	}
	return exitStatus{code: state.ExitCode()}
}

// findExecutable finds a program as execvp would with the command's own
// environment and directory, which are not the agent's.
func findExecutable(name, dir string, env []string) (string, error) {
	if name == "" {
		return "", errors.New("the command is empty")
	}
	if strings.ContainsRune(name, '/') {
		return name, executable(inDir(dir, name))
	}
	path := "/usr/local/bin:/usr/bin:/bin" // what shells use without a PATH
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	var denied error
	for _, elem := range filepath.SplitList(path) {
		file := inDir(dir, filepath.Join(elem, name))
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if errors.Is(err, os.ErrPermission) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("%s: command not found in PATH=%s", name, path)
}

func inDir(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func executable(file string) error {
	fi, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case fi.IsDir():
		return &os.PathError{Op: "exec", Path: file, Err: os.ErrPermission}
	case fi.Mode()&0o111 == 0:
		return &os.PathError{Op: "exec", Path: file, Err: os.ErrPermission}
	}
	return nil
}
