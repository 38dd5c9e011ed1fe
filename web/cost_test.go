package web

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func TestCostQuery(t *testing.T) {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	now := time.Date(2026, 3, 15, 1, 30, 0, 0, time.FixedZone("CET", 3600))
	for _, c := range []struct {
		from, to         string
		wantFrom, wantTo time.Time
		refused          string
	}{
		{"", "", day(2026, 3, 1), now, ""},
		{"2026-02-01", "", day(2026, 2, 1), now, ""},
		{"", "2026-03-01", day(2026, 2, 1), day(2026, 3, 1), ""},
		{"2024-01-01", "2025-01-01", day(2024, 1, 1), day(2025, 1, 1), ""},
		{"2026-03-01T01:00:00+01:00", "2026-03-01T00:30:00Z", day(2026, 3, 1), day(2026, 3, 1).Add(30 * time.Minute), ""},
		{"2026-03-02", "2026-03-02", time.Time{}, time.Time{}, "before it begins"},
		{"2026-04-01", "", time.Time{}, time.Time{}, "before it begins"},
		{"2025-01-01", "2026-01-03", time.Time{}, time.Time{}, "a year at most"},
		{"yesterday", "", time.Time{}, time.Time{}, `from is "yesterday"`},
		{"", "2026-02-30", time.Time{}, time.Time{}, `to is "2026-02-30"`},
		{"1969-12-31", "1970-01-02", time.Time{}, time.Time{}, "from is"},
	} {
		q, err := costQuery(dormouse.CostByDay, c.from, c.to, now)
		if c.refused != "" {
			if dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("from %q to %q: the error is %v, want %q", c.from, c.to, err, c.refused)
			}
			continue
		}
		if diff := cmp.Diff(CostQuery{By: dormouse.CostByDay, From: c.wantFrom, To: c.wantTo}, q); err != nil || diff != "" {
			t.Errorf("from %q to %q: %v (-want +got):\n%s", c.from, c.to, err, diff)
		}
	}
}
