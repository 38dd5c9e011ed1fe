package build_test

import (
	"fmt"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

func BenchmarkFiveSteps(b *testing.B) {
	f := newFarm(b)
	steps := []dormouse.StepSpec{sh("1", "true"), sh("2", "true"), sh("3", "true"), sh("4", "true"), sh("5", "true")}
	for b.Loop() {
		if out := f.run(b, &memory{}, f.job(steps...), nil); out.Result != dormouse.Success {
			b.Fatal(out)
		}
	}
}

func BenchmarkLog(b *testing.B) {
	f := newFarm(b)
	const size = 20 << 20
	b.SetBytes(size)
	step := sh("a", fmt.Sprintf("yes 'a line of a log as compilers print them, with a path/to/a/file.go:12:3 in it' | head -c %d", size))
	for b.Loop() {
		if out := f.run(b, &memory{discard: true}, f.job(step), nil); out.Result != dormouse.Success {
			b.Fatal(out)
		}
	}
}
