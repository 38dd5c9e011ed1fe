package build

import (
	"errors"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// TestAStoreThatFails tells a fault that goes away from one that does not.
func TestAStoreThatFails(t *testing.T) {
	for _, tc := range []struct {
		err     error
		stopped bool
		want    dormouse.Result
	}{
		{dormouse.Errorf(dormouse.Unavailable, "the disk is full"), false, dormouse.Retry},
		{dormouse.Errorf(dormouse.Unanswered, "the connection broke"), false, dormouse.Retry},
		{dormouse.Errorf(dormouse.Unavailable, "the disk is full"), true, dormouse.Cancelled},
		{dormouse.Errorf(dormouse.Unanswered, "the connection broke"), true, dormouse.Cancelled}, // it was waited for until then
		{dormouse.Errorf(dormouse.Conflict, "no such step"), false, dormouse.Exception},
		{errors.New("a bug"), false, dormouse.Exception},
	} {
		b := &running{storeErr: tc.err, stopped: tc.stopped, mask: newMask()}
		got := b.outcome(t.Context())
		if got.Result != tc.want || (got.Cause == StoreFailed) != (tc.want == dormouse.Retry) {
			t.Errorf("%v, stopped %v: the build is %+v, want %v", tc.err, tc.stopped, got, tc.want)
		}
	}
}
