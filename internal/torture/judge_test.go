package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/brokenwire"
)

// The judge is judged: each kind of loss, planted, is found, and nothing else
// is.

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func request(id int64, result ...dormouse.Result) dormouse.BuildRequest {
	r := dormouse.BuildRequest{ID: id}
	if len(result) > 0 {
		r.Result = &result[0]
	}
	return r
}

func build(number int, request int64, result dormouse.Result, instance string, from, to int) dormouse.Build {
	return dormouse.Build{
		Builder: "b", Number: number, RequestID: request, Result: &result, Worker: "w", InstanceID: instance,
		StartedAt: at(from), FinishedAt: at(to),
	}
}

func TestRequestsAreJudged(t *testing.T) {
	good := build(1, 1, dormouse.Success, "i-1", 0, 1)
	for _, tc := range []struct {
		name     string
		accepted []int64
		requests []dormouse.BuildRequest
		builds   []dormouse.Build
		lost     int
		doubled  int
	}{
		{"as it should be", []int64{1}, []dormouse.BuildRequest{request(1, dormouse.Success)}, []dormouse.Build{good}, 0, 0},
		{"tried twice", []int64{1}, []dormouse.BuildRequest{request(1, dormouse.Success)}, []dormouse.Build{build(1, 1, dormouse.Retry, "i-1", 0, 1), build(2, 1, dormouse.Success, "i-2", 1, 2)}, 0, 0},
		{"gone", []int64{1, 2}, []dormouse.BuildRequest{request(1, dormouse.Success)}, []dormouse.Build{good}, 1, 0},
		{"built twice", []int64{1}, []dormouse.BuildRequest{request(1, dormouse.Success)}, []dormouse.Build{good, build(2, 1, dormouse.Success, "i-2", 1, 2)}, 0, 1},
		{"ended without a build", []int64{1}, []dormouse.BuildRequest{request(1, dormouse.Success)}, nil, 1, 0},
		{"failed", []int64{1}, []dormouse.BuildRequest{request(1, dormouse.Exception)}, []dormouse.Build{build(1, 1, dormouse.Exception, "i-1", 0, 1)}, 1, 0},
		{"a build without an end", nil, nil, []dormouse.Build{{Builder: "b", Number: 1}}, 1, 0},
	} {
		f := figures{runs: 1}
		judgeRequests(&f, tc.accepted, tc.requests, tc.builds)
		if f.lost != tc.lost || f.doubled != tc.doubled || f.bad() != (tc.lost+tc.doubled > 0) {
			t.Errorf("%s: %d lost, %d doubled, want %d and %d: %q", tc.name, f.lost, f.doubled, tc.lost, tc.doubled, f.losses)
		}
	}
}

func TestLogsAreJudged(t *testing.T) {
	log := func(lines ...string) (out []string) {
		for i := range 3 {
			out = append(out, fmt.Sprintf("oline %d", i))
		}
		return append(out, lines...)
	}
	end := "hprogram finished with exit code 0"
	for _, tc := range []struct {
		name  string
		said  []string
		wrong bool
	}{
		{"as it should be", log(end), false},
		{"a line lost", append([]string{"oline 0", "oline 2"}, end), true},
		{"a line twice", append([]string{"oline 0", "oline 1", "oline 1", "oline 2"}, end), true},
		{"out of order", append([]string{"oline 1", "oline 0", "oline 2"}, end), true},
		{"cut short", []string{"oline 0", end}, true},
		{"more than there is", log("oline 3", end), true},
		{"no end", log(), true},
		{"two ends", log(end, end), true},
	} {
		if wrong := wrongLines(tc.said, 3, true); (wrong != "") != tc.wrong {
			t.Errorf("%s: %q", tc.name, wrong)
		}
	}
	for _, tc := range []struct {
		name  string
		said  []string
		wrong bool
	}{
		{"nothing", nil, false},
		{"the beginning", []string{"oline 0", "oline 1"}, false},
		{"all of it", log(end), false},
		{"a line lost", []string{"oline 0", "oline 2"}, true},
		{"a line twice", []string{"oline 0", "oline 0"}, true},
		{"two ends", log(end, end), true},
	} {
		if wrong := wrongLines(tc.said, 3, false); (wrong != "") != tc.wrong {
			t.Errorf("of a build that is tried again, %s: %q", tc.name, wrong)
		}
	}
}

