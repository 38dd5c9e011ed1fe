package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
	"pgregory.net/rapid"
)

func line(text string, ms int) dormouse.LogLine {
	return dormouse.LogLine{Stream: dormouse.Stdout, Time: epoch.Truncate(time.Millisecond).Add(time.Duration(ms) * time.Millisecond), Text: text}
}

func testLogs(t *testing.T, f *fixture) {
	ctx := t.Context()
	l := f.log(t)
	lines := []dormouse.LogLine{line("one", 0), line("", 5), line("drei ☃ \x00 \r tab\t", 3)}
	lines[1].Stream, lines[2].Stream = dormouse.Stderr, dormouse.Header

	got, err := f.appendLog(ctx, l.ID, lines[:2])
	check(t, err)
	l.Lines, l.Bytes = 2, 5
	same(t, "after an append", got, l)
	got, err = f.appendLog(ctx, l.ID, nil)
	check(t, err)
	same(t, "after appending nothing", got, l)
	_, err = f.appendLog(ctx, l.ID, lines[2:])
	check(t, err)
	got, err = f.CompleteLog(ctx, l.ID)
	check(t, err)
	l.Lines, l.Bytes, l.Complete = 3, 5+int64(len(lines[2].Text))+1, true
	same(t, "complete", got, l)
	got, err = f.CompleteLog(ctx, l.ID)
	check(t, err)
	same(t, "complete, said twice", got, l)
	got, err = f.Log(ctx, l.ID)
	check(t, err)
	same(t, "read by ID", got, l)
	got, err = f.SearchLogByName(ctx, l.StepID, "stdio")
	check(t, err)
	same(t, "found by name", got, l)

	read, err := f.LogLines(ctx, l.ID, 0, 100)
	check(t, err)
	same(t, "the lines", read, lines)
	read, err = f.LogLines(ctx, l.ID, 3, 100)
	check(t, err)
	same(t, "beyond the end", read, []dormouse.LogLine(nil))
}

func testLogsRefused(t *testing.T, f *fixture) {
	ctx := t.Context()
	l := f.log(t)
	appendTo := func(id int64, texts ...string) error {
		var lines []dormouse.LogLine
		for _, text := range texts {
			lines = append(lines, line(text, 0))
		}
		_, err := f.appendLog(ctx, id, lines)
		return err
	}
	refused(t, "a newline", appendTo(l.ID, "good", "two\nlines"), dormouse.Invalid)
	refused(t, "invalid UTF-8", appendTo(l.ID, "\xff"), dormouse.Invalid)
	refused(t, "a line too long", appendTo(l.ID, strings.Repeat("x", store.MaxLine+1)), dormouse.Invalid)
	refused(t, "no log", appendTo(999, "x"), dormouse.NotFound)
	_, err := f.NewLog(ctx, l.StepID, "stdio", dormouse.LogStdio)
	check(t, err) // it is empty: the answer may have been lost
	_, err = f.NewLog(ctx, 999, "stdio", dormouse.LogStdio)
	refused(t, "a log of no step", err, dormouse.NotFound)
	_, err = f.CompleteLog(ctx, 999)
	refused(t, "completing none", err, dormouse.NotFound)
	_, err = f.CompleteLog(ctx, l.ID)
	check(t, err)
	refused(t, "a complete log", appendTo(l.ID, "x"), dormouse.Conflict)
	_, err = f.Log(ctx, 999)
	refused(t, "an unknown log", err, dormouse.NotFound)
	_, err = f.SearchLogByName(ctx, l.StepID, "other")
	refused(t, "an unknown name", err, dormouse.NotFound)
	_, err = f.LogLines(ctx, 999, 0, 1)
	refused(t, "lines of no log", err, dormouse.NotFound)
	_, err = f.LogLines(ctx, l.ID, -1, 1)
	refused(t, "lines from -1", err, dormouse.Invalid)
	got, err := f.Log(ctx, l.ID)
	check(t, err)
	if got.Lines != 0 {
		t.Errorf("%d lines, want none", got.Lines)
	}
}

// testLogRanges compares ranges of a log with the same log in memory, while it
// grows by appends of all sizes and after it is complete.
func testLogRanges(t *testing.T, f *fixture) {
	ctx := t.Context()
	step := f.step(t, f.start(t, "x").ID, 0)
	logs := 0
	rapid.Check(t, func(rt *rapid.T) {
		logs++
		l, err := f.NewLog(ctx, step.ID, fmt.Sprint("log ", logs), dormouse.LogStdio)
		check(t, err)
		var model []dormouse.LogLine
		compare := func() {
			first := rapid.Int64Range(0, int64(len(model))+2).Draw(rt, "first")
			limit := rapid.Int64Range(0, int64(len(model))+2).Draw(rt, "limit")
			from := min(first, int64(len(model)))
			want := model[from:min(from+limit, int64(len(model)))]
			same(rt, fmt.Sprintf("%d lines from %d", limit, first), readFrom(t, f, l.ID, first, limit), want)
		}
		for range rapid.IntRange(1, 40).Draw(rt, "appends") {
			var lines []dormouse.LogLine
			for range rapid.IntRange(0, 3).Draw(rt, "lines") {
				next := line(strings.Repeat("ab☃", rapid.SampledFrom([]int{0, 1, 20, 500, 6000}).Draw(rt, "length")), len(model))
				next.Stream = rapid.SampledFrom([]dormouse.Stream{dormouse.Stdout, dormouse.Stderr, dormouse.Header}).Draw(rt, "stream")
				lines, model = append(lines, next), append(model, next)
			}
			_, err := f.appendLog(ctx, l.ID, lines)
			check(t, err)
			if rapid.IntRange(0, 9).Draw(rt, "look") == 0 {
				compare()
			}
		}
		compare()
		_, err = f.CompleteLog(ctx, l.ID)
		check(t, err)
		compare()
		same(rt, "the whole log", readFrom(t, f, l.ID, 0, int64(len(model))), model)
	})
}

