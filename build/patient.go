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

// persist carries a write out, again and again while the store is not to be had:
// a full disk or a database that restarts holds a build back, and ends it no more
// than a slow one does. It gives up when ctx or over ends, and at once where it is
// not certain that the write was not carried out.
func (b *running) persist(ctx context.Context, over <-chan struct{}, write func() error) error {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := write()
		if dormouse.CodeOf(err) != dormouse.Unavailable || ctx.Err() != nil {
			return err
		}
		if pause == firstPause {
			b.log.Error("the build is held back until the store can be written again", "err", err)
		}
		select {
		case <-time.After(pause):
		case <-over:
			return write() // it may have come back meanwhile
		case <-ctx.Done():
			return err
		}
	}
}
