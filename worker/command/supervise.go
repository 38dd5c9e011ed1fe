package command

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

const (
	// killPatience is how long SIGKILL may take to end a process before it is
	// given up, Buildbot's own figure. What takes longer sits in the kernel,
	// waiting for a device or a network disk.
	killPatience = 5 * time.Second
	// drainTime is how long the pipes are read after everything in a killed
	// group is gone. Only a process that left the group can hold them then.
	drainTime = time.Second
	// lingerTime is how long the pipes are read after a command has ended: its own
	// last words are in them by then, but not what a program still has to say that
	// it talks through, such as tee. A person hardly notices it.
	lingerTime = 2 * time.Second
	// groupPoll is how often a killed group that may still clean up is looked
	// at: the kernel tells nobody when a group gets empty.
	groupPoll = 50 * time.Millisecond
)

// The reasons Buildbot's masters know for a command that was ended.
const (
	failedSilent  = "timeout_without_output"
	failedTimeout = "timeout"
	failedLines   = "max_lines_failure"
)

// supervisor sees one process through to its end. It is one loop in the
// command's goroutine, and owns all it has.
//
//	             leader exits, output ends (or is held, and settled)
//	running ────────────────────────────────────────────▶ over
//	   │ interrupted, silent too long,                      ▲
//	   │ too long, too many lines, connection lost          │ group empty, output ended (or settled)
//	   ▼                                                    │
//	killing: SIGTERM, sigtermTime later SIGKILL ────────────┤
//	                        5 s after SIGKILL: given up ────┘
//
// Once the leader has exited no limit counts any more: what holds the output is
// another process, and how the leader ended is how the command did.
//
// Log files are read along, and once more when the process is over.
type supervisor struct {
	r      *running
	p      process
	tails  *tails // nil where the command has no log files
	c      *shellCommand
	begin  time.Time
	silent time.Duration // the no-output limit in force; 0 is none

	stdout, stderr *lineSplitter
	logs           []*lineSplitter
	scratch        []dormouse.LogLine
	lines          int

	exited      bool // the leader has
	outputEnded bool
	processOver bool // only the log files are waited for
	tailsEnded  bool

	killing bool
	// signals are still to be sent, each after the time before it.
	signals []escalation
	givenUp bool

	silence, overall, escalate, poll, drain *time.Timer
	paused                                  bool // the silence timer does not run
}

// escalation is a signal, and how long it is given to work.
type escalation struct {
	signal   syscall.Signal
	patience time.Duration
}

func newSupervisor(r *running, p process, tails *tails, c *shellCommand, begin time.Time) *supervisor {
	s := &supervisor{
		r: r, p: p, tails: tails, tailsEnded: tails == nil, c: c, begin: begin,
		silent: c.timeout,
		stdout: newLineSplitter(dormouse.Stdout, r.nl, r.settings.MaxLineLength),
		stderr: newLineSplitter(dormouse.Stderr, r.nl, r.settings.MaxLineLength),
		paused: true,
	}
	for range c.logs {
		s.logs = append(s.logs, newLineSplitter(dormouse.Stdout, r.nl, r.settings.MaxLineLength))
	}
	for _, t := range []**time.Timer{&s.silence, &s.overall, &s.escalate, &s.poll, &s.drain} {
		*t = time.NewTimer(time.Hour)
		(*t).Stop()
	}
	if c.maxTime > 0 {
		s.overall.Reset(c.maxTime)
	}
	return s
}

