package master_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
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
