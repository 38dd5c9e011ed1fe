package master_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
)

// TestBootSays: a request that waits for a machine that installs its agent tells what
// keeps it, once that takes longer than usual; and a machine that has given up is ended
// for that reason, whether it still runs or has powered itself off.
func TestBootSays(t *testing.T) {
	const given = "dormouse: this machine cannot become a worker: the disk is full\n"
	for _, tt := range []struct {
		name string
		boot func(m ec2sim.Machine)
		want string // is why the request waits
		ends bool   // its generation does
	}{
		{"waits for the master", func(m ec2sim.Machine) {
			fmt.Fprint(m.Console, "[ 1.0] boot\r\ndormouse: cannot fetch http://ci/: timed out; trying again in 5 s\r\n")
		}, "is booting; its console says: cannot fetch http://ci/: timed out; trying again in 5 s", false},
		{"has given up", func(m ec2sim.Machine) { fmt.Fprint(m.Console, given) }, "cannot become a worker: the disk is full", true},
		{"has powered off", func(m ec2sim.Machine) {
			fmt.Fprint(m.Console, given)
			m.PowerOff()
		}, "the disk is full", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.boot = tt.boot
			m := s.startWith(`
c['workers'] = [worker.EC2LatentWorker('bot', 'password', 't3.small', ami='`+ec2sim.WorkerImageID+`', session=session(), bootstrap='cloud-init',
    check_instance_interval=1)]
forced([builder('b', ['bot'], 'true')])
`, func(o *master.Options) { o.TimeScale = 1.0 / 60 })
			r := m.force("b", 1)[0]
			m.until("what keeps it", func() bool {
				return strings.Contains(m.request(r.ID).Waiting+" "+m.worker("bot").Reason, tt.want)
			})
			if !tt.ends {
				return
			}
			m.until("the end of the first machine", func() bool {
				story, err := m.Story(t.Context(), r.ID)
				if err != nil {
					t.Fatal(err)
				}
				g := story.Workers[0].Generations[0]
				return strings.Contains(g.Generation.Reason, tt.want) && len(g.Attempts) > 0 && strings.Contains(g.Attempts[0].Console, "the disk is full")
			})
		})
	}
}
