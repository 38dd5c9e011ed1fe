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
		t.Error("a master that was never one can not be superseded")
	}
	check(t, f.RenewLease(ctx, f.fence, time.Hour, at(3000)))
	_, err = f.AcquireLease(ctx, "master-2", time.Hour, at(3601))
	refused(t, "another master, after a renewal", err, dormouse.Conflict)

	mine, err := f.AcquireLease(ctx, "master-1", time.Hour, at(3601))
	check(t, err)
	if mine.Number <= f.fence.Number {
		t.Errorf("acquired again, the fence went from %v to %v", f.fence, mine)
	}
	superseded(t, "renewing with the old fence", f.RenewLease(ctx, f.fence, time.Hour, at(3602)))

	theirs, err := f.AcquireLease(ctx, "master-2", time.Hour, at(3*3600))
	check(t, err)
	if theirs.Number <= mine.Number {
		t.Errorf("the fence went from %v to %v", mine, theirs)
	}
	superseded(t, "renewing after another took over", f.RenewLease(ctx, mine, time.Hour, at(3*3600)))
	superseded(t, "releasing after another took over", f.ReleaseLease(ctx, mine))
	check(t, f.ReleaseLease(ctx, theirs))
	check(t, f.ReleaseLease(ctx, theirs)) // the answer may have been lost
	superseded(t, "releasing another's", f.ReleaseLease(ctx, store.Fence{Number: theirs.Number - 1, Owner: "master-2"}))
	superseded(t, "renewing after the release", f.RenewLease(ctx, theirs, time.Hour, at(3*3600)))
	superseded(t, "writing after the release", f.SaveWorker(ctx, theirs, store.WorkerRecord{Name: "w", State: []byte("{}")}))
	last, err := f.AcquireLease(ctx, "master-3", time.Hour, at(3*3600))
	check(t, err)
	if last.Number <= theirs.Number {
		t.Errorf("the fence went from %v to %v", theirs, last)
	}
	superseded(t, "releasing late", f.ReleaseLease(ctx, theirs))
	_, err = f.AcquireLease(ctx, "", time.Hour, at(9*3600))
	refused(t, "a lease without an owner", err, dormouse.Invalid)
}

// testFencing tries every fenced write with a fence that is void.
func testFencing(t *testing.T, f *fixture) {
	ctx := t.Context()
	r := f.submit(t, "b")
	into := f.submit(t, "b")
	b := f.start(t, "b")
	s := f.step(t, b.ID, 0)
	l, err := f.NewLog(ctx, f.fence, s.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	g := dormouse.Generation{Worker: "w1", Number: 1, OpenedAt: epoch}
	check(t, f.SaveWorker(ctx, f.fence, store.WorkerRecord{Name: "w1", State: []byte("{}")}, g))
	a, err := f.openAttempt(ctx, f.fence, dormouse.LaunchAttempt{Worker: "w1", Generation: 1, Token: "t1"})
	check(t, err)
	check(t, f.SaveInstance(ctx, f.fence, dormouse.Instance{ID: "i-1", LaunchedAt: epoch}))

	theirs, err := f.AcquireLease(ctx, "master-2", time.Hour, at(7200))
	check(t, err)
	accepted := a
	accepted.State = dormouse.AttemptAccepted
	for _, fence := range []store.Fence{
		f.fence,
		{},
		{Number: -1, Owner: "master-2"},
		{Number: theirs.Number + 100, Owner: "master-2"},
		// As after a failover to a replica that had not heard of the first election.
		{Number: theirs.Number, Owner: "master-1"},
		{Number: theirs.Number},
	} {
		for name, write := range map[string]func() error{
			"CollapseRequests": func() error {
				return f.CollapseRequests(ctx, fence, []store.Collapse{{ID: r.ID, Into: into.ID}}, at(1))
			},
			"StartBuild": func() error {
				_, err := f.StartBuild(ctx, fence, store.NewBuild{RequestID: r.ID})
				return err
			},
			"FinishBuild":   func() error { return f.FinishBuild(ctx, fence, b.ID, dormouse.Success, "", at(9), false) },
			"SetBuildState": func() error { return f.SetBuildState(ctx, fence, b.ID, "x") },
			"SetProperties": func() error {
				return f.SetProperties(ctx, fence, b.ID, dormouse.Properties{"x": {Value: "y"}})
			},
			"StartStep": func() error {
				_, err := f.StartStep(ctx, fence, dormouse.Step{BuildID: b.ID, Index: 1})
				return err
			},
			"FinishStep": func() error { return f.FinishStep(ctx, fence, s.ID, dormouse.Success, "", false, at(9)) },
			"NewLog": func() error {
				_, err := f.NewLog(ctx, fence, s.ID, "other", dormouse.LogText)
				return err
			},
			"AppendLog": func() error {
				_, err := f.AppendLog(ctx, fence, l.ID, 0, []dormouse.LogLine{{Stream: dormouse.Stdout, Text: "x"}})
				return err
			},
			"CompleteLog": func() error {
				_, err := f.CompleteLog(ctx, fence, l.ID)
				return err
			},
			"SubmitRequests": func() error {
				_, err := f.SubmitRequests(ctx, fence, []dormouse.BuildRequest{{Builder: "x"}})
				return err
			},
			"CancelRequest": func() error {
				_, err := f.CancelRequest(ctx, fence, r.ID, at(1))
				return err
			},
			"SaveWorker": func() error {
				return f.SaveWorker(ctx, fence, store.WorkerRecord{Name: "w2", State: []byte("{}")})
			},
			"OpenAttempts": func() error {
				_, err := f.openAttempt(ctx, fence, dormouse.LaunchAttempt{Worker: "w1", Generation: 1, Token: "t2"})
				return err
			},
			"SettleAttempts": func() error {
				return f.settle(ctx, fence, accepted, []dormouse.Instance{{ID: "i-2", AttemptID: accepted.ID}})
			},
			"SetAttemptConsole": func() error { return f.SetAttemptConsole(ctx, fence, a.ID, "x") },
			"SaveInstance":      func() error { return f.SaveInstance(ctx, fence, dormouse.Instance{ID: "i-1", Zone: "x"}) },
		} {
			superseded(t, name, write())
		}
		superseded(t, "RenewLease", f.RenewLease(ctx, fence, time.Hour, at(7200)))
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
				_, err := f.SubmitRequests(ctx, f.fence, []dormouse.BuildRequest{{Builder: "b"}})
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
				_, err = f.StartBuild(ctx, f.fence, store.NewBuild{RequestID: pending[len(pending)-1].ID, StartedAt: epoch})
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
