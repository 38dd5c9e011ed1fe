package main

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
)

func TestBuildState(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		b    dormouse.Build
		want string
	}{
		{dormouse.Build{Try: 1, MaxTries: 4}, ""},
		{dormouse.Build{Try: 1, MaxTries: 4, Result: new(dormouse.Success), StateString: "build successful"}, "build successful"},
		{dormouse.Build{Try: 1, MaxTries: 4, Result: new(dormouse.Retry), StateString: "retry lost connection"}, "retry lost connection (try 1 of 4)"},
		{dormouse.Build{Try: 2, MaxTries: 4}, "(try 2 of 4)"},
		{dormouse.Build{Try: 4, MaxTries: 4, Result: new(dormouse.Exception), StateString: "exception lost connection"}, "exception lost connection (try 4 of 4)"},
		{dormouse.Build{Try: 3, MaxTries: 1, StateString: "running"}, "running (try 3)"},
		{dormouse.Build{Try: 2, StateString: "of a builder that has gone"}, "of a builder that has gone (try 2)"},
		{dormouse.Build{Result: new(dormouse.Retry), StateString: "of an older master"}, "of an older master"},
	} {
		if got := buildState(tc.b); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.b, got, tc.want)
		}
	}
}
