package wire_test

import (
	"context"
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
		if err := c.Interruption(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, heard); got.Rebalance != n.Rebalance || !got.At.Equal(n.At) {
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
