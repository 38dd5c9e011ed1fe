package main

import (
	"math/rand/v2"
	"testing"
)

// The product still has the lines that are changed in it.
func TestPatchesFit(t *testing.T) {
	t.Parallel()
	for _, p := range []patch{clockPatch, writesPatch} {
		if files, err := p.replace(t.Context(), t.TempDir()); err != nil || len(files) != 2 {
			t.Errorf("%d files of %s are changed: %v", len(files), p.of, err)
		}
	}
}

func TestPointsOfALife(t *testing.T) {
	t.Parallel()
	done := []string{"opening launch", "RunInstances", "DescribeInstances", "appending to log", "DescribeInstances", "RunInstances", "DescribeInstances", "DescribeInstances"}
	for _, tc := range []struct {
		life string
		want []string
	}{
		// All of them; of what is looked at, the first three.
		{"a build", []string{
			"opening launch 1", "RunInstances 1", "DescribeInstances 1", "appending to log 1", "DescribeInstances 2", "RunInstances 2", "DescribeInstances 3",
		}},
		// Nothing that the first life has.
		{"no spot capacity", []string{
			"opening launch 1", "RunInstances 1", "DescribeInstances 1", "DescribeInstances 2", "RunInstances 2", "DescribeInstances 3",
		}},
		// What comes from then on, builds too, by their numbers in the whole life.
		{"a write that fails in mid-build", []string{"appending to log 1", "DescribeInstances 2", "RunInstances 2", "DescribeInstances 3"}},
		{"an instance that never attaches", nil},
	} {
		number := lifeNamed(t, tc.life)
		var got []string
		for _, p := range pointsOf(number, done) {
			if p.life != number {
				t.Errorf("%v is of life %d", p, p.life)
			}
			got = append(got, p.moment())
		}
		if len(got) != 2*len(tc.want) {
			t.Errorf("%s: %q", tc.life, got)
			continue
		}
		for i, want := range tc.want {
			if got[2*i] != "before "+want || got[2*i+1] != "after "+want {
				t.Errorf("%s: %q and %q, want before and after %s", tc.life, got[2*i], got[2*i+1], want)
			}
		}
	}
}

func lifeNamed(t *testing.T, name string) int {
	t.Helper()
	for i, l := range lives {
		if l.name == name {
			return i
		}
	}
	t.Fatalf("there is no life %q", name)
	return 0
}

// A spread has each kind once before and once after, and not always the same.
func TestSpread(t *testing.T) {
	t.Parallel()
	var all []point
	for life := range lives {
		for _, kind := range []string{"saving instance", "RunInstances", "opening launch"} {
			for n := 1; n <= 3; n++ {
				all = append(all, point{life, kind, n, false}, point{life, kind, n, true})
			}
		}
	}
	all = append(all, point{2, "abandoning build", 1, false})
	drawn := map[point]int{}
	const draws = 50
	for seed := range uint64(draws) {
		sides := map[string]int{}
		for _, p := range spread(all, rand.New(rand.NewPCG(seed, 0))) {
			drawn[p]++
			sides[point{kind: p.kind, after: p.after}.moment()]++
		}
		for side, n := range sides {
			if n != 1 {
				t.Errorf("seed %d: %d points %q", seed, n, side)
			}
		}
		if len(sides) != 7 {
			t.Errorf("seed %d: %v", seed, sides)
		}
	}
	if drawn[point{2, "abandoning build", 1, false}] != draws || len(drawn) < len(all)/2 {
		t.Errorf("%d of %d points were ever drawn", len(drawn), len(all))
	}
}

func TestPointsAreJudged(t *testing.T) {
	t.Parallel()
	var all []point
	for life := range lives {
		for n := range fewest {
			all = append(all, point{life: life, kind: mustBe[n%len(mustBe)], n: n})
		}
	}
	if wrong := judgePoints(all); len(wrong) > 0 {
		t.Errorf("nothing is wrong, and said is %q", wrong)
	}
	if wrong := judgePoints(all[1:]); len(wrong) != 1 {
		t.Errorf("one life has too few, and said is %q", wrong)
	}
	var lacking []point
	for _, p := range all {
		if p.kind == "RunInstances" {
			p.kind = "Run"
		}
		lacking = append(lacking, p)
	}
	if wrong := judgePoints(lacking); len(wrong) != 1 {
		t.Errorf("there is no launch, and said is %q", wrong)
	}
}
