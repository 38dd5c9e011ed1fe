package master_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
)

// TestUnansweredCancellation: what the store has cancelled, and could not say so,
// waits no longer, and starts nothing.
func TestUnansweredCancellation(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	m := s.startWith("c['workers'] = [ec2('bot', build_wait_timeout=0)]\n"+oneBuilder, func(o *master.Options) {
		o.AroundWrites(func(what string, carryOut func() error) error {
			err := carryOut()
			if err == nil && strings.HasPrefix(what, "cancel") {
				return dormouse.Errorf(dormouse.Unanswered, "%s: the connection broke during the commit", what)
			}
			return err
		})
	})
	if err := m.PauseWorker(t.Context(), "bot", true); err != nil {
		t.Fatal(err)
	}
	r := m.force("b", 1)[0]
	if err := m.CancelRequest(t.Context(), r.ID); err != nil {
		t.Errorf("cancelled: %v", err)
	}
	if got := m.request(r.ID); got.Result == nil || *got.Result != dormouse.Cancelled {
		t.Errorf("%+v", got)
	}
	if pending := m.Builders()[0].Pending; pending != 0 {
		t.Errorf("%d requests wait", pending)
	}
}

// TestUnansweredWrites: a write that the store has carried out, and whose answer
// is lost, as when a connection breaks during a commit, loses neither a request
// nor an instance, whatever it was for; nor does one that it did not carry out.
func TestUnansweredWrites(t *testing.T) {
	t.Parallel()
	for _, carriedOut := range []bool{true, false} {
		for _, write := range []string{
			"submitting build requests", "saving worker", "opening launch", "settling a launch", "saving instance", "binding generation",
			"starting a build", "setting properties", "starting a step", "creating log", "appending to", "completing log", "finishing step", "finishing build",
		} {
			name := write + " is not carried out"
			if carriedOut {
				name = "the answer to " + write + " is lost"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t)
				var mu sync.Mutex
				hits := 0
				m := s.startWith("c['workers'] = [ec2('bot', build_wait_timeout=0)]\n"+oneBuilder, func(o *master.Options) {
					o.AroundWrites(func(what string, carryOut func() error) error {
						mu.Lock()
						hit := strings.HasPrefix(what, write) && hits == 0
						if hit {
							hits++
						}
						mu.Unlock()
						if !hit {
							return carryOut()
						}
						if !carriedOut {
							return dormouse.Errorf(dormouse.Unavailable, "%s: the database restarts", what)
						}
						if err := carryOut(); err != nil {
							return err
						}
						return dormouse.Errorf(dormouse.Unanswered, "%s: the connection broke during the commit", what)
					})
				})
				_, err := m.Force(t.Context(), web.ForceRequest{Builder: "b"})
				if err != nil && !carriedOut { // nothing was accepted: asked again
					m.force("b", 1)
				}
				m.look("a request", func() bool {
					all, err := m.Requests(t.Context(), web.RequestQuery{Limit: 10})
					return err == nil && len(all) == 1
				})
				if r := m.ended(1); *r.Result != dormouse.Success {
					t.Errorf("%+v", r)
				}
				m.until("the end of the instance", func() bool { return m.worker("bot").Phase == "not substantiated" })
				m.allGone(s)
				builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
				if err != nil || slices.ContainsFunc(builds, func(b dormouse.Build) bool { return b.Result == nil }) || len(builds) > 2 {
					t.Errorf("%+v, %v", builds, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if hits != 1 {
					t.Errorf("there was no write %q", write)
				}
			})
		}
	}
}

// TestMachineWaitsForTheStore: while the store does not take the start of a build, its
// machine is not idle: it is the one that builds when the store is back.
func TestMachineWaitsForTheStore(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]dormouse.Code{"refused": dormouse.Unavailable, "the answer is lost": dormouse.Unanswered} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			var mu sync.Mutex
			failed := 0
			m := s.startWith("c['workers'] = [ec2('bot', build_wait_timeout=0)]\n"+oneBuilder, func(o *master.Options) {
				o.AroundWrites(func(what string, carryOut func() error) error {
					mu.Lock()
					fail := strings.HasPrefix(what, "starting a build") && failed < 3
					if fail {
						failed++
					}
					mu.Unlock()
					if !fail {
						return carryOut()
					}
					if code == dormouse.Unanswered {
						if err := carryOut(); err != nil {
							return err
						}
					}
					return dormouse.Errorf(code, "%s: the database is half away", what)
				})
			})
			r := m.force("b", 1)[0]
			m.until("the reason to wait", func() bool {
				return strings.HasPrefix(m.request(r.ID).Waiting, "its build on worker bot could not be started; trying again: ")
			})
			if r = m.ended(r.ID); *r.Result != dormouse.Success {
				t.Errorf("%+v", r)
			}
			m.until("the end of the instance", func() bool { return m.worker("bot").Phase == "not substantiated" })
			if generation, started := m.worker("bot").Generation, s.endpoint.Ledger().Started; generation != 1 || started != 1 {
				t.Errorf("%d generations, %d instances", generation, started)
			}
		})
	}
}
