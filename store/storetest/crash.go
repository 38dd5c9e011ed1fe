package storetest

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

// crashVar holds, in the environment of a process that is to be killed, the
// database it writes to.
const crashVar = "DORMOUSE_STORE_CRASH"

// Victim reports whether this process is one that [Crash] started.
func Victim() bool { return os.Getenv(crashVar) != "" }

// Crash has another process, this test binary started again, write to the
// database at location and kills it at varied moments. After each, everything
// that was acknowledged must be there and nothing half done. The package's
// tests must have a function named TestCrash that calls it, with open for both
// processes.
func Crash(t *testing.T, location string, open func(ctx context.Context, location string) (*store.DB, error)) {
	if victim := os.Getenv(crashVar); victim != "" {
		db, err := open(t.Context(), victim)
		check(t, err)
		writeUntilKilled(t, db)
		return
	}
	acked := make(map[string]bool)
	// How many acknowledgements to wait for before the kill: none, in the
	// middle of a first group, and in full flow.
	for _, wait := range []int{0, 1, 7, 60, 151, 400} {
		killAfter(t, location, wait, acked)
		db, err := open(t.Context(), location)
		check(t, err)
		// Waits for what a server may still be doing for the victim.
		_, err = db.AcquireLease(t.Context(), "victim", time.Hour, epoch)
		check(t, err)
		checkAfterCrash(t, db, acked)
		check(t, db.Close())
		if t.Failed() {
			t.Fatalf("after a kill at %d acknowledgements", wait)
		}
	}
	if len(acked) < 400 {
		t.Errorf("only %d acknowledgements were seen", len(acked))
	}
}

func killAfter(t *testing.T, location string, wait int, acked map[string]bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrash$")
	cmd.Env = append(os.Environ(), crashVar+"="+location)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for seen := 0; (seen < wait || wait == 0) && lines.Scan(); {
		if ack, ok := strings.CutPrefix(lines.Text(), "ack "); ok {
			acked[ack] = true
			seen++
		}
		if wait == 0 {
			break // as soon as it says anything
		}
	}
	check(t, cmd.Process.Kill())
	for lines.Scan() { // what it had said before it died
		if ack, ok := strings.CutPrefix(lines.Text(), "ack "); ok {
			acked[ack] = true
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the victim was not killed but ended: %v\n%s", err, stderr.String())
	}
}

// writeUntilKilled runs builds from several goroutines and says what the
// database acknowledged, a line each.
func writeUntilKilled(t *testing.T, db *store.DB) {
	fmt.Println("open")
	ctx := t.Context()
	owner, err := db.AcquireLease(ctx, "victim", time.Hour, epoch)
	check(t, err)
	f := &fixture{db, owner}
	var mu sync.Mutex
	ack := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("ack "+format+"\n", args...)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for {
				if err := crashBuild(ctx, f, fmt.Sprint("builder", i%2), ack); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func crashBuild(ctx context.Context, f *fixture, builder string, ack func(string, ...any)) error {
	r, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: builder}, {Builder: builder}})
	if err != nil {
		return err
	}
	ack("request %d", r[0].ID)
	ack("request %d", r[1].ID)
	b, _, err := f.StartBuild(ctx, store.NewBuild{
		RequestID: r[0].ID, StartedAt: epoch, Properties: dormouse.Properties{"builder": {Value: builder}},
	})
	if err != nil {
		return err
	}
	ack("build %d %s %d", b.ID, builder, b.Number)
	s, err := f.StartStep(ctx, dormouse.Step{BuildID: b.ID, StartedAt: epoch})
	if err != nil {
		return err
	}
	l, err := f.NewLog(ctx, s.ID, "stdio", dormouse.LogStdio)
	if err != nil {
		return err
	}
	for n := range 20 {
		if _, err := f.appendLog(ctx, l.ID, []dormouse.LogLine{line(fmt.Sprint("line ", n), 0)}); err != nil {
			return err
		}
		ack("lines %d %d", l.ID, n+1)
	}
	if err := f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, At: epoch}); err != nil {
		return err
	}
	ack("finished %d", b.ID)
	return nil
}

func checkAfterCrash(t *testing.T, db *store.DB, acked map[string]bool) {
	t.Helper()
	ctx := t.Context()
	for ack := range acked {
		var id, n int64
		var builder string
		kind, rest, _ := strings.Cut(ack, " ")
		switch kind {
		case "request":
			scan(t, rest, &id)
			_, err := db.Request(ctx, id)
			check(t, err)
		case "build":
			scan(t, rest, &id, &builder, &n)
			b, err := db.Build(ctx, id)
			check(t, err)
			if b.Builder != builder || int64(b.Number) != n || b.Properties["builder"].Value != builder {
				t.Errorf("acknowledged %q, found %+v", ack, b)
			}
		case "lines":
			scan(t, rest, &id, &n)
			l, err := db.Log(ctx, id)
			check(t, err)
			if l.Lines < n {
				t.Errorf("acknowledged %q, found %d lines", ack, l.Lines)
			}
		case "finished":
			scan(t, rest, &id)
			b, err := db.Build(ctx, id)
			check(t, err)
			if b.Result == nil {
				t.Errorf("acknowledged %q, but it runs", ack)
			}
		default:
			t.Fatalf("the victim said %q", ack)
		}
	}
	for _, builder := range []string{"builder0", "builder1"} {
		builds, err := db.Builds(ctx, store.BuildFilter{Builder: builder, Limit: 1000})
		check(t, err)
		checkNumbers(t, builder, builds, len(builds))
		for _, b := range builds {
			checkBuildWhole(t, db, b)
		}
	}
	claimed, err := db.Requests(ctx, store.RequestFilter{State: dormouse.RequestClaimed, Limit: 1000})
	check(t, err)
	running, err := db.UnfinishedBuilds(ctx)
	check(t, err)
	var have, want []int64
	for _, r := range claimed {
		have = append(have, r.BuildID)
	}
	for _, b := range running {
		want = append(want, b.ID)
	}
	slices.SortFunc(have, cmp.Compare)
	same(t, "builds of the claimed requests", have, want)
}

// checkBuildWhole checks that a build, its request, step and log agree.
func checkBuildWhole(t *testing.T, db *store.DB, b dormouse.Build) {
	t.Helper()
	r, err := db.Request(t.Context(), b.RequestID)
	check(t, err)
	over := b.Result != nil
	if r.BuildID != b.ID || over != (r.State == dormouse.RequestComplete) || over != (r.Result != nil) {
		t.Errorf("build %+v has request %+v", b, r)
	}
	steps, err := db.Steps(t.Context(), b.ID)
	check(t, err)
	for _, s := range steps {
		if over && (s.Result == nil || len(s.Logs) != 1 || !s.Logs[0].Complete) {
			t.Errorf("build %d is over, its step is %+v", b.ID, s)
		}
		for _, l := range s.Logs {
			lines, err := db.LogLines(t.Context(), l.ID, 0, 100)
			check(t, err)
			if int64(len(lines)) != l.Lines {
				t.Errorf("log %d has %d lines and gives %d", l.ID, l.Lines, len(lines))
			}
			for n, got := range lines {
				if got.Text != fmt.Sprint("line ", n) {
					t.Errorf("line %d of log %d is %q", n, l.ID, got.Text)
				}
			}
		}
	}
}

func scan(t *testing.T, text string, values ...any) {
	t.Helper()
	_, err := fmt.Sscan(text, values...)
	check(t, err)
}
