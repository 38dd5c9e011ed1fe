package latent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// cloud is a provider whose answers a test gives.
type cloud struct {
	mu     sync.Mutex
	calls  []string
	start  func(ctx context.Context, g int64) (string, error)
	state  dormouse.InstanceState
	stop   func(g int64) error
	checks atomic.Int64
}

func (c *cloud) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

func (c *cloud) Start(ctx context.Context, g int64) (string, error) {
	c.note("start %d", g)
	if c.start != nil {
		return c.start(ctx, g)
	}
	return fmt.Sprintf("i-%d", g), nil
}

func (c *cloud) Prepare(context.Context, int64) error { return nil }

func (c *cloud) Check(context.Context, int64) (dormouse.InstanceState, string, error) {
	c.checks.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == "" {
		return dormouse.InstancePending, "", nil
	}
	return c.state, "", nil
}

func (c *cloud) Stop(_ context.Context, g int64, console bool) error {
	c.note("stop %d console=%v", g, console)
	if c.stop != nil {
		return c.stop(g)
	}
	return nil
}

func (c *cloud) did() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// hosted is a worker under test with what it stored.
type hosted struct {
	*Worker
	cloud *cloud
	mu    sync.Mutex
	rows  map[int64]dormouse.Generation
	saved State
	told  []string
	away  bool // the store
}

func host(t *testing.T, p Policy, c *cloud, initial State) *hosted {
	h := &hosted{cloud: c, rows: map[int64]dormouse.Generation{}}
	h.Worker = NewWorker(Options{
		Name: "bot1", Policy: p, Provider: c,
		Save: func(_ context.Context, s State, rows []dormouse.Generation) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.away {
				return dormouse.Errorf(dormouse.Unavailable, "the database restarts")
			}
			h.saved = s
			for _, r := range rows {
				h.rows[r.Number] = r
			}
			return nil
		},
		Until:      until,
		Superseded: func(err error) { t.Errorf("superseded: %v", err) },
		Changed:    func(State) {},
		Disconnect: func(int64, string) {},
		NotifyMissing: func(g int64, reason string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.told = append(h.told, reason)
		},
		Log: slog.New(slog.DiscardHandler),
	}, initial)
	h.Start()
	t.Cleanup(h.Close)
	return h
}

func (h *hosted) want(t *testing.T, phase Phase) {
	t.Helper()
	synctest.Wait()
	if s := h.State(); s.Phase != phase {
		t.Fatalf("after %v the worker is %q, want %q (%s); calls %v", time.Since(s.Since), s.Phase, phase, s.Reason, h.cloud.did())
	}
}

func (h *hosted) did(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, h.cloud.did()); diff != "" {
		t.Fatalf("calls (-want +got):\n%s", diff)
	}
}

// build runs one build, as a master does.
func (h *hosted) build(t *testing.T, took time.Duration, result dormouse.Result) {
	t.Helper()
	g, ok := h.Acquire()
	if !ok {
		t.Fatalf("not ready: %+v", h.State())
	}
	h.Post(Demand{false})
	time.Sleep(took)
	h.Post(BuildFinished{Generation: g, Result: result})
}

func (h *hosted) attach(t *testing.T, g int64) {
	t.Helper()
	h.Post(Demand{true})
	synctest.Wait()
	if err := h.Attach(g); err != nil {
		t.Fatal(err)
	}
	h.want(t, Substantiated)
}

func TestBuildWaitTimeout(t *testing.T) {
	for _, tc := range []struct {
		timeout time.Duration
		after   time.Duration // when it is looked at, after the build
		want    Phase
	}{
		{10 * time.Minute, 10*time.Minute - time.Millisecond, Substantiated},
		{10 * time.Minute, 10 * time.Minute, NotSubstantiated},
		{0, 0, NotSubstantiated},
		{-1, 1000 * time.Hour, Substantiated},
	} {
		t.Run(fmt.Sprintf("%v after %v", tc.timeout, tc.after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := testPolicy()
				p.BuildWaitTimeout = tc.timeout
				h := host(t, p, &cloud{}, State{})
				h.attach(t, 1)
				h.build(t, time.Hour, dormouse.Success)
				time.Sleep(tc.after)
				h.want(t, tc.want)
				if tc.want == NotSubstantiated {
					h.did(t, "start 1", "stop 1 console=false")
				}
			})
		})
	}
}

func TestBuildWaitTimeoutStartsAnewAfterEachBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, testPolicy(), &cloud{}, State{})
		h.attach(t, 1)
		for range 3 {
			h.build(t, time.Minute, dormouse.Success)
			time.Sleep(9 * time.Minute)
			h.want(t, Substantiated)
		}
		time.Sleep(time.Minute)
		h.want(t, NotSubstantiated)
	})
}