// run returns when the process is over, or was given up.
func (s *supervisor) run() (failure string) {
	exited, lost, interrupts := s.p.Exited(), s.r.ctx.Done(), s.r.interrupts
	for {
		if !s.processOver && s.over() {
			s.endProcess()
		}
		if s.processOver && s.tailsEnded {
			break
		}
		full := s.r.out.Full()
		chunks, tailed := s.p.Output(), s.tailed()
		if s.outputEnded || full {
			chunks = nil
		}
		if full {
			tailed = nil
		}
		s.watchSilence(!full)
		select {
		case c, ok := <-chunks:
			if ok {
				s.receive(c)
			} else {
				s.outputEnded = true
			}
		case c, ok := <-tailed:
			if ok {
				s.receiveLog(c)
			} else {
				s.tailsEnded = true
			}
		case <-exited:
			exited, s.exited = nil, true
			s.leaderExited()
		case why := <-interrupts:
			interrupts = nil
			s.giveLogsUp()
			s.kill("", "command interrupted"+because(why))
		case <-lost:
			lost = nil
			s.giveLogsUp()
			s.abandon()
		case <-s.silence.C:
			s.paused = true
			s.kill(failedSilent, fmt.Sprintf("command timed out: %s without output running %s", seconds(s.silent), s.c.display()))
		case <-s.overall.C:
			s.kill(failedTimeout, fmt.Sprintf("command timed out: %s elapsed running %s", seconds(s.c.maxTime), s.c.display()))
		case <-s.escalate.C:
			s.nextSignal()
		case <-s.poll.C:
			s.pollGroup()
		case <-s.drain.C:
			s.p.Settle()
		case <-s.r.out.Due():
			s.r.out.Flush()
		case err := <-s.r.out.Acks():
			s.r.out.Acked(err)
		case l := <-s.r.out.Links():
			s.r.out.Relink(l)
		}
	}
	return s.finish()
}

// over reports whether there is nothing more to wait for.
func (s *supervisor) over() bool {
	if s.givenUp {
		return true
	}
	return s.exited && s.outputEnded && (!s.killing || !s.p.GroupAlive())
}

// endProcess goes on to the last of the log files: the limits do not count for
// that, since it is the master that holds it up, if anything.
func (s *supervisor) endProcess() {
	s.processOver = true
	s.stopTimers()
	s.paused = true
	if s.tails != nil {
		s.tails.Finish()
	}
}

// giveLogsUp does not wait for the last of the log files, if that is what there
// is to wait for.
func (s *supervisor) giveLogsUp() {
	if s.processOver {
		s.tailsEnded = true
	}
}

// tailed delivers what is read from the log files.
func (s *supervisor) tailed() <-chan tailChunk {
	if s.tailsEnded {
		return nil
	}
	return s.tails.Output()
}

// receiveLog takes what was read from a log file. It is a sign of life, as in
// Buildbot, but does not count among the lines that max_lines allows.
func (s *supervisor) receiveLog(c tailChunk) {
	if !s.paused {
		s.silence.Reset(s.silent)
	}
	lines := s.logs[c.file].Append(s.scratch[:0], c.data, c.time)
	s.r.out.Log(s.c.logs[c.file].name, lines)
	clear(lines)
	s.scratch = lines[:0]
}

// watchSilence runs the no-output timer only while output could be seen:
// a process that is held back by a slow master is not silent.
func (s *supervisor) watchSilence(listening bool) {
	switch {
	case s.silent == 0 || s.killing || s.exited || !listening:
		if !s.paused {
			s.silence.Stop()
			s.paused = true
		}
	case s.paused:
		s.silence.Reset(s.silent)
		s.paused = false
	}
}

// receive takes what was read from a pipe.
func (s *supervisor) receive(c chunk) {
	if !s.paused {
		s.silence.Reset(s.silent)
	}
	split, wanted := s.stdout, s.c.wantStdout
	if c.stream == dormouse.Stderr {
		split, wanted = s.stderr, s.c.wantStderr
	}
	lines := split.Append(s.scratch[:0], c.data, c.time)
	s.send(lines, wanted)
}

// send passes lines on, up to the limit.
func (s *supervisor) send(lines []dormouse.LogLine, wanted bool) {
	over := false
	if limit := s.c.maxLines; limit > 0 {
		if room := limit - s.lines; len(lines) > room {
			over = true
			lines = lines[:room]
		}
	}
	s.pass(lines, wanted)
	clear(lines) // or the texts live as long as the scratch space
	s.scratch = lines[:0]
	if over {
		s.kill(failedLines, fmt.Sprintf("command printed more than %d lines running %s", s.c.maxLines, s.c.display()))
	}
}

// pass counts lines, and passes them on if they are wanted.
func (s *supervisor) pass(lines []dormouse.LogLine, wanted bool) {
	s.lines += len(lines)
	if wanted && len(lines) > 0 {
		s.r.out.Lines(lines)
	}
}

