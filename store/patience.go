package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// patience bounds how long a read waits for the database, and not how long its
// caller takes over what was read: a connection may fall silent for ever, while
// a report of a year is written in its own time.
type patience struct {
	limit  time.Duration
	timer  *time.Timer // nil without a limit
	cancel context.CancelCauseFunc
	ctx    context.Context
}

var errSilent = errors.New("the database does not answer")

// newPatience returns the context for the statements of one read, which ends when
// one of them takes longer than the limit. The caller ends the patience.
func newPatience(ctx context.Context, limit time.Duration) (context.Context, *patience) {
	if limit == 0 {
		return ctx, &patience{ctx: ctx, cancel: func(error) {}}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{limit: limit, ctx: ctx, cancel: cancel}
	p.timer = time.AfterFunc(limit, func() { cancel(errSilent) })
	p.timer.Stop()
	return ctx, p
}

// wait runs something that waits for the database.
func (p *patience) wait(f func() error) error {
	if p != nil && p.timer != nil {
		p.timer.Reset(p.limit)
		defer p.timer.Stop()
	}
	return f()
}

// explain says of an error that the patience has run out, where that is the cause.
func (p *patience) explain(err error) error {
	if err != nil && errors.Is(context.Cause(p.ctx), errSilent) {
		return fmt.Errorf("%w (for %v): %w", errSilent, p.limit, err)
	}
	return err
}

func (p *patience) end() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.cancel(nil)
}
