// Package storetest is the contract of [store.DB] and [store.Owner], as tests that every database
// it runs on must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Run tests databases that open makes: each call gives a new, empty one, and
// closes it at the end of its test.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"Deployment", testDeployment},
		{"Lease", testLease},
		{"Fencing", testFencing},
		{"Fencing/Concurrent", testFencingConcurrent},
		{"Repeated", testRepeated},
		{"Requests", testRequests},
		{"Requests/AllOrNone", testSubmitAllOrNone},
		{"Requests/Collapse", testCollapse},
		{"Requests/Cancel", testCancel},
		{"Requests/Key", testSubmitKey},
		{"Artifacts", testArtifacts},
		{"Builds", testBuilds},
		{"Builds/Requeue", testRequeue},
		{"Builds/ClaimedOnce", testClaimedOnce},
		{"Builds/NumbersHaveNoGaps", testNumbers},
		{"Builds/Resumable", testResumable},
		{"Workers/Secret", testBindSecret},
		{"Properties", testProperties},
		{"Steps", testSteps},
		{"Logs", testLogs},
		{"Logs/Refused", testLogsRefused},
		{"Logs/Ranges", testLogRanges},
		{"Logs/TinyAppends", testTinyAppends},
		{"Logs/LongLines", testLongLines},
		{"Logs/Concurrent", testLogsConcurrent},
		{"Workers", testWorkers},
		{"Attempts", testAttempts},
		{"Attempts/Launches", testLaunches},
		{"Attempts/Settle", testSettle},
		{"Attempts/Console", testConsole},
		{"Instances", testInstances},
		{"Mails", testMails},
		{"Usage", testUsage},
		{"Usage/Many", testUsageMany},
		{"Text", testText},
		{"Context", testContext},
		{"Closed", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, newFixture(t, open(t)))
		})
	}
}

// epoch is the time at which the tests take place.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

// fixture is a database with a master.
type fixture struct {
	*store.DB
	*store.Owner
}

func newFixture(t *testing.T, db *store.DB) *fixture {
	t.Helper()
	owner, err := db.AcquireLease(t.Context(), "master-1", time.Hour, epoch)
	check(t, err)
	return &fixture{db, owner}
}

// submit stores a pending request of a builder.
func (f *fixture) submit(t testing.TB, builder string) dormouse.BuildRequest {
	t.Helper()
	r, err := f.SubmitRequests(t.Context(), []dormouse.BuildRequest{{Builder: builder, SubmittedAt: epoch}})
	check(t, err)
	return r[0]
}

// start submits a request and starts its build.
func (f *fixture) start(t testing.TB, builder string) dormouse.Build {
	t.Helper()
	b, _, err := f.StartBuild(t.Context(), store.NewBuild{RequestID: f.submit(t, builder).ID, Worker: "w1", StartedAt: at(1)})
	check(t, err)
	return b
}

// finish, finishStep and collapse write, and compare what the write returns with
// what is read.
func (f *fixture) finish(ctx context.Context, build int64, e store.Ending) error {
	b, r, err := f.FinishBuild(ctx, build, e)
	if err != nil {
		return err
	}
	readBuild, err := f.Build(ctx, build)
	if err != nil {
		return err
	}
	readRequest, err := f.Request(ctx, b.RequestID)
	return errors.Join(err, differ(b, readBuild), differ(r, readRequest))
}

func (f *fixture) finishStep(ctx context.Context, step int64, result dormouse.Result, text string, hidden bool, at time.Time) error {
	s, err := f.FinishStep(ctx, step, result, text, hidden, at)
	if err != nil {
		return err
	}
	steps, err := f.Steps(ctx, s.BuildID)
	if err != nil {
		return err
	}
	read := steps[s.Index]
	read.Logs = nil
	return differ(s, read)
}

func (f *fixture) collapse(ctx context.Context, collapses []store.Collapse, now time.Time) error {
	collapsed, err := f.CollapseRequests(ctx, collapses, now)
	if err != nil {
		return err
	}
	for i, c := range collapses {
		read, rerr := f.Request(ctx, c.ID)
		err = errors.Join(err, rerr, differ(collapsed[i], read))
	}
	return err
}

// differ says how what a write has returned differs from what is read.
func differ(returned, read any) error {
	if diff := cmp.Diff(read, returned, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("returned other than read (-read +returned):\n%s", diff)
	}
	return nil
}

// step starts a step of a build.
func (f *fixture) step(t testing.TB, build int64, index int) dormouse.Step {
	t.Helper()
	s, err := f.StartStep(t.Context(), dormouse.Step{BuildID: build, Index: index, Name: "shell", StartedAt: at(2)})
	check(t, err)
	return s
}

// log starts a build with one step and one log.
func (f *fixture) log(t testing.TB) dormouse.Log {
	t.Helper()
	l, err := f.NewLog(t.Context(), f.step(t, f.start(t, "logs").ID, 0).ID, "stdio", dormouse.LogStdio)
	check(t, err)
	return l
}

// appendLog appends to the end of a log, as whoever else appends leaves it.
func (f *fixture) appendLog(ctx context.Context, id int64, lines []dormouse.LogLine) (dormouse.Log, error) {
	for {
		l, err := f.Log(ctx, id)
		if err != nil {
			return l, err
		}
		appended, err := f.AppendLog(ctx, id, l.Lines, lines, "")
		if dormouse.CodeOf(err) != dormouse.Conflict || l.Complete {
			return appended, err
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that a call failed with a class.
func refused(t testing.TB, what string, err error, want dormouse.Code) {
	t.Helper()
	if got := dormouse.CodeOf(err); got != want {
		t.Errorf("%s: error %v is %q, want %q", what, err, got, want)
	}
}

func superseded(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, dormouse.Conflict)
	if !errors.Is(err, store.ErrSuperseded) {
		t.Errorf("%s: %v does not say that the master was superseded", what, err)
	}
}

// reporter is a test, or one round of a property test.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

func same(t reporter, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func ids(requests []dormouse.BuildRequest) []int64 {
	var out []int64
	for _, r := range requests {
		out = append(out, r.ID)
	}
	return out
}
