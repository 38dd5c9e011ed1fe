package master_test

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker"
)

// setting is a value of a machine's user data.
func setting(m ec2sim.Machine, key string) string {
	for line := range strings.Lines(string(m.UserData)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			return value
		}
	}
	return ""
}

// agentOn makes an agent on a machine, as systemd starts it there again and again.
func (s *site) agentOn(m ec2sim.Machine) *worker.Worker {
	s.t.Helper()
	w, err := worker.New(worker.Config{
		Master: setting(m, "DORMOUSE_MASTER"), Name: setting(m, "DORMOUSE_WORKER_NAME"), Password: setting(m, "DORMOUSE_WORKER_PASSWORD"),
		InstanceID: m.ID, BaseDir: filepath.Join(s.dir, "agents", m.ID), MaxDelay: 200 * time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// TestAgentIsStartedAgain: an agent that is told to end, or in whose place another has
// come while its own connection looks well (the machine was reset), ends its
// generation at once: the build is tried again elsewhere. Nothing was stolen, and
// nobody says so.
func TestAgentIsStartedAgain(t *testing.T) {
	for _, tt := range []struct {
		name, data string
		reset      bool
		why        string
	}{
		{"told to end", "USER_DATA", false, "its agent was told to end"},
		{"reset", "USER_DATA", true, "its agent was started again"},
		{"of a launch, told to end", "ANONYMOUS", false, "its agent was told to end"},
		{"of a launch, reset", "ANONYMOUS", true, "its agent was started again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			machines := make(chan ec2sim.Machine, 1)
			s.boot, s.deaf = func(m ec2sim.Machine) { machines <- m }, 1
			gate := filepath.Join(s.dir, "gate")
			m := s.startWith(`
c['workers'] = [ec2('bot', user_data=`+tt.data+`, build_wait_timeout=0)]
forced([builder('b', ['bot'], '''`+gated(gate)+`''')])
`, func(o *master.Options) { o.TimeScale = 1.0 / 20 }) // the next machine waits for the quarantine's 10 s
			request := m.force("b", 1)[0]
			machine := <-machines
			ctx, stop := context.WithCancel(t.Context())
			first := make(chan error, 1)
			go func() { first <- s.agentOn(machine).Run(ctx) }()
			m.awaitLine("b", "3")
			if tt.reset {
				err := s.agentOn(machine).Run(t.Context())
				if dormouse.CodeOf(err) != dormouse.Conflict || !strings.Contains(err.Error(), "was started again") {
					t.Errorf("the second agent ends with %v", err)
				}
			} else {
				stop()
			}
			open(t, gate)
			r := m.ended(request.ID)
			if *r.Result != dormouse.Success || s.boots.Load() != 2 {
				t.Errorf("%v on %d machines", *r.Result, s.boots.Load())
			}
			stop()
			<-first
			story, err := m.Story(t.Context(), request.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range story.Workers[0].Generations {
				if g.Generation.Number == 1 && !strings.Contains(g.Generation.Reason, tt.why) {
					t.Errorf("the first generation ended: %s", g.Generation.Reason)
				}
			}
			if !strings.Contains(m.metrics(), "dormouse_secrets_reused_total 0") {
				t.Error("it is taken for a theft")
			}
		})
	}
}

// TestKnocksOfOthers: what a machine's metadata tells to every build ends no generation,
// neither its own nor, of a launch, another's, and not from anywhere: who comes with it is
// refused, and it is said once. What runs goes on.
func TestKnocksOfOthers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, data string
		machines   int
		builds     bool // while they knock
	}{
		{"of a launch", "ANONYMOUS", 2, false},
		{"of one machine, idle", "USER_DATA", 1, false},
		{"of one machine, in a build", "USER_DATA", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			machines := make(chan ec2sim.Machine, 4)
			s.seen = func(m ec2sim.Machine) { machines <- m }
			gate := filepath.Join(s.dir, "gate")
			m := s.start(`
c['workers'] = [ec2('bot', user_data=` + tt.data + `, instances=` + strconv.Itoa(tt.machines) + `)]
forced([builder('b', ['bot'], 'true'), builder('b2', ['bot'], '''` + gated(gate) + `''')])
`)
			for _, r := range m.force("b", tt.machines) {
				m.ended(r.ID)
			}
			var last ec2sim.Machine
			var workers []string
			for i := range tt.machines {
				last = <-machines
				workers = append(workers, "bot")
				if tt.machines > 1 {
					workers[i] += "-" + strconv.Itoa(i+1)
				}
			}
			connected := func() bool {
				return !slices.ContainsFunc(workers, func(name string) bool { return !m.worker(name).Connected })
			}
			m.until("all attach", connected)
			var request dormouse.BuildRequest
			if tt.builds {
				request = m.force("b2", 1)[0]
				m.awaitLine("b2", "3")
			}
			m.knock(last, cmp.Or(setting(last, "DORMOUSE_WORKER_NAME"), last.ID))
			if !connected() || s.boots.Load() != int64(tt.machines) {
				t.Error("a worker has lost its generation")
			}
			for _, name := range workers {
				if w := m.worker(name); w.Generation != 1 || w.Phase != "substantiated" || !w.QuarantinedUntil.IsZero() {
					t.Errorf("%+v", w)
				}
			}
			if !strings.Contains(m.metrics(), "dormouse_secrets_reused_total 1\n") {
				t.Errorf("the alarm was not given once:\n%s", m.metrics())
			}
			if open(t, gate); tt.builds && *m.ended(request.ID).Result != dormouse.Success {
				t.Error("the build has not succeeded")
			}
		})
	}
}

