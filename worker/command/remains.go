package command

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/internal/procs"
)

// markVariable is in the environment of all that commands start. Its value says
// of which agent and group they are.
const markVariable = "BUILD_PROCESS_MARK"

// remains is what commands leave behind when they have ended: processes, and
// outputs that those still have open. It lives until its group ends, which is a
// build; or the connection, for commands of a master that names no groups.
type remains struct {
	// agent is in the marks, and no other agent's.
	agent string
	// adopts says that what has lost its parent is this process's child: what is
	// neither marked nor ours to wait for is some build's all the same.
	adopts bool
	// patience is how long a process may take to end when it is asked to.
	patience time.Duration

	mu      sync.Mutex
	leaders map[int]struct{} // processes of commands, which are waited for
	groups  map[string]*remnant
}

// remnant is of one group.
type remnant struct {
	outputs []*procs.Output
	reading sync.WaitGroup
}

func newRemains(adopts bool) *remains {
	return &remains{
		agent: rand.Text(), adopts: adopts, patience: procs.Patience,
		leaders: map[int]struct{}{}, groups: map[string]*remnant{},
	}
}

// mark is the variable by which the processes of a group are known.
func (r *remains) mark(group string) string { return markVariable + "=" + r.agent + "." + group }

// begin notes that a group has commands.
func (r *remains) begin(group string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups[group] == nil {
		r.groups[group] = &remnant{}
	}
}

// start starts a command's process. Until [remains.reaped] it is the caller's to
// wait for.
func (r *remains) start(cmd *exec.Cmd) error {
	r.mu.Lock() // a child that is not noted yet would be taken for an orphan
	defer r.mu.Unlock()
	err := cmd.Start()
	if err == nil {
		r.leaders[cmd.Process.Pid] = struct{}{}
	}
	return err
}

func (r *remains) reaped(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.leaders, pid)
}

// read reads on what a command's processes print after its end, for nobody:
// they would be stopped by a pipe that is full, or closed.
func (r *remains) read(group string, outputs []*procs.Output) {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.groups[group]
	if left == nil { // it has ended
		for _, o := range outputs {
			o.Close()
		}
		return
	}
	left.outputs = append(left.outputs, outputs...)
	for _, o := range outputs {
		left.reading.Go(o.Discard)
	}
}

// others are the groups that there are but for these. A group without a name is
// none of them.
func (r *remains) others(groups []string) []string {
	keep := map[string]bool{"": true}
	for _, g := range groups {
		keep[g] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for g := range r.groups {
		if !keep[g] {
			out = append(out, g)
		}
	}
	return out
}

// end ends what is left of a group whose commands have ended, and says what it
// was.
func (r *remains) end(group string, log *slog.Logger) []string {
	r.mu.Lock()
	left := r.groups[group]
	r.mu.Unlock()
	if left == nil {
		return nil
	}
	found, stay := procs.End(func() []procs.Process { return r.processes(group) }, r.patience)
	for _, name := range found {
		log.Info("a process that outlived its build was ended", "group", group, "process", name)
	}
	for _, name := range stay {
		log.Error("a process that outlived its build cannot be ended", "group", group, "process", name)
	}
	r.mu.Lock()
	delete(r.groups, group)
	r.mu.Unlock()
	for _, o := range left.outputs {
		o.Close()
	}
	left.reading.Wait()
	return found
}

// processes are those of a group that live. An adopted one without a mark is of
// the last group that there is.
func (r *remains) processes(group string) []procs.Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	mark, last := r.mark(group), len(r.groups) == 1
	all := procs.All()
	return procs.Family(all, func(p procs.Process) bool {
		return p.Marked(mark) || last && r.adopts && r.orphan(p)
	})
}

// orphan reports whether a child of this process was started by a build. What the
// agent itself runs beside commands is of its own process group.
func (r *remains) orphan(p procs.Process) bool {
	_, leader := r.leaders[p.PID]
	return p.Parent == os.Getpid() && p.Group != syscall.Getpgrp() && !leader
}

// reapPause is the least time between two looks for orphans that have ended:
// each is at all processes of the machine.
const reapPause = time.Second

// reap takes orphans away that have ended, until ctx does.
func (r *remains) reap(ctx context.Context) {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	for {
		select {
		case <-children:
		case <-ctx.Done():
			return
		}
		r.mu.Lock()
		procs.Reap(func(p procs.Process) bool { return !r.orphan(p) })
		r.mu.Unlock()
		select {
		case <-time.After(reapPause):
		case <-ctx.Done():
			return
		}
	}
}