// readFrom reads a range in as many calls as it takes.
func readFrom(t testing.TB, f *fixture, id, first, limit int64) (lines []dormouse.LogLine) {
	t.Helper()
	for limit > 0 {
		got, err := f.LogLines(t.Context(), id, first, limit)
		check(t, err)
		if len(got) == 0 {
			break
		}
		if int64(len(got)) > limit {
			t.Fatalf("%d lines, asked for %d", len(got), limit)
		}
		lines = append(lines, got...)
		first, limit = first+int64(len(got)), limit-int64(len(got))
	}
	return lines
}

func testTinyAppends(t *testing.T, f *fixture) {
	ctx := t.Context()
	l := f.log(t)
	var want []dormouse.LogLine
	for i := range 300 {
		want = append(want, line(fmt.Sprintf("line %d of the output", i), i))
		_, err := f.appendLog(ctx, l.ID, want[i:])
		check(t, err)
		if i%37 == 0 {
			same(t, fmt.Sprint("after line ", i), readFrom(t, f, l.ID, 0, int64(i)+1), want)
		}
	}
	check(t, f.finish(ctx, f.buildOf(t), store.Ending{Result: dormouse.Success, At: at(9)}))
	same(t, "after the build", readFrom(t, f, l.ID, 0, 300), want)
}

// buildOf returns the one build that runs.
func (f *fixture) buildOf(t testing.TB) int64 {
	t.Helper()
	builds, err := f.UnfinishedBuilds(t.Context())
	check(t, err)
	if len(builds) != 1 {
		t.Fatalf("%d builds run, want 1", len(builds))
	}
	return builds[0].ID
}

func testLongLines(t *testing.T, f *fixture) {
	ctx := t.Context()
	l := f.log(t)
	long := strings.Repeat("long ", 3<<20/5)
	want := []dormouse.LogLine{line("a", 0), line(long, 1), line("b", 2), line(long, 3), line(long, 4), line("c", 5)}
	_, err := f.appendLog(ctx, l.ID, want)
	check(t, err)
	_, err = f.CompleteLog(ctx, l.ID)
	check(t, err)
	first, err := f.LogLines(ctx, l.ID, 0, 100)
	check(t, err)
	if len(first) != 1 {
		t.Errorf("%d lines in the first call, want only what fits", len(first))
	}
	got := readFrom(t, f, l.ID, 0, 100)
	if !slices.Equal(got, want) {
		t.Error("the lines are not those that were appended")
	}

	many := f.secondLog(t, l.StepID)
	_, err = f.appendLog(ctx, many.ID, slices.Repeat([]dormouse.LogLine{line("", 0)}, 100_000))
	check(t, err)
	some, err := f.LogLines(ctx, many.ID, 0, 1<<40)
	check(t, err)
	if len(some) == 0 || len(some) == 100_000 {
		t.Errorf("one call returned %d lines", len(some))
	}
	if got := len(readFrom(t, f, many.ID, 0, 1<<40)); got != 100_000 {
		t.Errorf("%d lines, want 100000", got)
	}
}

func (f *fixture) secondLog(t testing.TB, step int64) dormouse.Log {
	t.Helper()
	l, err := f.NewLog(t.Context(), step, "second", dormouse.LogStdio)
	check(t, err)
	return l
}

// testLogsConcurrent appends to one log from several goroutines while another
// reads: each append stays together and in its writer's order.
func testLogsConcurrent(t *testing.T, f *fixture) {
	ctx := t.Context()
	l := f.log(t)
	const writers, appends = 3, 40
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range appends {
				_, err := f.appendLog(ctx, l.ID, []dormouse.LogLine{
					line(fmt.Sprintf("%d/%d a", w, i), 0), line(fmt.Sprintf("%d/%d b", w, i), 0),
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read := make(chan []dormouse.LogLine)
	go func() {
		var lines []dormouse.LogLine
		for len(lines) < 2*writers*appends && t.Context().Err() == nil {
			more, err := f.LogLines(ctx, l.ID, int64(len(lines)), 7)
			if err != nil {
				t.Error(err)
				break
			}
			lines = append(lines, more...)
		}
		read <- lines
	}()
	wg.Wait()
	next := make([]int, writers)
	lines := <-read
	for i := 0; i+1 < len(lines); i += 2 {
		var w, n int
		if _, err := fmt.Sscanf(lines[i].Text, "%d/%d a", &w, &n); err != nil {
			t.Fatalf("line %d is %q", i, lines[i].Text)
		}
		if n != next[w] || lines[i+1].Text != fmt.Sprintf("%d/%d b", w, n) {
			t.Fatalf("lines %q, %q: want append %d of writer %d, whole", lines[i].Text, lines[i+1].Text, next[w], w)
		}
		next[w]++
	}
	if len(lines) != 2*writers*appends {
		t.Errorf("%d lines, want %d", len(lines), 2*writers*appends)
	}
}
