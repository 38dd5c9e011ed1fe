package master_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// TestStory: of a boot that never attaches, the request that waits tells what was
// asked of EC2, how far the instance came and what it printed, before and after
// it is given up.
func TestStory(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(m ec2sim.Machine) { fmt.Fprintln(m.Console, "kernel panic: no root") }
	m := s.start(`
c['workers'] = [worker.EC2LatentWorker('bot', 'password', 't3.small', ami='` + ec2sim.WorkerImageID + `', session=session(), user_data=USER_DATA,
    missing_timeout=3, check_instance_interval=1)]
forced([builder('b', ['bot'], 'true')])
`)
	r := m.force("b", 1)[0]
	story := func() dormouse.Story {
		t.Helper()
		out, err := m.Story(t.Context(), r.ID)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var g dormouse.GenerationStory
	m.until("the console of the first boot", func() bool {
		w := story().Workers
		if len(w) != 1 || len(w[0].Generations) == 0 || len(w[0].Generations[0].Attempts) != 1 {
			return false
		}
		g = w[0].Generations[0]
		return strings.Contains(g.Attempts[0].Console, "kernel panic: no root") && len(g.Instances) == 1 && !g.Instances[0].StoppingAt.IsZero()
	})
	if a := g.Attempts[0]; a.State != dormouse.AttemptAccepted || a.Offering.InstanceType != "t3.small" {
		t.Errorf("%+v", a)
	}
	if i := g.Instances[0]; i.RunningAt.IsZero() || !i.AttachedAt.IsZero() {
		t.Errorf("%+v", i)
	}
	m.until("the quarantine", func() bool {
		w := story().Workers[0]
		return !w.NextAt.IsZero() && strings.Contains(w.Worker.Reason, "did not attach")
	})
}