func TestTheJournalIsJudged(t *testing.T) {
	builds := []dormouse.Build{build(1, 1, dormouse.Retry, "i-1", 0, 1), build(2, 1, dormouse.Success, "i-2", 1, 2)}
	for _, tc := range []struct {
		name          string
		journal       []string
		lost, doubled int
	}{
		{"as it should be", []string{"b/1 lines", "b/2 lines", "b/2 last"}, 0, 0},
		{"a build that is tried again had not begun", []string{"b/2 lines", "b/2 last"}, 0, 0},
		{"a command twice", []string{"b/1 lines", "b/2 lines", "b/2 lines", "b/2 last"}, 0, 1},
		{"… of a build that is tried again", []string{"b/1 lines", "b/1 lines", "b/2 lines", "b/2 last"}, 0, 1},
		{"a command never", []string{"b/2 lines"}, 1, 0},
		{"a build that is forgotten", []string{"b/2 lines", "b/2 last", "b/3 lines"}, 1, 0},
	} {
		f := figures{runs: 1}
		judgeJournal(&f, tc.journal, builds)
		if f.lost != tc.lost || f.doubled != tc.doubled || f.bad() != (tc.lost+tc.doubled > 0) {
			t.Errorf("%s: %d lost, %d doubled: %q", tc.name, f.lost, f.doubled, f.losses)
		}
	}
}

// TestLotsAgree: what cannot go together never does.
func TestLotsAgree(t *testing.T) {
	for number := range uint64(2000) {
		p := draw(rand.New(rand.NewPCG(1, number)))
		if p.gone && !p.watchdog || (p.volume || p.address) && p.instances > 1 || p.clock && p.rival || p.stock && p.batch {
			t.Fatalf("%+v", p)
		}
	}
}

// TestBreaking: each connection breaks once, in one of the ways, behind a number
// of bytes that follows from the seed.
func TestBreaking(t *testing.T) {
	at := func(seed uint64, pieces int) (passed int, fault brokenwire.Fault) {
		rule := breaking(seed, 1000, brokenwire.Cut)
		for range pieces {
			n, f := rule(brokenwire.Piece{Conn: 1, To: brokenwire.ToServer, Data: make([]byte, 100)})
			if passed += n; f != brokenwire.Pass {
				return passed, f
			}
		}
		return passed, brokenwire.Pass
	}
	differ := false
	for seed := range uint64(100) {
		passed, fault := at(seed, 11)
		if fault != brokenwire.Cut || passed >= 1000 {
			t.Errorf("seed %d: %v behind %d bytes", seed, fault, passed)
		}
		again, _ := at(seed, 11)
		if first, _ := at(0, 11); passed != first {
			differ = true
		}
		if again != passed {
			t.Errorf("seed %d: %d bytes, and %d", seed, passed, again)
		}
	}
	if !differ {
		t.Error("all break at the same byte")
	}
}

func TestInstancesAreJudged(t *testing.T) {
	row := func(id string, generation int64) dormouse.Instance {
		return dormouse.Instance{ID: id, Worker: "w", Generation: generation}
	}
	entry := func(id string, from, to int) ec2sim.LedgerEntry {
		return ec2sim.LedgerEntry{ID: id, LaunchedAt: at(from), EndedAt: at(to)}
	}
	builds := []dormouse.Build{build(1, 1, dormouse.Success, "i-1", 1, 4)}
	for _, tc := range []struct {
		name           string
		rows           []dormouse.Instance
		builds         []dormouse.Build
		ledger         []ec2sim.LedgerEntry
		shared, leaked int
	}{
		{"as it should be", []dormouse.Instance{row("i-1", 1), row("i-2", 2)}, builds, []ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 5, 9)}, 0, 0},
		{"two of one generation", []dormouse.Instance{row("i-1", 1), row("i-2", 1)}, builds, []ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 5, 9)}, 1, 0},
		{
			"two in use at a time",
			[]dormouse.Instance{row("i-1", 1), row("i-2", 2)},
			append(builds, build(2, 2, dormouse.Success, "i-2", 3, 6)),
			[]ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 2, 9)},
			2, 0,
		},
		{
			"the end of one on what was taken back was stored late",
			[]dormouse.Instance{{ID: "i-1", Worker: "w", Generation: 1, TakenAt: at(3)}, row("i-2", 2)},
			append(builds, build(2, 2, dormouse.Success, "i-2", 3, 6)),
			[]ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 2, 8)},
			0, 0,
		},
		{"two alive at a time", []dormouse.Instance{row("i-1", 1), row("i-2", 2)}, builds, []ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 4, 9)}, 1, 0},
		{"one that the master does not know", []dormouse.Instance{row("i-1", 1)}, builds, []ec2sim.LedgerEntry{entry("i-1", 0, 5), entry("i-2", 5, 9)}, 0, 1},
	} {
		var f figures
		judgeInstances(&f, tc.rows, tc.builds, ec2sim.Ledger{Instances: tc.ledger})
		if f.shared != tc.shared || f.leaked != tc.leaked {
			t.Errorf("%s: %d shared, %d leaked: %q", tc.name, f.shared, f.leaked, f.losses)
		}
		if tc.name == "as it should be" && (f.alive != 9*time.Second || f.wasted != 6*time.Second) {
			t.Errorf("%s: %v alive, %v wasted", tc.name, f.alive, f.wasted)
		}
	}
}

