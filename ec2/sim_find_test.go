package ec2_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// inMisbehavingSim is inSim with rules that the endpoint plays.
func inMisbehavingSim(t *testing.T, rules string, f func(t *testing.T, sim *ec2sim.Server, a *ec2.Account)) {
	t.Helper()
	scenario, err := ec2sim.ParseScenario([]byte(`{"rules": [` + rules + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	inSim(t, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		sim.SetScenario(scenario)
		f(t, sim, a)
	})
}

// lost is a transport whose first answers to launches never come.
type lost struct {
	*ec2sim.Server
	answers int
}

func (l *lost) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.Server.RoundTrip(r)
	if err == nil && l.answers > 0 {
		l.answers--
		answer.Body.Close()
		return nil, context.DeadlineExceeded
	}
	return answer, err
}

func renderSim(t *testing.T, a *ec2.Account, count int, change func(*ec2.LaunchSpec)) []byte {
	t.Helper()
	spec := ec2.LaunchSpec{Worker: "bot1", InstanceTypes: []string{"m5.large"}, AMI: ec2sim.ScriptImageID, Region: "us-east-1", Placement: "a"}
	if change != nil {
		change(&spec)
	}
	launch, err := a.Render(t.Context(), spec, spec.Offerings()[0], count, nil, map[string]string{ec2.TagLaunch: "l*1"})
	if err != nil {
		t.Fatal(err)
	}
	return launch
}

// TestATokenOfWhichOneHasEnded: EC2 says that a token is known, and not what it has
// started; that is found by the token, also when its tags are gone.
func TestATokenOfWhichOneHasEnded(t *testing.T) {
	inMisbehavingSim(t, `{"do": {"lose_tags": "0s"}}`, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		launch := renderSim(t, a, 3, nil)
		started, err := a.Launch(t.Context(), launch, "t1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Terminate(t.Context(), ids(started)[:1]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_, err = a.Launch(t.Context(), launch, "t1")
		if dormouse.CodeOf(err) != dormouse.Conflict || !strings.Contains(err.Error(), "IdempotentInstanceTerminated") {
			t.Errorf("%v", err)
		}
		found, err := a.Launched(t.Context(), "t1")
		if err != nil || len(found) != 3 {
			t.Fatalf("%v, %v", found, err)
		}
		if diff := cmp.Diff(ids(started), ids(found)); diff != "" {
			t.Errorf("found by the token (-started +found):\n%s", diff)
		}
		listed, err := a.List(t.Context())
		if err != nil || len(listed) != 2 {
			t.Errorf("by the deployment's tag: %v, %v", listed, err)
		}
		found, err = a.Find(t.Context(), []string{ids(started)[0], "i-0123456789abcdef0"})
		if err != nil || len(found) != 1 || found[0].State != dormouse.InstanceTerminated || found[0].StateReason == "" {
			t.Errorf("by its id: %+v, %v", found, err)
		}
		if found, err := a.Launched(t.Context(), "t*"); err != nil || len(found) > 0 {
			t.Errorf("a wildcard is a token: %v, %v", found, err)
		}
	})
}

// TestALostAnswerThenAnEndedToken: what EC2 says of a token is certain, although
// the answer that came before it was lost.
func TestALostAnswerThenAnEndedToken(t *testing.T) {
	inMisbehavingSim(t, `{"do": {"die": {"while": "pending", "after": "1ms"}}}`, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
		launch := renderSim(t, a, 1, nil)
		a = openSim(t, "http://ec2.test", &lost{sim, 1}, ec2sim.DefaultSecretAccessKey, "d1")
		if _, err := a.Launch(t.Context(), launch, "t1"); dormouse.CodeOf(err) != dormouse.Conflict {
			t.Errorf("%v", err)
		}
	})
}

// TestWithdraw: the spot requests that a refused launch has left open are
// cancelled, and what one has started is told.
func TestWithdraw(t *testing.T) {
	const rules = `{"do": {"leave_open": true}},
		{"do": {"spot_price": {"steps": [{"at": "0s", "price": 0.5}, {"at": "1m", "price": 0.01}]}}}`
	dear := func(spec *ec2.LaunchSpec) { spec.SpotInstance, spec.MaxSpotPrice = true, new(0.1) }
	for name, wait := range map[string]time.Duration{"open": 0, "fulfilled": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			inMisbehavingSim(t, rules, func(t *testing.T, sim *ec2sim.Server, a *ec2.Account) {
				if _, err := a.Launch(t.Context(), renderSim(t, a, 1, dear), "t1"); dormouse.CodeOf(err) != dormouse.Capacity {
					t.Fatal(err)
				}
				time.Sleep(wait)
				if started, err := a.Withdraw(t.Context(), "lx1"); err != nil || len(started) > 0 {
					t.Errorf("of another launch: %v, %v", started, err)
				}
				started, err := a.Withdraw(t.Context(), "l*1")
				if err != nil || len(started) > 0 != (wait > 0) {
					t.Errorf("%v, %v", started, err)
				}
				time.Sleep(10 * time.Minute)
				if n := sim.Ledger().Started; n != len(started) {
					t.Errorf("%d instances were started, and %v were told", n, started)
				}
				if things, err := a.Belongings(t.Context(), nil); err != nil || wait == 0 && len(things) > 0 {
					t.Errorf("left: %v, %v", things, err)
				}
			})
		})
	}
}
