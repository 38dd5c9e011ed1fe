package master_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

func (r *run) reconfigure(s *site, text string) {
	r.t.Helper()
	if err := r.Reconfigure(r.t.Context(), s.config(text)); err != nil {
		r.t.Fatal(err)
	}
}

// imageOf returns the image that an instance was started from.
func (s *site) imageOf(instance string) string {
	s.t.Helper()
	for _, i := range s.endpoint.Ledger().Instances {
		if i.ID == instance {
			return i.ImageID
		}
	}
	s.t.Fatalf("no instance %s", instance)
	return ""
}

// A changed image is taken up with the next instance; the one that lives is used
// on.
func TestBuildbotDefect10ReconfigurationKeepsTheImage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.start("c['workers'] = [ec2('bot', build_wait_timeout=3600)]\n" + oneBuilder)
	_, builds := m.built("b")
	first := builds[0].InstanceID
	m.reconfigure(s, "c['workers'] = [ec2('bot', ami='"+ec2sim.ScriptImageID+"', build_wait_timeout=3600)]\n"+oneBuilder)
	if _, builds = m.built("b"); builds[0].InstanceID != first {
		t.Errorf("built on %s, and %s idles", builds[0].InstanceID, first)
	}
	if err := m.StopWorker(t.Context(), "bot", true); err != nil {
		t.Fatal(err)
	}
	m.until("the end of the instance", func() bool { return m.worker("bot").Phase == "shut down" })
	if err := m.PauseWorker(t.Context(), "bot", false); err != nil {
		t.Fatal(err)
	}
	_, builds = m.built("b")
	if got := s.imageOf(builds[0].InstanceID); got != ec2sim.ScriptImageID || s.imageOf(first) != ec2sim.WorkerImageID {
		t.Errorf("the next instance was started from %s", got)
	}
}

// While EC2 answers nothing, and thirty starts wait for it, another configuration
// is in force at once.
func TestBuildbotDefect11ReconfigurationWaitsForTheCloud(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	answers, asked := make(chan struct{}), make(chan struct{}, 1000)
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		asked <- struct{}{}
		select {
		case <-answers:
			call.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
	text := "c['workers'] = [ec2('bot', instances=30, user_data=ANONYMOUS), worker.Worker('plain', 'plain password')]\nforced([builder('b', ['bot'], 'true')])\n"
	m := s.start(text)
	s.around.Store(&around)
	made := m.force("b", 30)
	<-asked
	m.reconfigure(s, strings.Replace(text, "'true')]", "'true'), builder('b2', ['bot'], 'true')]", 1))
	if builders := m.Builders(); len(builders) != 2 {
		t.Errorf("%+v", builders)
	}
	close(answers)
	for _, r := range append(made, m.force("b2", 1)...) {
		if r := m.ended(r.ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
	}
}

// TestReconfigure: a builder is added to a worker that is attached; a worker that
// leaves the configuration ends its build first, and then its instance, and can
// come back; one whose region changes moves with its next instance, and leaves
// nothing in the old one.
func TestReconfigure(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	workers := func(names ...string) string { return "c['workers'] = [" + strings.Join(names, ", ") + "]\n" }
	bot, other := "ec2('bot', build_wait_timeout=3600)", "ec2('other', build_wait_timeout=3600)"
	m := s.start(workers(bot, other) + fmt.Sprintf("forced([builder('b', ['bot'], %q), builder('b3', ['other'], 'true')])\n", gated(gate)))
	running := m.force("b", 1)[0]
	m.awaitLine("b", "3")

	// Added to the worker that builds.
	m.reconfigure(s, workers(bot, other)+fmt.Sprintf("forced([builder('b', ['bot'], %q), builder('b2', ['bot'], 'true'), builder('b3', ['other'], 'true')])\n", gated(gate)))
	if r := m.ended(m.force("b2", 1)[0].ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}

	// Removed while it builds.
	without := workers(other) + "forced([builder('b3', ['other'], 'true')])\n"
	m.reconfigure(s, without)
	if m.worker("bot").Builds != 1 {
		t.Errorf("%+v", m.worker("bot"))
	}
	with := workers(bot, other) + "forced([builder('b', ['bot'], 'true'), builder('b3', ['other'], 'true')])\n"
	if err := m.Reconfigure(t.Context(), s.config(with)); dormouse.CodeOf(err) != dormouse.Busy {
		t.Errorf("a worker that has not ended is taken back: %v", err)
	}
	open(t, gate)
	if r := m.ended(running.ID); *r.Result != dormouse.Success || m.numbers(r.BuildID) != "1 2 3 4 5 6" {
		t.Errorf("%+v", r)
	}
	listed := func(name string) bool {
		list, err := m.Workers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range list {
			if w.Name == name {
				return true
			}
		}
		return false
	}
	m.look("the end of the worker that left", func() bool { return !listed("bot") })
	m.allGone(s)
	if _, err := m.Force(t.Context(), web.ForceRequest{Builder: "b"}); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("a builder that left is forced: %v", err)
	}

	// Back again.
	m.reconfigure(s, with)
	if r := m.ended(m.force("b", 1)[0].ID); *r.Result != dormouse.Success {
		t.Errorf("%+v", r)
	}

	// Elsewhere, by other credentials: what is seen of it is another account's key.
	started := s.endpoint.Ledger().Started
	m.reconfigure(s, strings.Replace(with, bot, "ec2('bot', build_wait_timeout=0, session=session(url="+fmt.Sprintf("%q", strings.Replace(s.url, "127.0.0.1", "localhost", 1))+"))", 1))
	for range 2 { // on the instance that lives, and on the next
		if r := m.ended(m.force("b", 1)[0].ID); *r.Result != dormouse.Success {
			t.Errorf("%+v", r)
		}
		m.until("the end of the generation", func() bool { return m.worker("bot").Phase == "not substantiated" })
	}
	if n := s.endpoint.Ledger().Started - started; n != 1 {
		t.Errorf("%d instances were started after the move", n)
	}
	m.allGone(s)
}

// TestReconfigureRefused: what cannot be changed changes nothing.
func TestReconfigureRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := "c['workers'] = [ec2('bot'), worker.Worker('plain', 'plain password')]\n" + oneBuilder
	m := s.start(text)
	for what, tc := range map[string]struct{ text, want string }{
		"the database":    {text + "c['db'] = {'db_url': 'sqlite:///other.sqlite'}\n", "c['db'] can only be changed by a restart"},
		"the REST API":    {text + "c['www'] = {}\n", "c['www'] can only"},
		"the rates":       {text + "c['ec2_rates'] = {'RunInstances': {'burst': 9}}\n", "c['ec2_rates'] can only"},
		"another kind":    {"c['workers'] = [ec2('bot'), ec2('plain')]\n" + oneBuilder, "worker plain becomes one of another kind"},
		"the first agent": {strings.Replace(text, "ec2('bot')", "ec2('bot', user_data=None, bootstrap='cloud-init')", 1), "takes a restart"},
	} {
		err := m.Reconfigure(t.Context(), s.config(tc.text))
		if dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	m.built("b")
}
