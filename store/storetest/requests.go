package storetest

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testRequests(t *testing.T, f *fixture) {
	ctx := t.Context()
	given := []dormouse.BuildRequest{
		{Builder: "linux", Priority: 0, SubmittedAt: at(3), Reason: "nightly"},
		{Builder: "linux", Priority: 5, SubmittedAt: at(9)},
		{Builder: "mac", Priority: -1, SubmittedAt: at(1)},
		{
			Builder: "linux", Priority: 0, SubmittedAt: at(2),
			Sources:    []dormouse.SourceStamp{{Repository: "r", Branch: "main", Revision: "abc"}},
			Properties: dormouse.Properties{"n": {Value: int64(7), Source: "Force"}, "list": {Value: []any{"a", nil, true}, Source: "x"}},
		},
		{Builder: "mac", Priority: 0, SubmittedAt: at(2)},
	}
	r, err := f.SubmitRequests(ctx, given)
	check(t, err)
	if given[0].ID != 0 {
		t.Error("the argument was changed")
	}
	for i := range r {
		want := given[i]
		want.ID, want.State = r[i].ID, dormouse.RequestPending
		same(t, "what SubmitRequests returns", r[i], want)
		got, err := f.Request(ctx, r[i].ID)
		check(t, err)
		same(t, "what Request returns", got, want)
	}

	pending, err := f.PendingRequests(ctx)
	check(t, err)
	same(t, "the queue", ids(pending), []int64{r[1].ID, r[3].ID, r[4].ID, r[0].ID, r[2].ID})

	check(t, f.collapse(ctx, []store.Collapse{{ID: r[0].ID, Into: r[3].ID}}, at(20)))
	for _, c := range []struct {
		name   string
		filter store.RequestFilter
		want   []int64
	}{
		{"all", store.RequestFilter{}, []int64{r[4].ID, r[3].ID, r[2].ID, r[1].ID, r[0].ID}},
		{"of a builder", store.RequestFilter{Builder: "mac"}, []int64{r[4].ID, r[2].ID}},
		{"in a state", store.RequestFilter{State: dormouse.RequestComplete}, []int64{r[0].ID}},
		{"both", store.RequestFilter{Builder: "linux", State: dormouse.RequestPending}, []int64{r[3].ID, r[1].ID}},
		{"a page", store.RequestFilter{Before: r[4].ID, Limit: 2}, []int64{r[3].ID, r[2].ID}},
		{"none", store.RequestFilter{Builder: "windows"}, nil},
	} {
		got, err := f.Requests(ctx, c.filter)
		check(t, err)
		same(t, c.name, ids(got), c.want)
	}
	_, err = f.Request(ctx, 12345)
	refused(t, "an unknown request", err, dormouse.NotFound)
}

func testSubmitAllOrNone(t *testing.T, f *fixture) {
	_, err := f.SubmitRequests(t.Context(), []dormouse.BuildRequest{
		{Builder: "a"},
		{Builder: "b", Properties: dormouse.Properties{"bad": {Value: make(chan int)}}},
	})
	refused(t, "a property that is not JSON", err, dormouse.Invalid)
	pending, err := f.PendingRequests(t.Context())
	check(t, err)
	same(t, "pending requests", ids(pending), []int64(nil))
}

func testCollapse(t *testing.T, f *fixture) {
	ctx := t.Context()
	a, b, c := f.submit(t, "x"), f.submit(t, "x"), f.submit(t, "x")
	running := f.start(t, "x")

	check(t, f.collapse(ctx, []store.Collapse{{ID: a.ID, Into: running.RequestID}}, at(5)))
	got, err := f.Request(ctx, a.ID)
	check(t, err)
	want := a
	want.State, want.Result, want.CollapsedInto, want.CompleteAt = dormouse.RequestComplete, new(dormouse.Skipped), running.RequestID, at(5)
	same(t, "a collapsed request", got, want)

	for name, collapses := range map[string][]store.Collapse{
		"into itself":           {{ID: b.ID, Into: b.ID}},
		"one that is complete":  {{ID: a.ID, Into: b.ID}},
		"into a complete one":   {{ID: b.ID, Into: a.ID}},
		"one that runs":         {{ID: running.RequestID, Into: b.ID}},
		"the second is refused": {{ID: b.ID, Into: c.ID}, {ID: a.ID, Into: c.ID}},
		"a circle":              {{ID: b.ID, Into: c.ID}, {ID: c.ID, Into: b.ID}},
	} {
		refused(t, name, f.collapse(ctx, collapses, at(6)), dormouse.Conflict)
	}
	refused(t, "into none", f.collapse(ctx, []store.Collapse{{ID: b.ID, Into: 999}}, at(6)), dormouse.NotFound)
	refused(t, "none", f.collapse(ctx, []store.Collapse{{ID: 999, Into: b.ID}}, at(6)), dormouse.NotFound)

	pending, err := f.PendingRequests(ctx)
	check(t, err)
	same(t, "what is left", ids(pending), []int64{b.ID, c.ID})
}

func testCancel(t *testing.T, f *fixture) {
	ctx := t.Context()
	r := f.submit(t, "x")
	got, err := f.CancelRequest(ctx, r.ID, at(5))
	check(t, err)
	r.State, r.Result, r.CompleteAt = dormouse.RequestComplete, new(dormouse.Cancelled), at(5)
	same(t, "a cancelled request", got, r)
	_, err = f.CancelRequest(ctx, r.ID, at(6))
	refused(t, "cancelling twice", err, dormouse.Conflict)
	_, err = f.CancelRequest(ctx, f.start(t, "x").RequestID, at(6))
	refused(t, "cancelling a claimed request", err, dormouse.Conflict)
	_, err = f.CancelRequest(ctx, 999, at(6))
	refused(t, "cancelling none", err, dormouse.NotFound)
}
