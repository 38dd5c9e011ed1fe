package command

import (
	"context"
	"errors"
	"time"
)

// stopped is why a command on files was ended before its own end.
type stopped struct {
	said   string
	reason string // failure_reason, "" for an interruption
}

func (s *stopped) Error() string { return s.said }

// work has do do the command's work in a goroutine of its own, sends meanwhile
// what the command says, and waits for do in any case. An interruption and the
// limits end do's context, and are returned. do calls progress where a process
// would print something.
func (r *running) work(l limits, do func(ctx context.Context, progress func())) *stopped {
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	progress := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(ctx, func() {
			select {
			case progress <- struct{}{}:
			default:
			}
		})
	}()
	silence, overall := time.NewTimer(l.timeout), time.NewTimer(l.maxTime)
	defer silence.Stop()
	defer overall.Stop()
	if l.timeout == 0 {
		silence.Stop()
	}
	if l.maxTime == 0 {
		overall.Stop()
	}
	stop := func(said, reason string) {
		if ctx.Err() == nil {
			r.header("", said)
			cancel(&stopped{said, reason})
		}
	}
	for {
		select {
		case <-done:
			why, _ := errors.AsType[*stopped](context.Cause(ctx))
			return why
		case <-progress:
			if l.timeout > 0 {
				silence.Reset(l.timeout)
			}
		case why := <-r.interrupts:
			stop("command interrupted"+because(why), "")
		case <-silence.C:
			stop("command timed out: "+seconds(l.timeout)+" without progress running "+r.name, failedSilent)
		case <-overall.C:
			stop("command timed out: "+seconds(l.maxTime)+" elapsed running "+r.name, failedTimeout)
		case <-r.out.Due():
			r.out.Flush()
		case err := <-r.out.Acks():
			r.out.Acked(err)
		case l := <-r.out.Links():
			r.out.Relink(l)
		}
	}
}
