package main

import (
	"fmt"
	"time"
)

// figures are what a run, or many, came to.
type figures struct {
	runs, requests, builds, retries, resumed int
	kills, stops, agentKills, cuts, lies     int
	suspensions, jumps, outages, takeovers   int
	instances, taken                         int           // taken: left to EC2, which took them back
	alive, wasted                            time.Duration // of instances; wasted: with no build on them
	lost, doubled, wrong, leaked, shared     int
	paid                                     int // that EC2 would have ended for nothing
	broken                                   int // the run itself failed
	losses                                   []string
}

func (f *figures) add(g figures) {
	f.runs += g.runs
	f.requests += g.requests
	f.builds += g.builds
	f.retries += g.retries
	f.resumed += g.resumed
	f.kills += g.kills
	f.stops += g.stops
	f.agentKills += g.agentKills
	f.cuts += g.cuts
	f.lies += g.lies
	f.suspensions += g.suspensions
	f.jumps += g.jumps
	f.outages += g.outages
	f.takeovers += g.takeovers
	f.instances += g.instances
	f.taken += g.taken
	f.paid += g.paid
	f.alive += g.alive
	f.wasted += g.wasted
	f.lost += g.lost
	f.doubled += g.doubled
	f.wrong += g.wrong
	f.leaked += g.leaked
	f.shared += g.shared
	f.broken += g.broken
}

// enough is how many runs see a build go on under another master, whatever the
// lots: one in two or three does.
const enough = 30

func (f *figures) bad() bool {
	return f.lost+f.doubled+f.wrong+f.leaked+f.shared+f.paid+f.broken > 0 || f.runs == 0 || f.runs >= enough && f.resumed == 0
}

func (f *figures) lose(count *int, format string, args ...any) {
	*count++
	f.losses = append(f.losses, fmt.Sprintf(format, args...))
}

// String is the line of figures.
func (f *figures) String() string {
	text := fmt.Sprintf("%d runs: %d requests, %d lost, %d doubled; %d builds (%d retried, %d went on under another master), %d logs wrong; "+
		"%d instances, %d leaked, %d shared, %d left to EC2, %d ended for it; %.0f of %.0f instance-seconds without a build; "+
		"%d masters and %d agents killed, %d masters told to stop, %d suspended, %d overtaken, %d connections cut, %d lies told, "+
		"%d jumps of the clock, %d faults of the database",
		f.runs, f.requests, f.lost, f.doubled, f.builds, f.retries, f.resumed, f.wrong,
		f.instances, f.leaked, f.shared, f.taken, f.paid, f.wasted.Seconds(), f.alive.Seconds(),
		f.kills, f.agentKills, f.stops, f.suspensions, f.takeovers, f.cuts, f.lies, f.jumps, f.outages)
	if f.broken > 0 {
		text += fmt.Sprintf("; %d runs broken", f.broken)
	}
	return text
}
