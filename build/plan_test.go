package build_test

import (
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/expr"
)

// TestPlan changes one thing at a time: each makes another plan, but for what
// the steps do not depend on.
func TestPlan(t *testing.T) {
	interpolate := func(format string, kw map[string]any) *expr.Interpolate {
		in, err := expr.ParseInterpolate(format, nil, kw)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	shell := func(command any) dormouse.Builder {
		return dormouse.Builder{Name: "x", Steps: []dormouse.StepSpec{{Name: "a", Action: dormouse.ShellCommand{Command: command}}}}
	}
	base := shell("make")
	same := shell("make")
	same.Description, same.Tags, same.WorkerNames, same.Steps[0].Pos = "text", []string{"t"}, []string{"w"}, "master.star:7:1"
	if build.Plan(base) != build.Plan(same) {
		t.Error("what the steps do not depend on makes another plan")
	}
	other := shell("make")
	other.Env = map[string]any{"A": "b"}
	always := shell("make")
	always.Steps[0].AlwaysRun = true
	two := shell("make")
	two.Steps = append(two.Steps, two.Steps[0])
	plans := map[string]int{}
	for i, b := range []dormouse.Builder{
		base, other, always, two,
		{Name: "x"},
		{Name: "y", Steps: base.Steps},
		shell("make check"), shell([]any{"make"}), shell([]any{"make", "check"}), shell([]any{[]any{"make"}, "check"}), shell(nil),
		shell(interpolate("%(prop:a)s", nil)), shell(interpolate("%(prop:b)s", nil)),
		shell(interpolate("%(kw:a)s", map[string]any{"a": "1"})), shell(interpolate("%(kw:a)s", map[string]any{"a": "2"})),
		shell(expr.PropertyRef{Name: "a"}), shell(expr.SecretRef{Name: "a"}),
	} {
		p := build.Plan(b)
		if before, ok := plans[p]; ok {
			t.Errorf("builders %d and %d have the same plan", before, i)
		}
		plans[p] = i
	}
}
