package storetest

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testDeployment(t *testing.T, f *fixture) {
	d, err := f.Deployment(t.Context())
	check(t, err)
	if len(d.ID) != 12 || strings.Trim(d.ID, "abcdefghijklmnopqrstuvwxyz234567") != "" || len(d.Key) != 32 {
		t.Errorf("deployment %q with a key of %d bytes", d.ID, len(d.Key))
	}
	again, err := f.Deployment(t.Context())
	check(t, err)
	same(t, "the deployment read again", again, d)
}

func testLease(t *testing.T, f *fixture) {
	ctx := t.Context()
	_, err := f.AcquireLease(ctx, "master-2", time.Hour, at(10))
	refused(t, "another master, before the lease expires", err, dormouse.Conflict)
	if err == nil || !strings.Contains(err.Error(), "master-1") || !strings.Contains(err.Error(), "2026-03-01T13:00:00Z") {
		t.Errorf("%v does not say whose the lease is and until when", err)
	}
	if errors.Is(err, store.ErrSuperseded) {
		t.Error("a master that was never one cannot be superseded")
	}
	first := f.Owner
	check(t, first.RenewLease(ctx, time.Hour, at(3000)))
	_, err = f.AcquireLease(ctx, "master-2", time.Hour, at(3601))
	refused(t, "another master, after a renewal", err, dormouse.Conflict)

	mine, err := f.AcquireLease(ctx, "master-1", time.Hour, at(3601))
	check(t, err)
	superseded(t, "renewing what was acquired again", first.RenewLease(ctx, time.Hour, at(3602)))

	theirs, err := f.AcquireLease(ctx, "master-2", time.Hour, at(3*3600))
	check(t, err)
	superseded(t, "renewing after another took over", mine.RenewLease(ctx, time.Hour, at(3*3600)))
	superseded(t, "releasing after another took over", mine.ReleaseLease(ctx))
	check(t, theirs.ReleaseLease(ctx))
	check(t, theirs.ReleaseLease(ctx)) // the answer may have been lost
	superseded(t, "renewing after the release", theirs.RenewLease(ctx, time.Hour, at(3*3600)))
	superseded(t, "writing after the release", theirs.SaveWorker(ctx, store.WorkerRecord{Name: "w", State: []byte("{}")}))
	last, err := f.AcquireLease(ctx, "master-3", time.Hour, at(3*3600))
	check(t, err)
	superseded(t, "releasing late", theirs.ReleaseLease(ctx))
	check(t, last.RenewLease(ctx, time.Hour, at(3*3600)))
	_, err = f.AcquireLease(ctx, "", time.Hour, at(9*3600))
	refused(t, "a lease without an owner", err, dormouse.Invalid)
}

