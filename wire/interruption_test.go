package wire_test

import (
	"context"
	"maps"
	"math"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/wire"
)

// TestInterruption: a notice arrives as it was given; a master that does not
// want to hear of them does not announce that it does.
func TestInterruption(t *testing.T) {
	heard := make(chan wire.Notice, 1)
	m := startMaster(t, wire.ServerOptions{Interrupted: func(_ *wire.Worker, n wire.Notice) { heard <- n }})
	c := dial(t, m.addr, "w", newAgent())
	for _, n := range []wire.Notice{{Rebalance: true, At: time.Unix(1700000000, 0)}, {At: time.Unix(1700000100, 0)}} {
		began := time.Now()
		if err := c.Interruption(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		// As much is left of the time there as here, but for the way.
		got := receive(t, heard)
		if late := got.At.Sub(n.At); got.Rebalance != n.Rebalance || late < -time.Millisecond || late > time.Since(began) {
			t.Errorf("%+v arrives as %+v", n, got)
		}
	}
	deaf := startMaster(t, wire.ServerOptions{Attach: func(context.Context, *wire.Worker) error { return nil }})
	c = dial(t, deaf.addr, "w", newAgent())
	if c.Extensions().Has(wire.Interruption) {
		t.Error("a master that does not listen says that it does")
	}
	if err := c.Interruption(t.Context(), wire.Notice{}); err == nil {
		t.Error("it was taken all the same")
	}
}

// TestAnInterruptionByAnotherClock: what is left counts, and not the time of day of a
// clock that is wrong; an agent of an earlier Dormouse tells that alone.
func TestAnInterruptionByAnotherClock(t *testing.T) {
	heard := make(chan wire.Notice, 1)
	m := startMaster(t, wire.ServerOptions{Interrupted: func(_ *wire.Worker, n wire.Notice) { heard <- n }})
	agent := connectRaw(t, m.addr, "w", string(wire.Interruption))
	tell := func(notice map[string]any) time.Time {
		agent.send(maps.Collect(func(yield func(string, any) bool) {
			_ = yield("op", "interruption") && yield("seq_number", 7) && yield("rebalance", false)
			maps.All(notice)(yield)
		}))
		return receive(t, heard).At
	}
	const at = 1_700_000_000.0
	for _, left := range []any{nil, "soon", math.NaN(), math.Inf(1), 1e300} {
		if got := tell(map[string]any{"at": at, "left": left}); !got.Equal(time.Unix(at, 0)) {
			t.Errorf("%v left: %v", left, got)
		}
	}
	for _, left := range []float64{120, 0.5, 0, -240} {
		from := time.Now()
		got := tell(map[string]any{"at": at, "left": left})
		d := time.Duration(left * float64(time.Second))
		if got.Before(from.Add(d)) || got.After(time.Now().Add(d)) {
			t.Errorf("%v s left: %v, at %v", left, got, from)
		}
	}
}