// TestWhoEndsWhatIsTakenBack: EC2, once it has announced it, unless a master was told
// to stop.
func TestWhoEndsWhatIsTakenBack(t *testing.T) {
	rows := []dormouse.Instance{{ID: "i-1", Worker: "w", Generation: 1, TakenAt: at(3)}, {ID: "i-2", Worker: "w", Generation: 2}}
	for _, tc := range []struct {
		by          string
		stops       int
		taken, paid int
	}{{"", 0, 1, 0}, {"AKIA", 0, 0, 1}, {"AKIA", 1, 0, 0}} {
		f := figures{stops: tc.stops}
		ledger := ec2sim.Ledger{Instances: []ec2sim.LedgerEntry{
			{ID: "i-1", LaunchedAt: at(0), StoppingAt: at(4), EndedAt: at(4), EndedBy: tc.by},
			{ID: "i-2", LaunchedAt: at(2), StoppingAt: at(9), EndedAt: at(9), EndedBy: "AKIA"}, // the next, while EC2 has not taken the first
		}}
		judgeInstances(&f, rows, nil, ledger)
		judgeTaken(&f, rows, ledger)
		if f.taken != tc.taken || f.paid != tc.paid || f.shared != 0 {
			t.Errorf("%+v: %+v", tc, f)
		}
	}
}

// TestWhatIsNoGenerations: instances that ended before they were adopted are of no generation,
// and may be several of one worker.
func TestWhatIsNoGenerations(t *testing.T) {
	rows := []dormouse.Instance{{ID: "i-1", Worker: "w"}, {ID: "i-2", Worker: "w"}, {ID: "i-3", Worker: "w", Generation: 1}}
	ledger := ec2sim.Ledger{Instances: []ec2sim.LedgerEntry{
		{ID: "i-1", LaunchedAt: at(0), EndedAt: at(1)},
		{ID: "i-2", LaunchedAt: at(2), EndedAt: at(3)},
		{ID: "i-3", LaunchedAt: at(4), StoppingAt: at(5), EndedAt: at(5)},
	}}
	var f figures
	if judgeInstances(&f, rows, nil, ledger); len(f.losses) > 0 {
		t.Errorf("%v", f.losses)
	}
	rows[0].Generation = 1
	if judgeInstances(&f, rows, nil, ledger); f.shared != 1 {
		t.Errorf("two of one generation: %v", f.losses)
	}
}

// TestTimesOfAClockThatJumps: builds whose times mean nothing are not compared.
func TestTimesOfAClockThatJumps(t *testing.T) {
	var f figures
	rows := []dormouse.Instance{{ID: "i-1", Worker: "w", Generation: 1}}
	judgeInstances(&f, rows, nil, ec2sim.Ledger{Instances: []ec2sim.LedgerEntry{{ID: "i-1", LaunchedAt: at(0), EndedAt: at(5)}}})
	if f.shared+f.leaked != 0 || f.alive != 0 || f.instances != 1 {
		t.Errorf("%+v", f)
	}
}

func TestWentOn(t *testing.T) {
	builds := []dormouse.Build{build(1, 1, dormouse.Success, "i-1", 0, 4), build(2, 2, dormouse.Retry, "i-1", 0, 4), build(3, 3, dormouse.Success, "i-1", 6, 8)}
	if n := wentOn(builds, []time.Time{at(1), at(2), at(5)}); n != 1 {
		t.Errorf("%d", n)
	}
}
