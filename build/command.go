package build

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// maxCaptured bounds what is kept of a command's output for the step itself to
// read: revisions and the ends of error messages, never a build's output.
const maxCaptured = 64 << 10

// command is something for the worker to do.
type command struct {
	name string
	args map[string]any
	// sigterm is how long the command may take to end when it is asked to.
	sigterm time.Duration
	// sayCode writes the exit code to the log, as Buildbot's master does.
	sayCode bool
	// onLine, if set, sees the output's lines before they are stored.
	onLine func(dormouse.LogLine)
	// quiet keeps the command's output out of the log.
	quiet bool
}

// ended is what a command said of itself.
type ended struct {
	rc     int
	hasRC  bool
	reason string // failure_reason, such as "timeout"
	files  []string
}

// run runs a command to its end. When the step's context ends it interrupts the
// command, waits for it within bounds while its last output is still stored,
// and returns the context's cause.
func (s *step) run(ctx context.Context, c command) (ended, error) {
	var (
		mu  sync.Mutex
		out ended
	)
	on := func(ctx context.Context, u wire.Update) error {
		mu.Lock()
		defer mu.Unlock()
		return s.update(ctx, c, u, &out)
	}
	result := func(err error) (ended, error) {
		mu.Lock()
		defer mu.Unlock()
		return out, err
	}
	builder := s.build.job.Builder.Name
	r, err := s.start(ctx, wire.Command{Name: c.name, Builder: builder, Args: c.args}, c, on)
	if err == nil {
		err = r.Wait(ctx)
	}
	switch {
	case err == nil || errors.Is(err, wire.ErrConnectionLost):
		return result(err)
	case ctx.Err() == nil && s.logs.failure() == nil:
		return result(err)
	case r == nil:
		s.giveUp(ctx, s.interruptWait(ctx, c))
		s.build.lost = true
		return result(context.Cause(ctx))
	}
	if !s.interrupt(ctx, r, c) {
		s.build.lost = true
	}
	return result(context.Cause(ctx))
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
	var stopped errStopped
	if errors.As(context.Cause(ctx), &stopped) {
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

// update takes in what the worker says of a command.
func (s *step) update(ctx context.Context, c command, u wire.Update, out *ended) error {
	switch u.Kind {
	case "stdout":
		return s.output(ctx, c, dormouse.Stdout, u.Lines)
	case "stderr":
		return s.output(ctx, c, dormouse.Stderr, u.Lines)
	case "header":
		for _, line := range u.Lines {
			// Workers older than failure_reason say it in words alone.
			if strings.HasPrefix(line.Text, "command timed out: ") && out.reason == "" {
				out.reason = "timeout"
			}
		}
		return s.output(ctx, c, dormouse.Header, u.Lines)
	case "log":
		if u.LogName == "" || u.LogName == stdio {
			return s.output(ctx, c, dormouse.Stdout, u.Lines)
		}
		return s.logs.append(ctx, u.LogName, dormouse.Stdout, u.Lines)
	case "rc":
		rc, ok := integer(u.Value)
		if !ok {
			return dormouse.Errorf(dormouse.Invalid, "worker %s: exit code %v (%T) is not a number", s.build.worker.Name(), u.Value, u.Value)
		}
		out.rc, out.hasRC = rc, true
		if c.sayCode {
			line := dormouse.LogLine{Time: time.Now(), Text: fmt.Sprintf("program finished with exit code %d", rc)}
			return s.logs.append(ctx, stdio, dormouse.Header, []dormouse.LogLine{line})
		}
	case "failure_reason":
		out.reason, _ = u.Value.(string)
	case "files":
		list, _ := u.Value.([]any)
		for _, f := range list {
			if name, ok := f.(string); ok {
				out.files = append(out.files, name)
			}
		}
	}
	return nil // the rest concerns other kinds of steps, or nobody
}

func (s *step) output(ctx context.Context, c command, stream dormouse.Stream, lines []dormouse.LogLine) error {
	if c.onLine != nil {
		for _, line := range lines {
			line.Stream = stream
			c.onLine(line)
		}
	}
	if c.quiet {
		return nil
	}
	return s.logs.append(ctx, stdio, stream, lines)
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
