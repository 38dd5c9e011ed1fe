package master_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/worker"
)

// quick scales the pauses between tries, so that ten seconds are fifty milliseconds.
func quick(o *master.Options) { o.TimeScale = 0.005 }

// killers is a site whose machines can be powered off from within.
func killers(t *testing.T) (s *site, powerOff func(instance string)) {
	s = newSite(t)
	machines := make(chan map[string]ec2sim.Machine, 1)
	machines <- map[string]ec2sim.Machine{}
	s.seen = func(m ec2sim.Machine) {
		all := <-machines
		all[m.ID] = m
		machines <- all
	}
	return s, func(instance string) {
		all := <-machines
		m := all[instance]
		machines <- all
		m.PowerOff()
	}
}

// runs waits for a running build of a request with a try, and returns it.
func (r *run) runs(request int64, try int) (b dormouse.Build) {
	r.t.Helper()
	r.until(fmt.Sprintf("try %d of request %d", try, request), func() bool {
		req := r.request(request)
		if req.State != dormouse.RequestClaimed {
			return false
		}
		var err error
		b, err = r.Build(r.t.Context(), req.BuildID)
		steps, _ := r.Steps(r.t.Context(), req.BuildID)
		return err == nil && b.Try == try && b.Result == nil && len(steps) > 0
	})
	return b
}

// TestABuildThatKillsItsMachine is tried four times, and then is EXCEPTION; its
// count outlives the master.
func TestABuildThatKillsItsMachine(t *testing.T) {
	s, powerOff := killers(t)
	config := `
c['workers'] = [ec2('bot', max_builds=1)]
forced([builder('b', ['bot'], 'sleep 600'), builder('b2', ['bot'], 'true')])
`
	m := s.startWith(config, quick)
	id := m.force("b", 1)[0].ID
	var machines []string
	for try := 1; try <= 4; try++ {
		b := m.runs(id, try)
		if b.MaxTries != 4 {
			t.Errorf("of %d tries", b.MaxTries)
		}
		machines = append(machines, b.InstanceID)
		powerOff(b.InstanceID)
		if try == 2 {
			m.until("the end of the second try", func() bool { return m.request(id).State == dormouse.RequestPending })
			if r := m.request(id); r.Lost != 2 || r.NotBefore.IsZero() {
				t.Errorf("after two tries: %+v", r)
			}
			m.stop()
			m = s.startWith(config, quick)
		}
	}
	r := m.ended(id)
	last, err := m.Build(t.Context(), r.BuildID)
	if err != nil || *r.Result != dormouse.Exception || *last.Result != dormouse.Exception || r.Lost != 4 || last.Try != 4 {
		t.Fatalf("%+v, %+v, %v", r, last, err)
	}
	for _, want := range append(machines, "lost connection", "in step shell", "4 tries", "maxRetries is 3", "Client.InstanceInitiatedShutdown") {
		if !strings.Contains(last.StateString, want) {
			t.Errorf("the state is %q, without %q", last.StateString, want)
		}
	}
	if w := m.worker("bot"); !strings.Contains(w.Reason, "build b/4 on it ended in EXCEPTION") || w.QuarantinedUntil.IsZero() {
		// The quarantine is short here: it may be over.
		t.Logf("the worker is not quarantined any more: %+v", w)
	}
	if after := m.ended(m.force("b2", 1)[0].ID); *after.Result != dormouse.Success || after.Lost != 0 {
		t.Errorf("another build: %+v", after)
	}
}

