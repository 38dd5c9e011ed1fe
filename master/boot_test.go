package master_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
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

// TestConsolesThatAreHeldBack: a call for the console for which EC2 has no room says
// nothing of the machine: no warning comes of it, and the machine is waited for.
func TestConsolesThatAreHeldBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(ec2sim.Machine) {}
	var calls atomic.Int32
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		if formOf(r).Get("Action") != "GetConsoleOutput" {
			call.ServeHTTP(w, r)
			return
		}
		calls.Add(1)
		w.WriteHeader(http.StatusBadRequest)
		// One of the codes for too many calls, which the SDK does not try again by itself.
		fmt.Fprint(w, "<Response><Errors><Error><Code>ConcurrentTagAccess</Code><Message>Slow down.</Message></Error></Errors></Response>")
	}
	s.around.Store(&around)
	var log syncBuffer
	m := s.startWith(`
c['workers'] = [worker.EC2LatentWorker('bot', 'password', 't3.small', ami='`+ec2sim.WorkerImageID+`', session=session(), bootstrap='cloud-init',
    check_instance_interval=1)]
forced([builder('b', ['bot'], 'true')])
`, func(o *master.Options) { o.TimeScale, o.Log = 1.0/60, slog.New(slog.NewTextHandler(&log, nil)) })
	m.force("b", 1)
	m.until("the master asks again", func() bool { return calls.Load() > 2 })
	if w := m.worker("bot"); w.Generation != 1 || !strings.Contains(w.Reason, "is booting") {
		t.Errorf("%+v", w)
	}
	m.stop()
	if strings.Contains(log.String(), "cannot be read") {
		t.Errorf("there is a warning:\n%s", log.String())
	}
}
