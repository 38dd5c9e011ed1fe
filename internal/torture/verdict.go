package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
)

// What the judge knows, all of it pure: what was found goes in, losses come out.

// judgeRequests holds that each request has ended once, in success, and that
// every build beside that was only tried.
func judgeRequests(f *figures, accepted []int64, requests []dormouse.BuildRequest, builds []dormouse.Build) {
	ended := map[int64]*dormouse.Result{}
	for _, q := range requests {
		ended[q.ID] = q.Result
	}
	for _, id := range accepted {
		if _, ok := ended[id]; !ok {
			f.lose(&f.lost, "request %d was accepted, and is not there", id)
		}
	}
	counted := map[int64]int{}
	for _, b := range builds {
		switch {
		case b.Result == nil:
			f.lose(&f.lost, "build %s/%d has no end", b.Builder, b.Number)
		case *b.Result == dormouse.Retry:
			f.retries++
		default:
			counted[b.RequestID]++
		}
	}
	for id, result := range ended {
		switch {
		case result == nil: // told already
		case *result != dormouse.Success:
			f.lose(&f.lost, "request %d ended in %s: %s", id, result, whyOf(id, builds))
		case counted[id] > 1:
			f.lose(&f.doubled, "request %d was built %d times", id, counted[id])
		case counted[id] == 0:
			f.lose(&f.lost, "request %d has ended, and no build of it has", id)
		}
	}
}

func whyOf(request int64, builds []dormouse.Build) string {
	for _, b := range builds {
		if b.RequestID == request {
			return b.StateString
		}
	}
	return "it has no build"
}

// wentOn counts builds that succeeded though their master was killed.
func wentOn(builds []dormouse.Build, killed []time.Time) (n int) {
	for _, b := range builds {
		if b.Result == nil || *b.Result != dormouse.Success {
			continue
		}
		for _, at := range killed {
			if at.After(b.StartedAt) && at.Before(b.FinishedAt) {
				n++
				break
			}
		}
	}
	return n
}

// judgeLogs holds that a build's logs have each line once, in order; of a build
// that was tried again, as many as there are.
func judgeLogs(f *figures, rec record, b dormouse.Build, lines int) {
	whole := *b.Result == dormouse.Success
	found := 0
	for _, s := range rec.steps[b.ID] {
		if s.Name != "lines" {
			continue
		}
		found++
		var said []string
		for _, l := range s.Logs {
			said = append(said, rec.logs[l.ID]...)
		}
		if wrong := wrongLines(said, lines, whole); wrong != "" {
			f.lose(&f.wrong, "build %s/%d: %s", b.Builder, b.Number, wrong)
		}
	}
	if whole && found != 1 || found > 1 {
		f.lose(&f.wrong, "build %s/%d has %d steps that print lines", b.Builder, b.Number, found)
	}
}

// judgeJournal holds that each command of a build ran at most once, those of one
// that succeeded did, and no other build's. An entry is "BUILDER/NUMBER COMMAND".
func judgeJournal(f *figures, journal []string, builds []dormouse.Build) {
	ran := map[string]int{}
	for _, entry := range journal {
		ran[entry]++
	}
	for _, b := range builds {
		for _, command := range []string{"lines", "last"} {
			entry := fmt.Sprintf("%s/%d %s", b.Builder, b.Number, command)
			switch n := ran[entry]; {
			case n > 1:
				f.lose(&f.doubled, "command %q of build %s/%d ran %d times", command, b.Builder, b.Number, n)
			case n == 0 && b.Result != nil && *b.Result == dormouse.Success:
				f.lose(&f.lost, "build %s/%d succeeded, and its command %q did not run", b.Builder, b.Number, command)
			}
			delete(ran, entry)
		}
	}
	for entry := range ran {
		f.lose(&f.lost, "a command ran for a build that the store lacks: %s", entry)
	}
}

// wrongLines says what is wrong with a log of numbered lines, each after the
// letter of its stream; "" is nothing. One that is not whole may end anywhere.
func wrongLines(said []string, want int, whole bool) string {
	next, ends := 0, 0
	for _, line := range said {
		if text, ok := strings.CutPrefix(line, "o"); ok {
			if text != fmt.Sprintf("line %d", next) {
				return fmt.Sprintf("%q stands where line %d would", text, next)
			}
			next++
		}
		if line == "hprogram finished with exit code 0" {
			ends++
		}
	}
	if whole && (next != want || ends != 1) || next > want || ends > 1 {
		return fmt.Sprintf("it has %d of %d lines, and says %d times how the program ended", next, want, ends)
	}
	return ""
}

