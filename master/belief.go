package master

import (
	"sync/atomic"
	"time"
)

// belief is a master's belief in its lease, by a clock that no one sets and that
// goes on while the machine is suspended: see package boottime. It counts from when
// a renewal was sent, so that it ends no later than the lease in the store does.
type belief struct{ until atomic.Int64 }

// renewed is told that a renewal which was sent at a time has been carried out.
func (b *belief) renewed(sent, term time.Duration) { b.until.Store(int64(sent + term)) }

// holds reports whether the lease still runs.
func (b *belief) holds(now time.Duration) bool { return int64(now) < b.until.Load() }
