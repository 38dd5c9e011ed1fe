package worker

import (
	"sync"

	"github.com/dormouse-ci/dormouse/wire"
)

// notices are what EC2 has said of the end of this instance, and whoever waits
// for more. A recommendation says nothing beside an announcement, which is told in
// its place: a master may end for itself what it is only recommended to leave, and
// so pay for what EC2 would have ended for nothing.
type notices struct {
	mu      sync.Mutex
	last    *wire.Notice
	changed chan struct{}
}

func newNotices() *notices { return &notices{changed: make(chan struct{})} }

// add takes a notice, unless as much is known. EC2 does not take one back.
func (n *notices) add(notice wire.Notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.last != nil && (notice.Rebalance || !n.last.Rebalance) {
		return false
	}
	n.last = &notice
	close(n.changed)
	n.changed = make(chan struct{})
	return true
}

// newest returns what is to be told, nil for nothing, and what is closed when that
// is something else.
func (n *notices) newest() (*wire.Notice, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last, n.changed
}

// tellNotices tells the master of each notice once on this connection, also of
// one that came while there was none.
func (a *attachment) tellNotices() {
	for {
		notice, changed := a.w.notices.newest()
		if notice != nil {
			if err := a.conn.Interruption(a.ctx, *notice); err != nil {
				if a.ctx.Err() == nil {
					a.log.Warn("the master did not take the interruption notice", "error", err)
				}
				return // the next connection tells it
			}
		}
		select {
		case <-changed:
		case <-a.ctx.Done():
			return
		}
	}
}