// testFencing tries every write of masters that own the database no more.
func testFencing(t *testing.T, f *fixture) {
	ctx := t.Context()
	r := f.submit(t, "b")
	into := f.submit(t, "b")
	b := f.start(t, "b")
	s := f.step(t, b.ID, 0)
	l, err := f.NewLog(ctx, s.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	g := dormouse.Generation{Worker: "w1", Number: 1, OpenedAt: epoch}
	check(t, f.SaveWorker(ctx, store.WorkerRecord{Name: "w1", State: []byte("{}")}, g))
	a, err := f.openAttempt(ctx, dormouse.LaunchAttempt{Worker: "w1", Generation: 1, Token: "t1"})
	check(t, err)
	check(t, f.SaveInstance(ctx, dormouse.Instance{ID: "i-1", LaunchedAt: epoch}))

	released, err := f.AcquireLease(ctx, "master-2", time.Hour, at(7200))
	check(t, err)
	check(t, released.ReleaseLease(ctx))
	_, err = f.AcquireLease(ctx, "master-2", time.Hour, at(7200))
	check(t, err)
	accepted := a
	accepted.State = dormouse.AttemptAccepted
	for _, o := range []*store.Owner{f.Owner, released} {
		for name, write := range map[string]func() error{
			"CollapseRequests": func() error {
				_, err := o.CollapseRequests(ctx, []store.Collapse{{ID: r.ID, Into: into.ID}}, at(1))
				return err
			},
			"StartBuild": func() error {
				_, _, err := o.StartBuild(ctx, store.NewBuild{RequestID: r.ID})
				return err
			},
			"FinishBuild": func() error {
				_, _, err := o.FinishBuild(ctx, b.ID, store.Ending{Result: dormouse.Success, At: at(9)})
				return err
			},
			"SetBuildState": func() error { return o.SetBuildState(ctx, b.ID, "x") },
			"SetProperties": func() error {
				return o.SetProperties(ctx, b.ID, dormouse.Properties{"x": {Value: "y"}})
			},
			"StartStep": func() error {
				_, err := o.StartStep(ctx, dormouse.Step{BuildID: b.ID, Index: 1})
				return err
			},
			"FinishStep": func() error {
				_, err := o.FinishStep(ctx, s.ID, dormouse.Success, "", false, at(9))
				return err
			},
			"NewLog": func() error {
				_, err := o.NewLog(ctx, s.ID, "other", dormouse.LogText)
				return err
			},
			"AppendLog": func() error {
				_, err := o.AppendLog(ctx, l.ID, 0, []dormouse.LogLine{{Stream: dormouse.Stdout, Text: "x"}}, "")
				return err
			},
			"CompleteLog": func() error {
				_, err := o.CompleteLog(ctx, l.ID)
				return err
			},
			"SubmitRequests": func() error {
				_, err := o.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: "x"}})
				return err
			},
			"CancelRequest": func() error {
				_, err := o.CancelRequest(ctx, r.ID, at(1))
				return err
			},
			"SaveWorker": func() error {
				return o.SaveWorker(ctx, store.WorkerRecord{Name: "w2", State: []byte("{}")})
			},
			"OpenAttempts": func() error {
				_, err := o.OpenAttempts(ctx, []dormouse.LaunchAttempt{{Worker: "w1", Generation: 1, Token: "t2"}})
				return err
			},
			"SettleAttempts": func() error {
				return o.SettleAttempts(ctx, []dormouse.LaunchAttempt{accepted}, []dormouse.Instance{{ID: "i-2", AttemptID: accepted.ID}})
			},
			"SetAttemptConsole": func() error { return o.SetAttemptConsole(ctx, a.ID, "x") },
			"SaveInstance":      func() error { return o.SaveInstance(ctx, dormouse.Instance{ID: "i-1", Zone: "x"}) },
		} {
			superseded(t, name, write())
		}
		superseded(t, "RenewLease", o.RenewLease(ctx, time.Hour, at(7200)))
	}

	pending, err := f.PendingRequests(ctx)
	check(t, err)
	same(t, "pending requests", ids(pending), []int64{r.ID, into.ID})
	got, err := f.Build(ctx, b.ID)
	check(t, err)
	same(t, "the build", got, b)
	steps, err := f.Steps(ctx, b.ID)
	check(t, err)
	s.Logs = []dormouse.Log{l}
	same(t, "its steps", steps, []dormouse.Step{s})
	attempts, err := f.UnsettledAttempts(ctx)
	check(t, err)
	same(t, "open attempts", attempts, []dormouse.LaunchAttempt{a})
	instances, err := f.Instances(ctx, store.InstanceFilter{})
	check(t, err)
	same(t, "instances", instances, []dormouse.Instance{{ID: "i-1", LaunchedAt: epoch}})
	workers, err := f.Workers(ctx)
	check(t, err)
	if len(workers) != 1 {
		t.Errorf("workers %v, want w1 alone", workers)
	}
}

// testFencingConcurrent has a master write while another takes over: what it
// sees right after taking over is all there ever will be of the first one's.
func testFencingConcurrent(t *testing.T, f *fixture) {
	ctx := t.Context()
	var writers sync.WaitGroup
	going := make(chan struct{}, 100)
	for range 4 {
		writers.Go(func() {
			for {
				_, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: "b"}})
				if errors.Is(err, store.ErrSuperseded) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				pending, err := f.PendingRequests(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				_, _, err = f.StartBuild(ctx, store.NewBuild{RequestID: pending[len(pending)-1].ID, StartedAt: epoch})
				switch {
				case errors.Is(err, store.ErrSuperseded):
					return
				case err != nil && dormouse.CodeOf(err) != dormouse.Conflict: // another writer claimed it
					t.Error(err)
					return
				}
				select {
				case going <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 20 {
		<-going
	}
	_, err := f.AcquireLease(ctx, "master-2", time.Hour, at(7200))
	check(t, err)
	seen, err := f.UnfinishedBuilds(ctx)
	check(t, err)
	writers.Wait()
	after, err := f.UnfinishedBuilds(ctx)
	check(t, err)
	if len(after) != len(seen) {
		t.Errorf("%d builds at the takeover, %d later", len(seen), len(after))
	}
}
