package pb

import (
	"context"
	"fmt"
	"time"
)

// Ask is a call that any peer answers, to hear from it. What it answers does not
// matter: a failure is a sign of life too.
type Ask func(ctx context.Context) error

// Probe asks, and says whether the other side is alive: whether anything came
// from it before ask returned or ctx ended. A peer that we hold back counts as
// alive, since nothing is read from it.
func (c *Conn) Probe(ctx context.Context, ask Ask) bool {
	before := c.in.reads.Load()
	_ = ask(ctx)
	select {
	case <-c.done:
		return false
	default:
		return c.in.reads.Load() != before || c.Held()
	}
}

// Watch asks in each interval in which nothing came, and ends the connection
// where nothing comes within the timeout either. It returns at once; Wait waits
// for it too.
func (c *Conn) Watch(interval, timeout time.Duration, ask Ask) {
	heard := c.in.reads.Load()
	c.wg.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-c.done:
				return
			case <-ticker.C:
			}
			if now := c.in.reads.Load(); now != heard {
				heard = now
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			alive := c.Probe(ctx, ask)
			cancel()
			if !alive {
				c.end(fmt.Errorf("nothing came for %v, nor within %v of being asked", interval, timeout))
				return
			}
			heard = c.in.reads.Load()
		}
	})
}
