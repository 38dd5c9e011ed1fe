package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse/wire"
)

// TestNoticesAreToldOnEachConnection: also one that came while there was none; and
// beside an announcement no recommendation.
func TestNoticesAreToldOnEachConnection(t *testing.T) {
	conns := []*fakeConn{newFakeConn(), newFakeConn(), newFakeConn()}
	for _, c := range conns {
		c.extensions = wire.Extensions{wire.Interruption}
	}
	ctx, stop := context.WithCancel(t.Context())
	cfg := testConfig(t)
	cfg.MaxDelay = time.Millisecond
	again, taken := wire.Notice{Rebalance: true, At: time.Unix(1, 0)}, wire.Notice{At: time.Unix(2, 0)}
	told2 := make(chan struct{})
	cfg.WatchInterruptions = func(_ context.Context, _ *slog.Logger, tell func(wire.Notice)) {
		tell(again)
		tell(again) // as the metadata have it every time
		<-told2
		tell(taken)
		tell(again)
	}
	told := func(c *fakeConn, n int) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.notices) == n
		}
	}
	conns[0].serve = func() {
		conns[0].await(t, told(conns[0], 1))
		conns[0].drop(errors.New("gone"))
	}
	conns[1].serve = func() {
		conns[1].await(t, told(conns[1], 1))
		close(told2)
		conns[1].await(t, told(conns[1], 2))
		conns[1].drop(errors.New("gone"))
	}
	conns[2].serve = func() {
		conns[2].await(t, told(conns[2], 1))
		stop()
	}
	w := testWorker(t, cfg, func(attempt int, _ wire.DialOptions) (conn, error) { return conns[attempt-1], nil })
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]wire.Notice{{again}, {again, taken}, {taken}} {
		if diff := cmp.Diff(want, conns[i].notices); diff != "" {
			t.Errorf("connection %d: %s", i, diff)
		}
	}
}
