package build

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

const (
	// masterKillWait is how long a command on the master has between its
	// interruption and its end.
	masterKillWait = 10 * time.Second
	// masterLinger is how long its output is read once it has ended, if something
	// else still holds it: the agent's figure.
	masterLinger = 2 * time.Second
)

// masterProcess is a command that runs on the master's machine.
type masterProcess struct {
	cmd     *exec.Cmd
	ended   <-chan struct{}
	outputs []*procs.Output
	reading sync.WaitGroup
}

// startHere starts a command of which the output goes to the step's log. It must
// not run on beside its second run, should this process be killed.
func (s *step) startHere(ctx context.Context, cmd *exec.Cmd) (*masterProcess, error) {
	p := &masterProcess{cmd: cmd}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		return nil, err
	}
	defer errW.Close()
	cmd.Stdout, cmd.Stderr = outW, errW
	if p.ended, err = procs.Start(cmd); err != nil {
		outR.Close()
		errR.Close()
		return nil, err
	}
	s.build.here.used = true
	for _, from := range []struct {
		stream dormouse.Stream
		file   *os.File
	}{{dormouse.Stdout, outR}, {dormouse.Stderr, errR}} {
		o := procs.NewOutput(from.file)
		p.outputs = append(p.outputs, o)
		p.reading.Go(func() { s.copyLines(ctx, from.stream, o) })
	}
	return p, nil
}

// wait returns once the command has ended, all it has printed is stored, and
// nothing of it is read any more. It returns the outputs that something else
// still holds.
func (p *masterProcess) wait(ctx context.Context, interrupt syscall.Signal) (held []*procs.Output) {
	select {
	case <-p.ended:
	case <-ctx.Done():
		_ = syscall.Kill(-p.cmd.Process.Pid, interrupt) // it may just have ended
		select {
		case <-p.ended:
		case <-time.After(masterKillWait):
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.ended
		}
	}
	read := make(chan struct{})
	go func() {
		p.reading.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(masterLinger):
	}
	for _, o := range p.outputs {
		o.Settle()
	}
	<-read
	for _, o := range p.outputs {
		if o.Held() {
			held = append(held, o)
		} else {
			o.Close()
		}
	}
	return held
}

// stays says what still holds the output of a command that has ended.
func (s *step) stays(ctx context.Context, held []*procs.Output) error {
	if len(held) == 0 {
		return nil
	}
	const rule = " still has the command's output open: it is left running until the build ends, and what it prints is not kept"
	var files []*os.File
	for _, o := range held {
		files = append(files, o.File())
	}
	var said []string
	for _, p := range procs.Holders(files) {
		if len(said) < maxHolders {
			said = append(said, "process "+p.String()+rule)
		}
	}
	if said == nil {
		said = []string{"a process that cannot be seen from here" + rule}
	}
	return s.logs.append(ctx, stdio, dormouse.Header, lines(said), nil)
}

// maxHolders bounds how many processes are named.
const maxHolders = 10

const (
	masterLine  = 64 << 10 // longer lines are split
	masterBatch = 64 << 10
)

// copyLines stores what a command on the master prints. The store's failure ends
// the step, and so the command.
func (s *step) copyLines(ctx context.Context, stream dormouse.Stream, r io.Reader) {
	in := bufio.NewReaderSize(r, masterLine)
	var batch []dormouse.LogLine
	size := 0
	rest := "" // of a line that is too long
	for {
		part, err := in.ReadSlice('\n')
		line := rest + string(part)
		rest = ""
		ended := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !ended {
			at := s.build.mask.cut(line)
			line, rest = line[:at], line[at:]
		}
		if line != "" {
			text := strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "\uFFFD")
			batch = append(batch, dormouse.LogLine{Time: time.Now(), Text: text})
			size += len(line)
		}
		if size >= masterBatch || len(batch) > 0 && (ended || in.Buffered() == 0) {
			if s.logs.append(ctx, stdio, stream, batch, nil) != nil {
				return
			}
			batch, size = nil, 0
		}
		if ended {
			return
		}
	}
}

// here is what commands on the master's machine leave behind.
type here struct {
	used    bool
	outputs []*procs.Output
	reading sync.WaitGroup
}

// keep reads on for nobody until the build's end.
func (h *here) keep(outputs []*procs.Output) {
	h.outputs = append(h.outputs, outputs...)
	for _, o := range outputs {
		h.reading.Go(o.Discard)
	}
}

// markVariable is in the environment of what the build starts, as NAME=VALUE.
func (b *running) markVariable() string { return markVariable + "=" + b.mark }

// tidyHere ends what the build has left running on the master's machine.
func (b *running) tidyHere() {
	if !b.here.used {
		return
	}
	found, left := procs.End(func() []procs.Process {
		return procs.Family(procs.All(), func(p procs.Process) bool { return p.Marked(b.markVariable()) })
	}, procs.Patience)
	for _, name := range found {
		b.log.Info("a process that outlived its build was ended on the master", "process", b.mask.apply(name))
	}
	for _, name := range left {
		b.log.Error("a process that outlived its build cannot be ended on the master", "process", b.mask.apply(name))
	}
	for _, o := range b.here.outputs {
		o.Close()
	}
	b.here.reading.Wait()
}
