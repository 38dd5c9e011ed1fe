package master_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/master"
)

// TestALostLaunchOfThreeOfWhichOneHasEnded: the answer to a launch of three is
// lost, and one of them ends before EC2 is asked again. The other two build, and
// the third worker gets another one, at once and without a quarantine; whether EC2
// refuses the token or answers it, and whoever asks again.
func TestALostLaunchOfThreeOfWhichOneHasEnded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rules string
		lost  int32 // answers: the SDK asks three times, and then the fleet
		blind int32 // looks by the token that show nothing yet
	}{
		"refused to the SDK":                     {"", 1, 0},
		"refused to the fleet":                   {"", 3, 0},
		"refused, and not shown at once":         {"", 3, 1},
		"refused, and its tags are gone":         {`{"do": {"lose_tags": "0s"}}`, 3, 0},
		"answered to the SDK":                    {`{"do": {"repeat_ended": true}}`, 1, 0},
		"answered to the fleet, and without tag": {`{"do": {"repeat_ended": true}}, {"do": {"lose_tags": "0s"}}`, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.scenario(`{"rules": [` + tc.rules + `]}`)
			var calls, looks atomic.Int32
			around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
				n, form := int32(0), formOf(r)
				if form.Get("Action") == "DescribeInstances" && form.Get("Filter.1.Name") == "client-token" && looks.Add(1) <= tc.blind {
					_, _ = io.WriteString(w, `<DescribeInstancesResponse><requestId>r</requestId><reservationSet/></DescribeInstancesResponse>`)
					return
				}
				if form.Get("Action") == "RunInstances" && form.Get("DryRun") != "true" {
					n = calls.Add(1)
				}
				if n == 0 || n > tc.lost {
					call.ServeHTTP(w, r)
					return
				}
				answer := httptest.NewRecorder()
				call.ServeHTTP(answer, r)
				if n == 1 {
					s.endOne()
				}
				w.WriteHeader(http.StatusBadGateway)
			}
			s.around.Store(&around)
			// Each build waits for the two others.
			together := fmt.Sprintf("cd %s && touch $$ && until [ $(ls | wc -l) = 3 ]; do sleep 0.05; done", t.TempDir())
			m := s.startWith("c['workers'] = [ec2('bot', instances=3, user_data=ANONYMOUS, build_wait_timeout=0)]\n"+
				"forced([builder('b', ['bot'], '"+together+"')])\n", func(o *master.Options) { o.TimeScale = 0.05 })
			for _, r := range m.force("b", 3) {
				if got := m.ended(r.ID); *got.Result != dormouse.Success {
					t.Errorf("%+v", got)
				}
			}
			m.allGone(s)
			served := 0
			var rows []dormouse.Instance
			m.look("the end of all rows", func() (over bool) {
				rows, _ = m.Instances(t.Context(), true)
				return !slices.ContainsFunc(rows, func(i dormouse.Instance) bool { return i.EndedAt.IsZero() })
			})
			for _, row := range rows {
				if !row.AttachedAt.IsZero() && row.Generation == 1 {
					served++
				}
			}
			if started := s.endpoint.Ledger().Started; started != 4 || served != 3 || len(rows) != 4 {
				t.Errorf("%d instances were started, %d of them have served a first generation, and the ledger has %d", started, served, len(rows))
			}
		})
	}
}

// endOne ends an instance, and returns once it has ended.
func (s *site) endOne() {
	id := s.endpoint.Ledger().Instances[0].ID
	if _, err := s.client().TerminateInstances(context.Background(), &awsec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
		s.t.Error(err)
		return
	}
	for !s.endpoint.Ledger().Instances[0].State.Ended() {
		time.Sleep(10 * time.Millisecond)
	}
}

// TestASpotRequestIsFulfilledWhileItIsLookedFor: a launch of two on the spot is
// refused, one of its requests starts an instance all the same before anything is
// known of it, and the token is refused again. The instance is one worker's, in the
// store too, and both builds end.
func TestASpotRequestIsFulfilledWhileItIsLookedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.scenario(`{"rules": [{"do": {"capacity": 0}}, {"do": {"leave_open": true}}]}`)
	var first atomic.Pointer[string] // the token of the launch
	var again atomic.Bool            // it was sent again
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		form := formOf(r)
		token := form.Get("ClientToken")
		switch action := form.Get("Action"); {
		case action == "RunInstances" && form.Get("DryRun") != "true":
			if first.CompareAndSwap(nil, &token) {
				call.ServeHTTP(w, r)
				s.scenario(`{"rules": []}`)
				return
			}
			if token == *first.Load() {
				again.Store(true)
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `<Response><Errors><Error><Code>InsufficientInstanceCapacity</Code><Message>none</Message></Error></Errors><RequestID>r</RequestID></Response>`)
				return
			}
		case action == "DescribeSpotInstanceRequests" && !(again.Load() && len(s.endpoint.Ledger().Instances) > 0):
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		call.ServeHTTP(w, r)
	}
	s.around.Store(&around)
	m := s.startWith("c['workers'] = [ec2('bot', instances=2, user_data=ANONYMOUS, build_wait_timeout=0, spot_instance=True, max_spot_price=1.0, price_multiplier=None)]\n"+
		"forced([builder('b', ['bot'], 'true')])\n", func(o *master.Options) { o.TimeScale = 0.05 })
	for _, r := range m.force("b", 2) {
		if got := m.ended(r.ID); *got.Result != dormouse.Success {
			t.Errorf("%+v", got)
		}
	}
	m.allGone(s)
	rows, err := m.Instances(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	adopted := slices.ContainsFunc(rows, func(i dormouse.Instance) bool {
		return i.ID == s.endpoint.Ledger().Instances[0].ID && i.Generation == 1 && i.AttemptID != 0
	})
	if started := s.endpoint.Ledger().Started; len(rows) != started || !adopted {
		t.Errorf("%d instances were started, and the ledger has %+v", started, rows)
	}
}
