package master_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/web"
)

// TestDrain: a master that drains starts no build, lets the one that runs end,
// and leaves what waits to the next.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := fmt.Sprintf(`
c['workers'] = [ec2('bot'), ec2('bot2')]
forced([builder('b', ['bot'], %q), builder('b2', ['bot2'], 'true')])
`, gated(gate))
	m := s.start(text)
	running := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	told := make(chan int, 10)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		m.Drain(t.Context(), func(left []dormouse.Build) { told <- len(left) })
	}()
	if n := <-told; n != 1 {
		t.Errorf("%d builds are waited for", n)
	}
	waiting := m.force("b2", 1)[0] // is still taken
	m.until("the reason to wait", func() bool {
		return m.request(waiting.ID).Waiting == "the master is shutting down and starts no more builds"
	})
	if !m.Info().Draining {
		t.Error("the API does not say that it drains")
	}
	open(t, gate)
	<-drained
	if r := m.request(running.ID); r.Result == nil || *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}
	m.stop()
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
	m = s.start(text)
	if r := m.ended(waiting.ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}
}

// TestSupersededMasterLeavesItsBuilds: a master whose store is another one's now
// ends nothing that runs, and keeps nobody waiting.
func TestSupersededMasterLeavesItsBuilds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], %q)])
`, gated(gate))
	m := s.start(text)
	request := m.force("b", 1)[0]
	before := m.awaitLine("b", "3")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		m.Drain(t.Context(), func([]dormouse.Build) {})
	}()
	// Another one takes the lease, as if this one had slept for an hour, and goes.
	if _, err := m.DB().AcquireLease(t.Context(), "another", time.Millisecond-time.Hour, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Force(t.Context(), web.ForceRequest{Builder: "b"}); err == nil {
		t.Fatal("the master does not notice that its store is another one's")
	}
	if err := <-m.Failed(); !errors.Is(err, store.ErrSuperseded) {
		t.Error(err)
	}
	<-drained
	m.stop()
	m = s.start(text)
	open(t, gate)
	r := m.ended(request.ID)
	if *r.Result != dormouse.Success || r.BuildID != before.ID {
		t.Errorf("build %d has become %+v", before.ID, r)
	}
	if got := m.numbers(r.BuildID); got != "1 2 3 4 5 6" {
		t.Errorf("printed %q", got)
	}
	m.allGone(s)
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
}

// TestDrainEndsWithItsTime: what still runs then goes back to the queue.
func TestDrainEndsWithItsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := fmt.Sprintf(`
c['workers'] = [ec2('bot')]
forced([builder('b', ['bot'], %q)])
`, gated(gate))
	m := s.start(text)
	r := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	over, cancel := context.WithCancel(t.Context())
	m.Drain(over, func([]dormouse.Build) { cancel() })
	m.stop()
	if alive := s.endpoint.Ledger().Alive(); alive != 0 {
		t.Errorf("%d instances are alive", alive)
	}
	open(t, gate)
	m = s.start(text)
	if r = m.ended(r.ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}
	if builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10}); err != nil || len(builds) != 2 || *builds[1].Result != dormouse.Retry {
		t.Errorf("%+v, %v", builds, err)
	}
}

// TestKeep: a master that stops leaves an instance with on_shutdown='keep' to
// the next, and the build on it, which it does not wait for.
func TestKeep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	text := workersPort(t) + fmt.Sprintf(`
c['workers'] = [ec2('bot', on_shutdown='keep', build_wait_timeout=0), ec2('bot2', build_wait_timeout=600)]
forced([builder('b', ['bot'], %q), builder('b2', ['bot2'], 'true')])
`, gated(gate))
	m := s.start(text)
	kept := m.force("b", 1)[0]
	m.ended(m.force("b2", 1)[0].ID)
	before := m.awaitLine("b", "3")
	m.Drain(t.Context(), func(left []dormouse.Build) {
		if len(left) > 0 {
			t.Errorf("%+v is waited for", left)
		}
	})
	m.stop()
	if ledger := s.endpoint.Ledger(); ledger.Started != 2 || ledger.Alive() != 1 {
		t.Errorf("%d instances, %d alive", ledger.Started, ledger.Alive())
	}
	m = s.start(text)
	open(t, gate)
	r := m.ended(kept.ID)
	if *r.Result != dormouse.Success || r.BuildID != before.ID || m.numbers(r.BuildID) != "1 2 3 4 5 6" {
		t.Errorf("%+v, printed %q", r, m.numbers(r.BuildID))
	}
	m.until("the end of the instance", func() bool { return s.endpoint.Ledger().Alive() == 0 })
	if ledger := s.endpoint.Ledger(); ledger.Started != 2 {
		t.Errorf("%d instances", ledger.Started)
	}
}