// knock comes as an agent of a machine with what its metadata tell, again and again, and
// with tokens that are none; each is refused.
func (r *run) knock(machine ec2sim.Machine, name string) {
	r.t.Helper()
	secret := setting(machine, "DORMOUSE_WORKER_PASSWORD")
	forged := map[string]string{wire.HeaderSession: "another", wire.HeaderSecretHash: strings.Repeat("a", 64)}
	for _, token := range []string{"", "m" + strings.Repeat("A", 32), secret} {
		forged[wire.HeaderMachine] = token
		for range 3 {
			if status := r.dialAs(name, secret, machine.ID, forged); status != http.StatusConflict {
				r.t.Errorf("token %q: %d", token, status)
			}
		}
	}
}

// TestAnAgentWithoutItsToken: an agent that is started again where the token of its
// machine was never kept costs one alarm, and the grace time; then the build is tried
// again on another machine.
func TestAnAgentWithoutItsToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := make(chan ec2sim.Machine, 1)
	s.boot, s.deaf = func(m ec2sim.Machine) { machines <- m }, 1
	gate := filepath.Join(s.dir, "gate")
	m := s.startWith(`
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], '''`+gated(gate)+`''')])
`, func(o *master.Options) { o.TimeScale = 1.0 / 60 })
	request := m.force("b", 1)[0]
	machine := <-machines
	// The first agent is cut off for good, as one that is killed.
	line := newCable(t, m.WorkerAddr())
	killed := machine
	killed.UserData = []byte(strings.ReplaceAll(string(machine.UserData), setting(machine, "DORMOUSE_MASTER"), line.Addr().String()))
	ctx, stop := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- s.agentOn(killed).Run(ctx) }()
	m.awaitLine("b", "3")
	if err := os.Remove(filepath.Join(s.dir, "agents", machine.ID, ".machine")); err != nil {
		t.Fatal(err)
	}
	line.Close()
	line.cut()
	defer func() { stop(); <-first }()
	err := s.agentOn(machine).Run(t.Context())
	if dormouse.CodeOf(err) != dormouse.Conflict || !strings.Contains(err.Error(), "has been used before") {
		t.Errorf("the second agent ends with %v", err)
	}
	open(t, gate)
	if r := m.ended(request.ID); *r.Result != dormouse.Success || s.boots.Load() != 2 {
		t.Errorf("%v on %d machines", *r.Result, s.boots.Load())
	}
	if !strings.Contains(m.metrics(), "dormouse_secrets_reused_total 1\n") {
		t.Error("the alarm was not given once")
	}
}