// judgeTaken holds that what EC2 had announced to take back was ended by EC2, and
// cost nothing. A master that is told to stop ends it all the same.
func judgeTaken(f *figures, rows []dormouse.Instance, ledger ec2sim.Ledger) {
	announced := map[string]bool{}
	for _, i := range rows {
		announced[i.ID] = !i.TakenAt.IsZero()
	}
	for _, i := range ledger.Instances {
		switch {
		case !announced[i.ID]:
		case i.EndedBy == "":
			f.taken++
		case f.stops == 0:
			f.lose(&f.paid, "instance %s was announced to be taken back, and terminated by %s: it costs $%.4f", i.ID, i.EndedBy, i.CostUSD)
		}
	}
}

// judgeInstances holds that a generation had one instance, that no two were in
// use for one worker at a time, and that the master's ledger knows each that
// there ever was. Without builds, whose times may mean nothing, they are not
// compared.
func judgeInstances(f *figures, rows []dormouse.Instance, builds []dormouse.Build, ledger ec2sim.Ledger) {
	type generation struct {
		worker string
		number int64
	}
	of := map[generation]string{}
	known := map[string]dormouse.Instance{}
	for _, i := range rows {
		known[i.ID] = i
		g := generation{i.Worker, i.Generation}
		// One that ended before it was adopted is no generation's: 0.
		if other, ok := of[g]; ok && i.Worker != "" && i.Generation != 0 {
			f.lose(&f.shared, "instances %s and %s are both of generation %d of worker %s", other, i.ID, g.number, g.worker)
		}
		of[g] = i.ID
	}
	// A build's end may be stored late; on what EC2 has taken back it has come.
	over := func(b dormouse.Build) time.Time {
		if at := known[b.InstanceID].TakenAt; !at.IsZero() && at.Before(b.FinishedAt) {
			return at
		}
		return b.FinishedAt
	}
	busy := map[string]time.Duration{}
	for n, b := range builds {
		busy[b.InstanceID] += b.FinishedAt.Sub(b.StartedAt)
		for _, o := range builds[n+1:] {
			if b.Worker == o.Worker && b.InstanceID != o.InstanceID && b.StartedAt.Before(over(o)) && o.StartedAt.Before(over(b)) {
				f.lose(&f.shared, "worker %s built %s/%d on %s and %s/%d on %s at the same time",
					b.Worker, b.Builder, b.Number, b.InstanceID, o.Builder, o.Number, o.InstanceID)
			}
		}
	}
	for n, i := range ledger.Instances {
		f.instances++
		row, ok := known[i.ID]
		if !ok {
			f.lose(&f.leaked, "instance %s is not in the master's ledger (%v)", i.ID, i.Tags)
		}
		for _, o := range ledger.Instances[n+1:] {
			// A worker's next instance is launched once the end of the last is
			// accepted, or EC2 has announced it.
			announced := !row.TakenAt.IsZero() || !known[o.ID].TakenAt.IsZero()
			if ok && !announced && row.Worker != "" && known[o.ID].Worker == row.Worker && i.LaunchedAt.Before(overAt(o)) && o.LaunchedAt.Before(overAt(i)) {
				f.lose(&f.shared, "worker %s had %s from %v to %v and %s from %v to %v", row.Worker,
					i.ID, i.LaunchedAt, overAt(i), o.ID, o.LaunchedAt, overAt(o))
			}
		}
		if i.EndedAt.IsZero() {
			continue
		}
		if builds == nil {
			continue
		}
		alive := i.EndedAt.Sub(i.LaunchedAt)
		f.alive += alive
		f.wasted += max(0, alive-busy[i.ID])
	}
}

// overAt is when an instance was told to end, or ended by itself.
func overAt(i ec2sim.LedgerEntry) time.Time {
	if i.StoppingAt.IsZero() {
		return i.EndedAt
	}
	return i.StoppingAt
}
