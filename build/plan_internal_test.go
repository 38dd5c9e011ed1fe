package build

import (
	"reflect"
	"strings"
	"testing"
)

// A release that adds a field to a step goes on with the builds of the one before,
// where the configuration does not set it.
func TestPlanOfALaterRelease(t *testing.T) {
	described := func(v any) string {
		var out strings.Builder
		describe(&out, reflect.ValueOf(v))
		return out.String()
	}
	before := func() any {
		type step struct{ Command any }
		return []any{step{"make"}}
	}
	after := func(retries int, env map[string]string) any {
		type step struct {
			Retries int
			Command any
			Env     map[string]string
			Cache   *int
			Tags    []string
			Nested  struct{ A, B string }
		}
		return []any{step{Command: "make", Retries: retries, Env: env}}
	}
	if was, is := described(before()), described(after(0, nil)); was != is {
		t.Errorf("%s is another plan than\n%s", is, was)
	}
	if described(before()) == described(after(1, nil)) || described(before()) == described(after(0, map[string]string{"A": ""})) {
		t.Error("what is set makes no other plan")
	}
}
