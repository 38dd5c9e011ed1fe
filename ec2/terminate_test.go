package ec2

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/dormouse-ci/dormouse"
)

// TestTerminate: whatever bad ids a batch holds and however EC2 words its
// refusal, every good one is ended, and each bad one is told why.
func TestTerminate(t *testing.T) {
	noEnvironment(t)
	refusals := []struct {
		code string
		text func(bad []string) string
		want dormouse.Code
	}{
		{"InvalidInstanceID.NotFound", func(bad []string) string {
			return "The instance IDs '" + strings.Join(bad, ", ") + "' do not exist"
		}, dormouse.NotFound},
		{"InvalidInstanceID.NotFound", func(bad []string) string { return "The instance ID '" + bad[0] + "' does not exist" }, dormouse.NotFound},
		{"InvalidInstanceID.Malformed", func(bad []string) string { return `Invalid id: "` + bad[0] + `"` }, dormouse.NotFound},
		{"InvalidInstanceID.Malformed", func([]string) string { return "Invalid id" }, dormouse.NotFound},
		{"OperationNotPermitted", func(bad []string) string { return "The instance '" + bad[0] + "' may not be terminated." }, dormouse.Configuration},
		{"UnauthorizedOperation", func([]string) string { return "You are not authorized." }, dormouse.Configuration},
	}
	rapid.Check(t, func(rt *rapid.T) {
		refusal := rapid.SampledFrom(refusals).Draw(rt, "refusal")
		n := rapid.IntRange(0, 40).Draw(rt, "instances")
		bad, ended := map[string]bool{}, map[string]bool{}
		var ids []string
		for i := range n {
			// Some ids are beginnings of others: names may not be matched in part.
			id := fmt.Sprintf("i-%x", i*5)
			ids = append(ids, id)
			bad[id] = rapid.Bool().Draw(rt, id)
		}
		e := &endpoint{answer: func(form url.Values) (string, error) {
			batch := listed(form, "InstanceId")
			var wrong []string
			for _, id := range batch {
				if bad[id] {
					wrong = append(wrong, id)
				}
			}
			if len(wrong) > 0 {
				return refuse(refusal.code, refusal.text(wrong))
			}
			for _, id := range batch {
				ended[id] = true
			}
			return "", nil
		}}
		failed, err := openAccount(t, e, WithRateScale(0)).Terminate(t.Context(), append(ids, ids...))
		if err != nil {
			rt.Fatalf("error: %v", err)
		}
		for _, id := range ids {
			if ended[id] == bad[id] {
				rt.Fatalf("%s: ended %v, bad %v", id, ended[id], bad[id])
			}
			if got := dormouse.CodeOf(failed[id]); bad[id] && got != refusal.want || !bad[id] && got != "" {
				rt.Fatalf("%s: %q, bad %v", id, got, bad[id])
			}
		}
	})
}

func TestTerminateInBatches(t *testing.T) {
	noEnvironment(t)
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		e := &endpoint{answer: func(form url.Values) (string, error) {
			batch := listed(form, "InstanceId")
			sizes = append(sizes, len(batch))
			if slices.Contains(batch, "i-02400") {
				return "", apiError{503, "RequestLimitExceeded", "slow down"}
			}
			return "", nil
		}}
		var ids []string
		for i := range 2500 {
			ids = append(ids, fmt.Sprintf("i-%05d", i))
		}
		failed, err := openAccount(t, e).Terminate(t.Context(), ids)
		wantCode(t, err, dormouse.Throttled)
		left := slices.Sorted(maps.Keys(failed))
		if len(left) != 500 || left[0] != "i-02000" {
			t.Errorf("%d ids are left, the first %v", len(left), left[:min(1, len(left))])
		}
		slices.Sort(sizes)
		if sizes[0] < 500 || sizes[len(sizes)-1] > MaxBatch {
			t.Errorf("batches of %v: a throttled one may not be split", sizes)
		}
	})
}