// leaderExited goes on to wait for the output to end, and for the group if it
// is being killed.
func (s *supervisor) leaderExited() {
	if s.killing {
		s.p.Reap()
		s.poll.Reset(0)
		return
	}
	s.overall.Stop()
	s.drain.Reset(lingerTime)
}

// kill begins to end the whole process group.
func (s *supervisor) kill(reason, message string) {
	if s.killing || s.processOver {
		return
	}
	s.killing = true
	s.overall.Stop()
	s.drain.Stop()
	if reason != "" {
		s.r.out.Pair("failure_reason", reason)
	}
	s.r.header("", message+", attempting to kill")
	switch {
	case s.c.sigtermTime > 0:
		s.signals = []escalation{{syscall.SIGTERM, s.c.sigtermTime}, {syscall.SIGKILL, killPatience}}
	case s.c.signal != syscall.SIGKILL:
		s.signals = []escalation{{s.c.signal, killPatience}, {syscall.SIGKILL, killPatience}}
	default:
		s.signals = []escalation{{syscall.SIGKILL, killPatience}}
	}
	s.nextSignal()
	if s.exited {
		s.p.Reap()
		s.poll.Reset(0)
	}
}

// abandon ends the group when nobody can hear of it any more, and does not let
// it take long: the agent waits for it before it attaches again or exits.
func (s *supervisor) abandon() {
	s.c.sigtermTime = min(s.c.sigtermTime, killPatience)
	if s.killing && len(s.signals) > 0 {
		s.escalate.Reset(killPatience)
	}
	s.kill("", "connection lost")
}

// nextSignal sends the next signal, or gives up after the last.
func (s *supervisor) nextSignal() {
	if len(s.signals) == 0 {
		s.givenUp = true
		return
	}
	next := s.signals[0]
	s.signals = s.signals[1:]
	s.p.Signal(next.signal)
	s.escalate.Reset(next.patience)
}

// pollGroup looks whether a killed group is gone.
func (s *supervisor) pollGroup() {
	if s.p.GroupAlive() {
		s.poll.Reset(groupPoll)
		return
	}
	s.escalate.Stop()
	s.drain.Reset(drainTime)
}

func (s *supervisor) stopTimers() {
	for _, t := range []*time.Timer{s.silence, s.overall, s.escalate, s.poll, s.drain} {
		t.Stop()
	}
}

// finish says how the process ended.
func (s *supervisor) finish() (failure string) {
	s.stopTimers()
	held, holders := s.p.Close()
	now := time.Now()
	for i, split := range s.logs {
		s.r.out.Log(s.c.logs[i].name, split.Flush(nil, now))
	}
	s.pass(s.stdout.Flush(nil, now), s.c.wantStdout)
	s.pass(s.stderr.Flush(nil, now), s.c.wantStderr)
	s.leave(held, holders)
	if s.givenUp && !s.exited {
		failure = "SIGKILL did not end the command's process; it was left behind"
		s.r.header(failure)
		s.r.end(exitStatus{code: -1}, now.Sub(s.begin))
		return failure
	}
	status := s.p.Reap()
	if s.killing && status.code == 0 {
		status.code = -1 // it was stopped: whatever it claims, it did not finish
	}
	s.r.end(status, now.Sub(s.begin))
	return ""
}

// shownHolders bounds how many processes are named.
const shownHolders = 10

// leave says what still has the command's output open, and leaves it alone.
func (s *supervisor) leave(held []*procs.Output, holders []string) {
	if len(held) == 0 {
		return
	}
	const rule = " still has the command's output open: it is left running until the build ends, and what it prints is not kept"
	if len(holders) == 0 {
		s.r.header("a process that cannot be seen from here" + rule)
	}
	for i, holder := range holders {
		if i == shownHolders {
			s.r.header(fmt.Sprintf("and %d processes more", len(holders)-i))
			break
		}
		s.r.header("process " + s.c.hide(holder) + rule)
	}
	s.r.remains.read(s.r.group, held)
}

// because appends the reason that came with an interruption, if any.
func because(why string) string {
	why = strings.TrimSpace(why)
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
