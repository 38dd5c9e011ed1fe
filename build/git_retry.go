package build

import (
	"context"
	"fmt"
	"time"
)

// get brings the working directory to the revision asked for, and tries again
// where it could not and the step says so.
func (c *checkout) get(ctx context.Context) error {
	for left := c.Retries; ; left-- {
		err := c.update(ctx)
		if left <= 0 || !isGitError(err) {
			return err
		}
		c.step.header(ctx, fmt.Sprintf("could not %v; trying again in %v, %d more times", err, c.RetryDelay, left))
		if err := c.step.pause(ctx, c.RetryDelay); err != nil {
			return err
		}
	}
}

// pause waits, unless an earlier master has.
func (s *step) pause(ctx context.Context, d time.Duration) error {
	if s.goneOn() {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// goneOn reports whether an earlier master has gone on from here.
func (s *step) goneOn() bool {
	s.logs.mu.Lock()
	defer s.logs.mu.Unlock()
	return s.at < s.recorded
}
