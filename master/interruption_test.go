package master_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/wire"
)

// TestInterruption: a build whose instance EC2 takes back is ended in time, does
// not count as a failure, and goes to the front of the queue; the instance gets
// no other build and is ended.
func TestInterruption(t *testing.T) {
	s := newSite(t)
	notices := make(chan wire.Notice)
	s.watch = func(ctx context.Context, _ *slog.Logger, tell func(wire.Notice)) {
		select {
		case n := <-notices:
			tell(n)
		case <-ctx.Done():
		}
	}
	gate := filepath.Join(s.dir, "gate")
	m := s.start(fmt.Sprintf(`
c['workers'] = [ec2('bot', spot_instance=True, max_builds=1)]
forced([builder('b', ['bot'], %q), builder('b2', ['bot'], 'true')])
`, gated(gate)))
	taken := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	other, err := m.Force(t.Context(), web.ForceRequest{Builder: "b2", Priority: 5})
	if err != nil {
		t.Fatal(err)
	}
	notices <- wire.Notice{At: time.Now().Add(time.Second)}
	m.until("the interruption", func() bool { return m.request(taken.ID).Interrupted == 1 })
	open(t, gate)
	for _, r := range []dormouse.BuildRequest{taken, other[0]} {
		if r = m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil || len(builds) != 3 {
		t.Fatalf("%+v, %v", builds, err)
	}
	first, second, third := builds[2], builds[1], builds[0]
	if *first.Result != dormouse.Retry || !strings.Contains(first.StateString, "EC2 takes the spot instance back at ") {
		t.Errorf("the build that was cut off: %+v", first)
	}
	if second.RequestID != taken.ID || third.RequestID != other[0].ID {
		t.Error("the interrupted request did not go first, before one of a higher priority")
	}
	if second.InstanceID == first.InstanceID {
		t.Error("the instance that is taken got another build")
	}
	if w := m.worker("bot"); !w.QuarantinedUntil.IsZero() {
		t.Errorf("the worker is quarantined: %+v", w)
	}
}

// TestAnAnnouncedTimeThatHasPassed: it is that of another clock, as a notice is young:
// the build has its time, and ends by itself.
func TestAnAnnouncedTimeThatHasPassed(t *testing.T) {
	s := newSite(t)
	notices := make(chan wire.Notice)
	s.watch = func(ctx context.Context, _ *slog.Logger, tell func(wire.Notice)) {
		select {
		case n := <-notices:
			tell(n)
		case <-ctx.Done():
		}
	}
	gate := filepath.Join(s.dir, "gate")
	m := s.start(fmt.Sprintf(`
c['workers'] = [ec2('bot', spot_instance=True)]
forced([builder('b', ['bot'], %q)])
`, gated(gate)))
	r := m.force("b", 1)[0]
	m.awaitLine("b", "3")
	first := m.worker("bot").InstanceID
	notices <- wire.Notice{At: time.Now().Add(-4 * time.Minute)}
	var row dormouse.Instance
	m.until("the notice", func() bool {
		all, err := m.Instances(t.Context(), true)
		at := slices.IndexFunc(all, func(i dormouse.Instance) bool { return i.ID == first })
		if err != nil || at < 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		row = all[at]
		return !row.TakenAt.IsZero()
	})
	if left := time.Until(row.TakenAt); left < 0 {
		t.Errorf("it is taken back %v ago", -left)
	}
	open(t, gate)
	if r = m.ended(r.ID); *r.Result != dormouse.Success || r.Interrupted != 0 {
		t.Errorf("the build was ended: %+v", r)
	}
}

// TestWhatIsTakenBackIsNotPaidFor: EC2 ends the instance that it takes back, and not
// we, whatever we have to do with it meanwhile: the next one runs already, its agent
// comes back, and its watchdog asks whether to go on. It costs nothing then.
func TestWhatIsTakenBackIsNotPaidFor(t *testing.T) {
	s := newSite(t)
	notices := make(chan wire.Notice)
	s.watch = func(ctx context.Context, _ *slog.Logger, tell func(wire.Notice)) {
		select {
		case n := <-notices:
			tell(n)
		case <-ctx.Done():
		}
	}
	m := s.start(`
c['workers'] = [ec2('bot', spot_instance=True, max_builds=1)]
c['budget'] = {'per_hour': 1}
forced([builder('b', ['bot'], 'true')])
`)
	m.ended(m.force("b", 1)[0].ID)
	first := m.worker("bot").InstanceID
	interrupt, err := ec2sim.ParseScenario([]byte(`{"rules": [{"when": {"times": 1}, "do": {"interrupt": {"notice": "4s"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s.endpoint.SetScenario(interrupt)
	notices <- wire.Notice{At: time.Now().Add(4 * time.Second)}
	m.until("the interruption", func() bool { return m.worker("bot").InstanceID != first })
	lease, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+m.WorkerAddr()+"/lease", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	lease.SetBasicAuth("bot", "password of bot")
	lease.Header.Set("Dormouse-Instance", first)
	answer, err := http.DefaultClient.Do(lease)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("its watchdog is told %s", answer.Status)
	}
	m.ended(m.force("b", 1)[0].ID)
	var row dormouse.Instance
	m.until("the end of what is taken", func() bool {
		all, err := m.Instances(t.Context(), true)
		at := slices.IndexFunc(all, func(i dormouse.Instance) bool { return i.ID == first })
		if err != nil || at < 0 {
			t.Fatalf("%+v, %v", all, err)
		}
		row = all[at]
		return row.State.Ended()
	})
	usd, known := row.Cost(time.Time{}, time.Time{}, time.Now())
	if !row.TakenBack() || !row.StoppingAt.IsZero() || row.TakenAt.IsZero() || usd != 0 || !known {
		t.Errorf("it costs %v (known: %v): %+v", usd, known, row)
	}
	for _, e := range s.endpoint.Ledger().Instances {
		if e.ID == first && (e.EndedBy != "" || e.CostUSD != 0 || !strings.HasPrefix(e.Reason, "Server.SpotInstanceTermination")) {
			t.Errorf("EC2 has %+v", e)
		}
	}
}
