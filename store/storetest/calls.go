package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// testText stores strings that PostgreSQL could not hold.
func testText(t *testing.T, f *fixture) {
	ctx := t.Context()
	r, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{
		Builder: "b", Reason: "bad \x00 and \xff", Properties: dormouse.Properties{"p": {Value: "nul \x00"}},
	}})
	check(t, err)
	got, err := f.Request(ctx, r[0].ID)
	check(t, err)
	same(t, "the reason", got.Reason, "bad \uFFFD and \uFFFD")
	same(t, "a property", got.Properties["p"].Value, any("nul \x00"))
	_, err = f.SearchLogByName(ctx, 1, "\x00")
	refused(t, "a name that cannot be", err, dormouse.NotFound)
}

// testContext calls with a context that has ended.
func testContext(t *testing.T, f *fixture) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: "b"}})
	refused(t, "a write", err, dormouse.Unavailable)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v does not say that it was cancelled", err)
	}
	_, err = f.PendingRequests(ctx)
	refused(t, "a read", err, dormouse.Unavailable)
	pending, err := f.PendingRequests(t.Context())
	check(t, err)
	same(t, "requests", ids(pending), []int64(nil))
}

// testClosed calls after the end.
func testClosed(t *testing.T, f *fixture) {
	check(t, f.Close())
	check(t, f.Close())
	if _, err := f.SubmitRequests(t.Context(), []dormouse.BuildRequest{{Builder: "b"}}); err == nil {
		t.Error("a write succeeded after Close")
	}
	if _, err := f.PendingRequests(t.Context()); err == nil {
		t.Error("a read succeeded after Close")
	}
}
