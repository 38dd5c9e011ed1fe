package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// maxCaptured bounds what is kept of a command's output for the step itself to
// read: revisions and the ends of error messages, never a build's output.
const maxCaptured = 64 << 10

// maxNames bounds the names of files that a worker reports, in bytes: they are in
// the journal.
const maxNames = 1 << 20

// command is something for the worker to do.
type command struct {
	name string
	args map[string]any
	// sigterm is how long the command may take to end when it is asked to.
	sigterm time.Duration
	// sayCode writes the exit code to the log, as Buildbot's master does.
	sayCode bool
	// keep has what the command prints kept for the step itself, and keepErrors
	// also what it prints to stderr: see ended.
	keep, keepErrors bool
	// exact keeps it as it is: the step itself understands it, and shows of it
	// what no secret can stand in. Else secrets are hidden in what is kept.
	exact bool
	// quiet keeps the command's output out of the log.
	quiet bool
	// log is the log of the output; "" is stdio.
	log string
	// warns tells which lines are warnings; nil where none is looked for.
	warns func(line string) bool
	// transfer makes what takes or gives the files that the command moves, anew
	// each time that it begins; nil where it moves none. whole is called when all
	// are moved, before that is kept in the journal.
	transfer func() (wire.Transfer, error)
	whole    func(ended) error
}

// run runs a command to its end. When the step's context ends it interrupts the
// command, waits for it within bounds while its last output is still stored,
// and returns the context's cause.
//
// In a build that is resumable, the command outlives the worker's connection: it
// is gone on with over the next, also under another master, which finds in the
// journal what it has of it. One that moves files does not: it begins again.
func (s *step) run(ctx context.Context, c command) (ended, error) {
	e := s.nextCommand()
	if e.Complete {
		return s.outcomeOf(c, e)
	}
	on := func(conn context.Context, u wire.Update) error {
		err := s.update(conn, c, e, u)
		if err != nil && conn.Err() == nil && (s.build.left(ctx) || !s.build.abandon()) {
			return fmt.Errorf("%w: %w", wire.ErrNoAnswer, err) // the next master wants it
		}
		return err
	}
	r, err := s.follow(ctx, c, e, on)
	if err == nil && c.transfer != nil {
		err = s.moved(ctx, c, e)
	}
	out := s.logs.read(e)
	switch {
	case err == nil || errors.Is(err, wire.ErrConnectionLost):
		return out, err
	case errors.Is(err, wire.ErrMissing):
		note, noted := context.WithTimeout(ctx, lastWords)
		defer noted()
		_ = r.Interrupt(note, err.Error()) // or it runs until the build's end
		return out, err
	case errors.Is(context.Cause(ctx), ErrLeft):
		return out, ErrLeft
	case ctx.Err() == nil && s.logs.failure() == nil:
		return out, err
	case !stopped(ctx) && !s.build.abandon():
		// What the worker says now is for the next master to hear.
		s.build.worker.Close("the build is left to the next master")
		return out, ErrLeft
	case r == nil:
		s.giveUp(ctx, s.interruptWait(ctx, c))
		s.build.lost = true
		return out, context.Cause(ctx)
	}
	if !s.interrupt(ctx, r, c) {
		s.build.lost = true
	}
	return s.logs.read(e), context.Cause(ctx)
}

// outcomeOf is how a command ended that an earlier master has seen the end of.
func (s *step) outcomeOf(c command, e *effect) (ended, error) {
	if e.Failure != "" {
		return e.Ended, wire.CommandFailed(s.build.worker.Name(), c.name, e.Failure)
	}
	return e.Ended, nil
}

// follow starts a command, or goes on with it, over as many connections as it
// takes, until it has ended. It returns what was last heard of it.
func (s *step) follow(ctx context.Context, c command, e *effect, on func(context.Context, wire.Update) error) (r *wire.Running, err error) {
	b := s.build
	w := wire.Command{Name: c.name, Builder: b.job.Builder.Name, Args: b.marked(c)}
	outlives := b.job.Resumable && c.transfer == nil
	if outlives {
		w.Group, w.ID = Group(b.job.Build.ID), e.Command
	}
	begun := s.uncertain
	s.uncertain = false
	for {
		if c.transfer != nil {
			s.logs.forget(e)
			if w.Transfer, err = c.transfer(); err != nil {
				return nil, err
			}
		}
		if begun && outlives {
			r, err = b.worker.Resume(ctx, w, s.logs.position(e), on)
			if dormouse.CodeOf(err) == dormouse.NotFound {
				if s.logs.position(e) > 0 {
					return nil, fmt.Errorf("%w: %w", wire.ErrConnectionLost, err)
				}
				begun = false // the order never arrived
				continue
			}
		} else {
			r, err = s.start(ctx, w, c, on)
		}
		if err == nil {
			err = r.Wait(ctx)
		}
		if !b.job.Resumable || !errors.Is(err, wire.ErrConnectionLost) || ctx.Err() != nil || s.logs.failure() != nil {
			return r, err
		}
		begun = true // as far as we know
		if b.reattach(ctx) != nil {
			return r, err
		}
	}
}

