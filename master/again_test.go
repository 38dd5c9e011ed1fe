package master_test

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
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
			m := s.start(`
c['workers'] = [ec2('bot', user_data=` + tt.data + `, build_wait_timeout=0)]
forced([builder('b', ['bot'], '''` + gated(gate) + `''')])
`)
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

// TestKnocksOfOthers: what the machines of a launch share ends the generation of none
// of them, whatever a build on one says of another; it is refused, and said once.
func TestKnocksOfOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	machines := make(chan ec2sim.Machine, 2)
	s.seen = func(m ec2sim.Machine) { machines <- m }
	m := s.start(`
c['workers'] = [ec2('bot', user_data=ANONYMOUS, instances=2)]
forced([builder('b', ['bot'], 'true')])
`)
	requests := m.force("b", 2)
	for _, r := range requests {
		m.ended(r.ID)
	}
	one, other := <-machines, <-machines
	secret := setting(one, "DORMOUSE_WORKER_PASSWORD")
	connected := func() bool { return m.worker("bot-1").Connected && m.worker("bot-2").Connected }
	m.until("both attach", connected)
	forged := map[string]string{wire.HeaderSession: "another", wire.HeaderSecretHash: strings.Repeat("a", 64)}
	for _, token := range []string{"", "m" + strings.Repeat("A", 32), secret} {
		forged[wire.HeaderMachine] = token
		for range 3 {
			if status := m.dialAs(other.ID, secret, other.ID, forged); status != http.StatusConflict {
				t.Errorf("token %q: %d", token, status)
			}
		}
	}
	if !connected() {
		t.Error("a worker has lost its generation")
	}
	if !strings.Contains(m.metrics(), "dormouse_secrets_reused_total 1\n") {
		t.Errorf("the alarm was not given once:\n%s", m.metrics())
	}
}