// TestLossesThatDoNotCount: a person's stop, the master's, and EC2's.
func TestLossesThatDoNotCount(t *testing.T) {
	t.Run("the worker is shut down", func(t *testing.T) {
		s, _ := killers(t)
		m := s.startWith("c['workers'] = [ec2('bot')]\nforced([builder('b', ['bot'], 'sleep 600', maxRetries=0)])", quick)
		id := m.force("b", 1)[0].ID
		first := m.runs(id, 1)
		if err := m.StopWorker(t.Context(), "bot", true); err != nil {
			t.Fatal(err)
		}
		m.until("the request waits again", func() bool { return m.request(id).State == dormouse.RequestPending })
		if err := m.PauseWorker(t.Context(), "bot", false); err != nil {
			t.Fatal(err)
		}
		if again := m.runs(id, 1); again.ID == first.ID {
			t.Error("it is the same build")
		}
	})
	t.Run("the master stops", func(t *testing.T) {
		s, _ := killers(t)
		config := "c['workers'] = [ec2('bot')]\nforced([builder('b', ['bot'], 'sleep 600', maxRetries=0)])"
		m := s.startWith(config, quick)
		id := m.force("b", 1)[0].ID
		m.runs(id, 1)
		m.stop()
		m = s.startWith(config, quick)
		m.runs(id, 1)
	})
	t.Run("EC2 takes it without a notice that anybody heard", func(t *testing.T) {
		s, powerOff := killers(t)
		// The endpoint says what EC2 says of a machine that it has taken back.
		call := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
			answer := httptest.NewRecorder()
			call.ServeHTTP(answer, r)
			maps.Copy(w.Header(), answer.Header())
			w.Header().Del("Content-Length")
			w.WriteHeader(answer.Code)
			_, _ = w.Write([]byte(strings.ReplaceAll(answer.Body.String(), "Client.InstanceInitiatedShutdown", "Server.SpotInstanceTermination")))
		}
		s.around.Store(&call)
		m := s.startWith("c['workers'] = [ec2('bot', spot_instance=True)]\nforced([builder('b', ['bot'], 'sleep 600', maxRetries=0)])", quick)
		id := m.force("b", 1)[0].ID
		b := m.runs(id, 1)
		powerOff(b.InstanceID)
		m.until("the interruption", func() bool { return m.request(id).Interrupted == 1 })
		m.runs(id, 1)
	})
}

// attach runs an agent for a worker that is not latent, until the test ends or the
// master that it is attached to does.
func (s *site) attach(m *run, name, password string) {
	s.t.Helper()
	w, err := worker.New(worker.Config{
		Master: "ws://" + m.WorkerAddr(), Name: name, Password: password, BaseDir: s.t.TempDir(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Run(ctx) // it ends when it is told to
	}()
	s.t.Cleanup(func() {
		cancel()
		<-ended
	})
	m.until("the attachment of "+name, func() bool { return m.worker(name).Connected })
}

// TestPlainWorkerIsQuarantined: a build that ends in EXCEPTION keeps builds from
// its worker for a while, of whatever kind that is.
func TestPlainWorkerIsQuarantined(t *testing.T) {
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	config := fmt.Sprintf(`
c['workers'] = [worker.Worker('bot', 'pw')]
forced([builder('b', ['bot'], util.Property('x', default=None)), builder('b2', ['bot'], ['cat', %q])])
`, gate)
	writeFile(t, gate)
	m := s.start(config)
	s.attach(m, "bot", "pw")
	for name, end := range map[string]func() error{
		"retry":   func() error { return m.RetryWorker(t.Context(), "bot") },
		"unpause": func() error { return m.PauseWorker(t.Context(), "bot", false) },
		"hangup":  func() error { return m.Reconfigure(t.Context(), s.config(config)) },
	} {
		failed := m.ended(m.force("b", 1)[0].ID)
		if *failed.Result != dormouse.Exception {
			t.Fatalf("%+v", failed)
		}
		waits := m.force("b2", 1)[0].ID
		m.until("the request waits for the quarantine's end", func() bool {
			return strings.Contains(m.request(waits).Waiting, "it is quarantined until ")
		})
		if w := m.worker("bot"); w.QuarantinedUntil.IsZero() || !strings.Contains(w.Reason, "ended in EXCEPTION") {
			t.Errorf("%+v", w)
		}
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r := m.ended(waits); *r.Result != dormouse.Success {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if err := m.RetryWorker(t.Context(), "nobody"); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("a worker that is not configured: %v", err)
	}

	// By itself it ends in its time.
	m.stop()
	m = s.startWith(config, quick)
	s.attach(m, "bot", "pw")
	for range 3 {
		m.force("b", 1)
	}
	if r := m.ended(m.force("b2", 1)[0].ID); *r.Result != dormouse.Success {
		t.Errorf("after the quarantine: %+v", r)
	}
}
