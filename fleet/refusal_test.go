package fleet

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// logged has the fleet log to a buffer.
func (w *world) logged() *logBuffer {
	out := new(logBuffer)
	w.opt.Log = slog.New(slog.NewTextHandler(out, nil))
	return out
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

// TestATerminationThatIsRefused is said when that begins, again after growing
// pauses, and when it ends; it is counted, and shown with the instance.
func TestATerminationThatIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		log := w.logged()
		denied := dormouse.Errorf(dormouse.Configuration, "TerminateInstances in us-east-1: UnauthorizedOperation")
		w.region.terminate = func(string) error { return denied }
		m := w.member("bot1")
		w.alive("bot1", 1, true)
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.alive("bot1", 1, false)
		for range 60 * 4 { // as its host does: every two minutes, for eight hours
			if err := m.Stop(t.Context(), 1, false); err == nil {
				t.Fatal("accepted")
			}
			time.Sleep(2 * time.Minute)
		}
		if n := strings.Count(log.String(), "level=ERROR"); n < 4 || n > 10 {
			t.Errorf("said %d times in eight hours:\n%s", n, log)
		}
		first, _, _ := strings.Cut(log.String(), "\n")
		for _, want := range []string{"level=ERROR", "instance=i-1", "worker=bot1", "TerminateInstances", "UnauthorizedOperation"} {
			if !strings.Contains(first, want) {
				t.Errorf("the first line lacks %s: %s", want, first)
			}
		}
		if row, _ := w.Lookup("i-1"); row.TerminationRefused != denied.Error() || w.NotTerminated() != 1 || w.Failures().Terminations < 240 {
			t.Errorf("%+v, %d not terminated, %+v", row, w.NotTerminated(), w.Failures())
		}
		log.Reset()
		w.region.terminate = nil
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		if row, _ := w.Lookup("i-1"); row.TerminationRefused != "" || w.NotTerminated() != 0 || !strings.Contains(log.String(), "level=INFO") {
			t.Errorf("%+v, %d not terminated, log %s", row, w.NotTerminated(), log)
		}
	})
}

// What passes by itself is not said, nor is an instance that is not shown yet.
func TestAPassingRefusalIsNotSaid(t *testing.T) {
	for _, code := range []dormouse.Code{dormouse.Throttled, dormouse.Unavailable, dormouse.NotFound} {
		inWorld(t, func(t *testing.T, w *world) {
			log := w.logged()
			n := 0
			w.region.terminate = func(string) error {
				if n++; n <= 2 {
					return dormouse.Errorf(code, "not now")
				}
				return nil
			}
			m := w.member("bot1")
			if _, err := m.Start(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_ = m.Stop(t.Context(), 1, false) // refused twice
				time.Sleep(2 * time.Second)
			}
			if log.String() != "" || w.NotTerminated() != 0 {
				t.Errorf("%s: %s", code, log)
			}
		})
	}
}

// TestOtherRefusals: whatever keeps things from being left behind is said once, and
// counted, and it is said that it is over.
func TestOtherRefusals(t *testing.T) {
	denied := dormouse.Errorf(dormouse.Configuration, "UnauthorizedOperation")
	for _, tc := range []struct {
		name, says string
		refuse     func(w *world, m *Member, on bool)
	}{
		{"an address", "instance=i-1", func(_ *world, m *Member, on bool) {
			m.Release = func(context.Context, string) error {
				if on {
					return denied
				}
				return nil
			}
		}},
		{"a spot request", "id=sir-1", func(w *world, _ *Member, on bool) {
			w.region.things = []dormouse.Belonging{{Kind: dormouse.LeftoverSpotRequest, ID: "sir-1", Handle: "sir-1", State: "open"}}
			w.region.letGoDenied = nil
			if on {
				w.region.letGoDenied = denied
			}
		}},
		{"a listing", "account=us-east-1/test", func(w *world, _ *Member, on bool) {
			w.region.list = nil
			if on {
				w.region.list = func() error { return denied }
			}
		}},
		{"a look for other things", "account=us-east-1/test", func(w *world, _ *Member, on bool) {
			w.region.denied = nil
			if on {
				w.region.denied = denied
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				log := w.logged()
				m := w.member("bot1")
				w.alive("bot1", 1, true)
				if _, err := m.Start(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				w.region.terminate = func(string) error { return dormouse.Errorf(dormouse.Throttled, "later") }
				try := func(on bool) {
					w.region.mu.Lock()
					tc.refuse(w, m, on)
					w.region.mu.Unlock()
					for range 3 {
						_ = m.Stop(t.Context(), 1, false)
						time.Sleep(tidyInterval + sweepInterval)
					}
				}
				try(true)
				if n := strings.Count(log.String(), "level=WARN"); n < 1 || n > 10 || !strings.Contains(log.String(), tc.says) || w.Failures().Others == 0 {
					t.Errorf("%+v:\n%s", w.Failures(), log)
				}
				log.Reset()
				try(false)
				if !strings.Contains(log.String(), "level=INFO") {
					t.Errorf("its end is not said:\n%s", log)
				}
			})
		})
	}
}