func TestZeroBuildWaitTimeoutUsesEachInstanceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := testPolicy()
		p.BuildWaitTimeout = 0
		h := host(t, p, &cloud{}, State{})
		h.attach(t, 1)
		g, ok := h.Acquire()
		if !ok {
			t.Fatalf("not ready: %+v", h.State())
		}
		h.Post(BuildFinished{Generation: g, Result: dormouse.Success}) // another request still waits
		h.want(t, Starting)
		h.did(t, "start 1", "stop 1 console=false", "start 2")
	})
}

func TestMissingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accept := make(chan struct{})
		c := &cloud{start: func(ctx context.Context, g int64) (string, error) {
			select {
			case <-accept:
				return "i-1", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		time.Sleep(3 * time.Hour) // queueing does not count
		h.want(t, Starting)
		close(accept)
		time.Sleep(20*time.Minute - time.Millisecond)
		h.want(t, Starting)
		time.Sleep(time.Millisecond)
		h.want(t, NotSubstantiated)
		h.did(t, "start 1", "stop 1 console=true")
		h.mu.Lock()
		if len(h.told) != 1 {
			t.Errorf("told people %q, want one message", h.told)
		}
		h.mu.Unlock()
		if s := h.State(); s.Startable(time.Now()) || s.QuarantineWhy == "" {
			t.Errorf("not quarantined with a reason: %+v", s)
		}
		time.Sleep(QuarantineFirst)
		h.want(t, Starting)
		time.Sleep(20 * time.Minute) // anew for the next attempt
		h.want(t, NotSubstantiated)
	})
}

func TestCheckInstanceInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(3 * time.Second) // off the multiple of the interval
		c := &cloud{}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		time.Sleep(7*time.Second - 1)
		synctest.Wait()
		if c.checks.Load() != 0 {
			t.Fatalf("%d checks before the interval's multiple", c.checks.Load())
		}
		time.Sleep(1 + 50*time.Second)
		synctest.Wait()
		if c.checks.Load() != 6 {
			t.Fatalf("%d checks, want one each 10 s", c.checks.Load())
		}
		c.mu.Lock()
		c.state = dormouse.InstanceTerminated
		c.mu.Unlock()
		time.Sleep(10 * time.Second)
		h.want(t, NotSubstantiated) // missing_timeout was not waited for
		h.Post(Demand{false})
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.checks.Load() != 7 {
			t.Errorf("%d checks, want none of a worker that is not there", c.checks.Load())
		}
	})
}

func TestQuarantineTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{start: func(context.Context, int64) (string, error) {
			return "", dormouse.Errorf(dormouse.Configuration, "no such AMI")
		}}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		time.Sleep(10*time.Second + 20*time.Second + 40*time.Second - time.Millisecond)
		h.did(t, "start 1", "start 2", "start 3")
		time.Sleep(time.Millisecond)
		h.did(t, "start 1", "start 2", "start 3", "start 4")
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.rows[3].ClosedAt.IsZero() || h.rows[3].Reason != "no such AMI" {
			t.Errorf("generation 3 is on record as %+v", h.rows[3])
		}
	})
}

func TestTransientStartIsTriedAgainInTheSameGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 3
		c := &cloud{}
		c.start = func(context.Context, int64) (string, error) {
			if failures > 0 {
				failures--
				return "", dormouse.Errorf(dormouse.Throttled, "slow down")
			}
			return "i-1", nil
		}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		time.Sleep(2*time.Second + 4*time.Second + 8*time.Second)
		h.did(t, "start 1", "start 1", "start 1", "start 1")
		if s := h.State(); !s.Launched {
			t.Errorf("not launched: %+v", s)
		}
	})
}

func TestStopWaitsForTheStartItCallsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		c.start = func(ctx context.Context, g int64) (string, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // a request on the wire cannot be taken back
			c.note("start %d returned", g)
			return "", ctx.Err()
		}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		synctest.Wait()
		h.Post(MasterStops{})
		time.Sleep(time.Second)
		h.want(t, ShutDown)
		h.did(t, "start 1", "start 1 returned", "stop 1 console=false")
	})
}

func TestStopIsTriedUntilItWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 20
		c := &cloud{stop: func(int64) error {
			if failures > 0 {
				failures--
				return errors.New("RequestLimitExceeded")
			}
			return nil
		}}
		h := host(t, testPolicy(), c, State{})
		h.attach(t, 1)
		h.Post(MasterStops{})
		time.Sleep(40 * time.Minute)
		h.want(t, ShutDown)
		if failures != 0 {
			t.Errorf("%d failures left", failures)
		}
	})
}

// saveRetry is the pause between two tries of until.
const saveRetry = time.Second