// moved ends the effect of a command that has moved files.
func (s *step) moved(ctx context.Context, c command, e *effect) error {
	out := s.logs.read(e)
	if c.whole != nil {
		if err := c.whole(out); err != nil {
			return err
		}
	}
	return s.logs.append(ctx, stdio, dormouse.Header, nil, func() { e.Complete = true })
}

// start has the worker begin a command. The end of the step's context does not
// end the wait for the worker's answer at once: a command that may have begun,
// but of which nothing is known, could neither be interrupted nor waited for,
// and would run on beside the steps that follow.
func (s *step) start(ctx context.Context, w wire.Command, c command, on func(context.Context, wire.Update) error) (*wire.Running, error) {
	begin, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	release := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(s.interruptWait(ctx, c))
		defer timer.Stop()
		select {
		case <-timer.C:
			done()
		case <-begin.Done():
		}
	})
	defer release()
	return s.build.worker.Start(begin, w, on)
}

// interruptWait is how long a command has to end when the step's context has.
func (s *step) interruptWait(ctx context.Context, c command) time.Duration {
	wait := s.build.runner.InterruptWait
	if wait == 0 {
		wait = defaultInterruptWait
	}
	if stopped(ctx) {
		return wait + c.sigterm
	}
	// The master ends or its store fails: nobody can keep what the command
	// still says, so only that it was told matters.
	return min(wait, time.Second)
}

// interrupt ends a command whose step's context is over. It reports false when
// the worker's connection had to be given up.
func (s *step) interrupt(ctx context.Context, r *wire.Running, c command) bool {
	cause := context.Cause(ctx)
	wait := s.interruptWait(ctx, c)
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer done()
	var stopped errStopped
	if !errors.As(cause, &stopped) {
		_ = r.Interrupt(grace, cause.Error())
		return true
	}
	s.header(grace, "command interrupted: "+stopped.why)
	err := r.Interrupt(grace, stopped.why)
	if err == nil {
		err = r.Wait(grace)
	}
	if grace.Err() == nil && !errors.Is(err, wire.ErrConnectionLost) {
		return true
	}
	s.giveUp(ctx, wait)
	return false
}

// giveUp closes the connection of a worker whose command could not be ended.
func (s *step) giveUp(ctx context.Context, waited time.Duration) {
	note, noted := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer noted()
	s.header(note, fmt.Sprintf("the command did not end within %v; the connection to worker %s is given up", waited, s.build.worker.Name()))
	s.build.worker.Close("an interrupted command did not end within " + waited.String())
}

