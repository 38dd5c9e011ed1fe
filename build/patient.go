package build

import (
	"context"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// The pauses between two tries of a write that the store has no room or no
// connection for.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 5 * time.Second
)

// persist carries a write out, again and again while the store is not to be had
// or its answer is lost: a full disk, a database that restarts or a connection
// that breaks holds a build back, and ends it no more than a slow one does. So a
// write must be one that can be repeated, as all of [Store] are. It gives up when
// ctx or over ends; the error is Unanswered where one of the tries may have been
// carried out.
func (b *running) persist(ctx context.Context, over <-chan struct{}, write func() error) error {
	var lost error // what a try failed with that may have been carried out
	last := false
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := write()
		if !passes(err) {
			return err
		}
		if dormouse.CodeOf(err) == dormouse.Unanswered {
			lost = err
		} else if lost != nil {
			err = dormouse.Errorf(dormouse.Unanswered, "%w; tried again: %w", lost, err)
		}
		if last || ctx.Err() != nil {
			return err
		}
		if pause == firstPause {
			b.log.Error("the build is held back until the store can be written again", "err", err)
		}
		select {
		case <-time.After(pause):
		case <-over:
			last = true // once more: it may have come back meanwhile
		case <-ctx.Done():
			return err
		}
	}
}