// until carries out a write as a master does.
func until(ctx context.Context, _ string, write func() error) error {
	for {
		err := write()
		if err == nil || dormouse.CodeOf(err) == dormouse.Conflict || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(saveRetry):
		case <-ctx.Done():
		}
	}
}

func TestStateIsDurableBeforeAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		stored := make(chan struct{})
		w := NewWorker(Options{
			Name: "bot1", Policy: testPolicy(), Provider: c,
			Save: func(ctx context.Context, s State, rows []dormouse.Generation) error {
				select {
				case <-stored:
					return nil
				default:
					return errors.New("disk full")
				}
			},
			Until: until, Changed: func(State) {}, Log: slog.New(slog.DiscardHandler),
		}, State{})
		w.Start()
		defer w.Close()
		w.Post(Demand{true})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if calls := c.did(); len(calls) != 0 {
			t.Fatalf("%v ordered before the state was durable", calls)
		}
		close(stored)
		time.Sleep(saveRetry)
		synctest.Wait()
		if diff := cmp.Diff([]string{"start 1"}, c.did()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestNobodyIsGivenUpDuringAnOutage: while the store is away nobody may attach, so
// who has to attach again has as long from its return on, whether the connection
// dropped before or during the outage.
func TestNobodyIsGivenUpDuringAnOutage(t *testing.T) {
	for _, before := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := host(t, testPolicy(), &cloud{}, State{})
			h.attach(t, 1)
			if _, ok := h.Acquire(); !ok {
				t.Fatal("not ready")
			}
			outage := func(on bool) {
				h.mu.Lock()
				defer h.mu.Unlock()
				h.away = on
			}
			if !before {
				outage(true)
			}
			h.Post(Detached{1})
			synctest.Wait()
			outage(true)
			time.Sleep(10 * testPolicy().Grace)
			synctest.Wait()
			outage(false)
			time.Sleep(testPolicy().Grace / 2)
			h.want(t, Substantiated)
			if err := h.Attach(1); err != nil {
				t.Errorf("dropped before the outage: %v: %v", before, err)
			}
			time.Sleep(2 * testPolicy().Grace)
			h.want(t, Substantiated)
		})
	}
}

func TestASupersededMasterStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{}
		superseded := make(chan error, 1)
		w := NewWorker(Options{
			Name: "bot1", Policy: testPolicy(), Provider: c,
			Save: func(context.Context, State, []dormouse.Generation) error {
				return dormouse.Errorf(dormouse.Conflict, "another master owns the store")
			},
			Until:      until,
			Superseded: func(err error) { superseded <- err },
			Changed:    func(State) {}, Log: slog.New(slog.DiscardHandler),
		}, State{})
		w.Start()
		defer w.Close()
		w.Post(Demand{true})
		<-superseded
		synctest.Wait()
		if calls := c.did(); len(calls) != 0 {
			t.Errorf("%v ordered by a superseded master", calls)
		}
	})
}

func TestAttachIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, testPolicy(), &cloud{}, State{})
		if err := h.Attach(1); dormouse.CodeOf(err) != dormouse.Conflict {
			t.Errorf("a worker that is not substantiated took an attachment: %v", err)
		}
		h.attach(t, 1)
		if err := h.Attach(0); dormouse.CodeOf(err) != dormouse.Conflict {
			t.Errorf("a stale generation attached: %v", err)
		}
	})
}

func TestANewProcessTakesUpWhereTheOldOneWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := host(t, testPolicy(), &cloud{}, State{})
		h.attach(t, 1)
		h.Close()
		h.mu.Lock()
		saved := h.saved
		h.mu.Unlock()

		again := host(t, testPolicy(), &cloud{}, saved)
		again.want(t, Substantiated)
		if again.State().Ready() {
			t.Error("ready before the worker came back")
		}
		if err := again.Attach(1); err != nil {
			t.Fatal(err)
		}
		again.build(t, time.Minute, dormouse.Success)
		again.did(t)
	})
}

func TestALackOfCapacityIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		again := time.Now().Add(3 * time.Minute)
		c := &cloud{start: func(context.Context, int64) (string, error) {
			if time.Now().Before(again) {
				return "", &dormouse.Error{Code: dormouse.Capacity, Message: "none left", Again: again}
			}
			return "i-1", nil
		}}
		h := host(t, testPolicy(), c, State{})
		h.Post(Demand{true})
		time.Sleep(3*time.Minute - time.Millisecond)
		h.want(t, Substantiating)
		h.did(t, "start 1")
		time.Sleep(time.Millisecond)
		h.want(t, Starting)
		if s := h.State(); s.Quarantine != 0 {
			t.Errorf("quarantined for a lack of capacity: %v", s.Quarantine)
		}
	})
}
