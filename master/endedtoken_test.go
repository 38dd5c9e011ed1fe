package master_test

import (
	"context"
	"fmt"
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
	}{
		"refused to the SDK":                     {"", 1},
		"refused to the fleet":                   {"", 3},
		"refused, and its tags are gone":         {`{"do": {"lose_tags": "0s"}}`, 3},
		"answered to the SDK":                    {`{"do": {"repeat_ended": true}}`, 1},
		"answered to the fleet, and without tag": {`{"do": {"repeat_ended": true}}, {"do": {"lose_tags": "0s"}}`, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.scenario(`{"rules": [` + tc.rules + `]}`)
			var calls atomic.Int32
			around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
				n := int32(0)
				if form := formOf(r); form.Get("Action") == "RunInstances" && form.Get("DryRun") != "true" {
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