// update takes in what the worker says of a command. It returns once that is
// durable.
func (s *step) update(ctx context.Context, c command, e *effect, u wire.Update) error {
	// What is learned here is in the journal with the lines it came with.
	note := func(learn func(*ended)) func() {
		return func() {
			e.Position = u.Position
			if learn != nil {
				learn(&e.Ended)
			}
		}
	}
	switch u.Kind {
	case "stdout":
		return s.output(ctx, c, dormouse.Stdout, u.Lines, note, func(out *ended) {
			out.Output = s.keepText(c, c.keep, out.Output, u.Lines, &out.Truncated)
		})
	case "stderr":
		return s.output(ctx, c, dormouse.Stderr, u.Lines, note, func(out *ended) {
			out.Errors = s.keepText(c, c.keepErrors, out.Errors, u.Lines, &out.Truncated)
			out.keepComplaints(c, u.Lines, s.build.mask)
		})
	case "header":
		return s.output(ctx, c, dormouse.Header, u.Lines, note, func(out *ended) {
			for _, line := range u.Lines {
				// Workers older than failure_reason say it in words alone.
				if strings.HasPrefix(line.Text, "command timed out: ") && out.Reason == "" {
					out.Reason = "timeout"
				}
			}
		})
	case "log":
		if u.LogName == "" || u.LogName == stdio {
			return s.output(ctx, c, dormouse.Stdout, u.Lines, note, func(*ended) {})
		}
		return s.logs.append(ctx, u.LogName, dormouse.Stdout, u.Lines, note(nil))
	case "rc":
		rc, ok := integer(u.Value)
		if !ok {
			return dormouse.Errorf(dormouse.Invalid, "worker %s: exit code %v (%T) is not a number", s.build.worker.Name(), u.Value, u.Value)
		}
		var lines []dormouse.LogLine
		if c.sayCode {
			lines = []dormouse.LogLine{{Time: time.Now(), Text: fmt.Sprintf("program finished with exit code %d", rc)}}
		}
		return s.logs.append(ctx, stdio, dormouse.Header, lines, note(func(out *ended) { out.RC, out.HasRC = rc, true }))
	case "failure_reason":
		return s.logs.append(ctx, stdio, dormouse.Header, nil, note(func(out *ended) { out.Reason, _ = u.Value.(string) }))
	case "files":
		return s.logs.append(ctx, stdio, dormouse.Header, nil, note(func(out *ended) {
			list, _ := u.Value.([]any)
			for _, f := range list {
				name, ok := f.(string)
				if out.names += len(name); out.names > maxNames {
					out.Truncated = true
				} else if ok {
					out.Files = append(out.Files, name)
				}
			}
		}))
	case "stat":
		return s.logs.append(ctx, stdio, dormouse.Header, nil, note(func(out *ended) {
			if list, _ := u.Value.([]any); len(list) > 0 {
				out.FileMode, _ = integer(list[0])
			}
		}))
	case wire.Complete:
		return s.logs.append(ctx, stdio, dormouse.Header, nil, func() {
			e.Complete = true
			e.Failure, _ = u.Value.(string)
		})
	}
	// The rest concerns other kinds of steps, or nobody.
	return s.logs.append(ctx, stdio, dormouse.Header, nil, note(nil))
}

// warningsLog is the log of the lines that are warnings.
const warningsLog = "warnings"

// output takes in what a command printed; learn is told of it.
func (s *step) output(ctx context.Context, c command, stream dormouse.Stream, lines []dormouse.LogLine, note func(func(*ended)) func(), learn func(*ended)) error {
	var warnings []dormouse.LogLine
	if c.warns != nil && stream != dormouse.Header {
		for _, line := range lines {
			if c.warns(line.Text) {
				warnings = append(warnings, line)
			}
		}
	}
	learned := note(func(out *ended) {
		learn(out)
		out.Warnings += len(warnings)
	})
	if c.quiet {
		lines = nil
	}
	if err := s.logs.append(ctx, cmp.Or(c.log, stdio), stream, lines, learned); err != nil || len(warnings) == 0 {
		return err
	}
	return s.logs.append(ctx, warningsLog, stream, warnings, nil)
}

// keepText keeps the beginning of what a command prints. It is stored with the
// journal, so without secrets.
func (s *step) keepText(c command, keep bool, kept string, lines []dormouse.LogLine, truncated *bool) string {
	if !keep {
		return kept
	}
	for _, line := range lines {
		if len(kept)+len(line.Text) >= maxCaptured {
			*truncated = true
			break
		}
		text := line.Text
		if !c.exact {
			text = s.build.mask.apply(text)
		}
		kept += text + "\n"
	}
	return kept
}

// keepComplaints keeps the end of what a command complains of: the error comes
// last.
func (out *ended) keepComplaints(c command, lines []dormouse.LogLine, m *mask) {
	const most, length = 20, 500
	if !c.keep {
		return
	}
	for _, line := range lines[max(0, len(lines)-most):] {
		text := m.apply(line.Text)
		out.Complaints = append(out.Complaints, strings.ToValidUTF8(text[:min(len(text), length)], ""))
	}
	out.Complaints = out.Complaints[max(0, len(out.Complaints)-most):]
}

func integer(v any) (int, bool) {
	switch v := v.(type) {
	case int64:
		return int(v), true
	case uint64:
		return int(v), true
	case int:
		return v, true
	case float64:
		return int(v), float64(int(v)) == v
	}
	return 0, false
}

// seconds is how the protocol writes a duration: a number of seconds, nil for
// none.
func seconds(d time.Duration) any {
	switch {
	case d <= 0:
		return nil
	case d%time.Second == 0:
		return int64(d / time.Second)
	}
	return d.Seconds()
}
