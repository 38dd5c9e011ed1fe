package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// point is a moment in a life: right before or after the n-th write or call of a
// kind.
type point struct {
	life  int // which of lives
	kind  string
	n     int
	after bool
}

// moment is the point as a master knows it; "" is none.
func (p point) moment() string {
	switch {
	case p.kind == "":
		return ""
	case p.after:
		return fmt.Sprintf("after %s %d", p.kind, p.n)
	}
	return fmt.Sprintf("before %s %d", p.kind, p.n)
}

func (p point) String() string {
	moment := p.moment()
	if moment == "" {
		moment = "nobody is killed"
	}
	return lives[p.life].name + ": " + moment
}

// looks are the kinds that are gone through so often at most, since how often
// they come depends on how long things take.
var looks = map[string]int{"DescribeInstances": 3, "DescribeVolumes": 2, "renewing the master lease": 1}

// ofBuilds are the kinds that have nothing to do with how an instance is started
// and stopped: they are gone through in the first life only, and in those that
// are about a running build.
var ofBuilds = []string{
	"acquiring the master lease", "submitting build requests", "setting properties of build", "starting a step of build",
	"creating log stdio of step", "appending to log", "keeping how far step has come", "completing log", "compacting log", "finishing step",
	"releasing the master lease",
}

// pointsOf are the points of a life in which that was done, if nobody is killed.
func pointsOf(number int, done []string) (points []point) {
	l := lives[number]
	counts := map[string]int{}
	begun := l.after == ""
	for _, kind := range done {
		counts[kind]++
		begun = begun || kind == l.after
		most, look := looks[kind]
		if !begun || look && counts[kind] > most || number > 0 && !l.inBuild() && slices.Contains(ofBuilds, kind) {
			continue
		}
		points = append(points, point{number, kind, counts[kind], false}, point{number, kind, counts[kind], true})
	}
	return points
}

// spread draws from points one before and one after each kind.
func spread(points []point, rng *rand.Rand) (drawn []point) {
	type side struct {
		kind  string
		after bool
	}
	seen := map[side]bool{}
	for _, i := range rng.Perm(len(points)) {
		s := side{points[i].kind, points[i].after}
		if !seen[s] {
			seen[s] = true
			drawn = append(drawn, points[i])
		}
	}
	return drawn
}

// mustBe are kinds without which the lives are not what they were.
var mustBe = []string{
	"submitting build requests", "saving worker bot", "opening launch", "RunInstances", "settling a launch", "DescribeInstances",
	"saving instance", "starting a build of build request", "appending to log", "finishing build", "TerminateInstances",
}

// fewest is how many points each life has at least.
const fewest = 16

// judgePoints holds that the lives have the points that make the proof one.
func judgePoints(points []point) (wrong []string) {
	of, kinds := map[int]int{}, map[string]bool{}
	for _, p := range points {
		of[p.life]++
		kinds[p.kind] = true
	}
	for i, l := range lives {
		if of[i] < fewest {
			wrong = append(wrong, fmt.Sprintf("%q has only %d points", l.name, of[i]))
		}
	}
	for _, kind := range mustBe {
		if !kinds[kind] {
			wrong = append(wrong, fmt.Sprintf("there was no %q to be killed at", kind))
		}
	}
	return wrong
}
