package master_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// The budget is enough for one instance: the other request waits and says why,
// until the first one's worker is free.
func TestABudgetHoldsBackLaunches(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := filepath.Join(s.dir, "gate")
	r := s.start(`
c['budget'] = {'per_hour': 0.5, 'per_day': 100}
c['workers'] = [ec2('bot', instances=2, price_per_hour=0.4)]
forced([builder('b', ['bot'], '` + behind(gate) + `')])
`)
	made := r.force("b", 2)
	var held dormouse.BuildRequest
	r.until("a build, and a request that waits for the budget", func() bool {
		builds, err := r.Builds(t.Context(), web.BuildQuery{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range made {
			if held = r.request(q.ID); strings.Contains(held.Waiting, "the budget of $0.5000 per hour") {
				return len(builds) == 1
			}
		}
		return false
	})
	if !strings.Contains(held.Waiting, "1 instance alive, for $0.4000 per hour") {
		t.Errorf("it waits because %s", held.Waiting)
	}
	open(t, gate)
	for _, q := range made {
		if got := r.ended(q.ID); *got.Result != dormouse.Success {
			t.Errorf("the request ended with %v", got.Result)
		}
	}
	if started := s.endpoint.Ledger().Started; started != 1 {
		t.Errorf("%d instances were started", started)
	}
	builds, err := r.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range builds {
		if b.Cost == nil || *b.Cost <= 0 {
			t.Errorf("build %d cost %v", b.Number, b.Cost)
		}
	}
}
