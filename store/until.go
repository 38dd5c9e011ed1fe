package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The pauses between two tries, doubled from the first to the longest: a
// connection is back at once, a full disk or a database that restarts takes
// seconds at least.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// Until carries out a write, or several with reads between them, and tries again
// for as long as the store is unavailable or its answer was lost
// ([dormouse.Unavailable], [dormouse.Unanswered]). So it must be one that can be
// repeated, as all of an Owner are. Any other error ends it, [ErrSuperseded] and
// every [dormouse.Conflict] among them. When ctx ends, it is tried a last time. The
// error is Unanswered where one of the tries may have been carried out. What names
// it in the log, such as "storing the result of a build".
func (o *Owner) Until(ctx context.Context, what string, write func() error) error {
	var before, lost error // what the try before failed with, and the last one without an answer
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		last := ctx.Err() != nil
		err := write()
		code := dormouse.CodeOf(err)
		if code != dormouse.Unavailable && code != dormouse.Unanswered {
			return err
		}
		if last && before != nil && errors.Is(err, ctx.Err()) {
			err = before // the end of ctx is not what is wrong with the store
		}
		if code == dormouse.Unanswered {
			lost = err
		}
		if last && lost != nil && code != dormouse.Unanswered {
			return dormouse.Errorf(dormouse.Unanswered, "%w; tried again: %w", lost, err)
		}
		if last {
			return err
		}
		if before == nil {
			o.logger().Error(what+" failed; trying again until it succeeds", "error", err)
		}
		before = err
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// Twice carries out a write, and a second time where the answer to the first was
// lost. It is for callers that are waited for, and cannot wait as [Owner.Until]
// does. The error is Unanswered where one of the tries may have been carried out.
func (o *Owner) Twice(write func() error) error {
	first := write()
	if dormouse.CodeOf(first) != dormouse.Unanswered {
		return first
	}
	err := write()
	if dormouse.CodeOf(err) == dormouse.Unavailable {
		return dormouse.Errorf(dormouse.Unanswered, "%w; tried again: %w", first, err)
	}
	return err
}

func (o *Owner) logger() *slog.Logger {
	if o.log != nil {
		return o.log
	}
	return slog.Default()
}
