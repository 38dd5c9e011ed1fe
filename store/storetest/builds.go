package storetest

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/store"
)

func testBuilds(t *testing.T, f *fixture) {
	ctx := t.Context()
	r := f.submit(t, "linux")
	properties := dormouse.Properties{"branch": {Value: "main", Source: "Build"}}
	b, returned, err := f.StartBuild(ctx, store.NewBuild{
		RequestID: r.ID, Worker: "w1", Generation: 3, InstanceID: "i-1", StartedAt: at(1), Properties: properties,
	})
	check(t, err)
	same(t, "the build", b, dormouse.Build{
		ID: b.ID, Builder: "linux", Number: 1, RequestID: r.ID, Worker: "w1", Generation: 3, InstanceID: "i-1",
		Try: 1, StartedAt: at(1), Properties: properties,
	})
	got, err := f.Build(ctx, b.ID)
	check(t, err)
	same(t, "read by ID", got, b)
	got, err = f.BuildByNumber(ctx, "linux", 1)
	check(t, err)
	same(t, "read by number", got, b)
	claimed, err := f.Request(ctx, r.ID)
	check(t, err)
	r.State, r.BuildID = dormouse.RequestClaimed, b.ID
	same(t, "its request", claimed, r)
	same(t, "its request, as it was returned", returned, r)

	_, _, err = f.StartBuild(ctx, store.NewBuild{RequestID: r.ID})
	refused(t, "starting twice", err, dormouse.Conflict)
	_, _, err = f.StartBuild(ctx, store.NewBuild{RequestID: 999})
	refused(t, "starting none", err, dormouse.NotFound)

	check(t, f.SetBuildState(ctx, b.ID, "compiling"))
	step := f.step(t, b.ID, 0)
	open, err := f.NewLog(ctx, step.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	check(t, f.finish(ctx, b.ID, store.Ending{Result: dormouse.Failure, StateString: "failed compile", At: at(9)}))

	got, err = f.Build(ctx, b.ID)
	check(t, err)
	b.FinishedAt, b.Result, b.StateString = at(9), new(dormouse.Failure), "failed compile"
	same(t, "finished", got, b)
	steps, err := f.Steps(ctx, b.ID)
	check(t, err)
	open.Complete = true
	step.FinishedAt, step.Result, step.Logs = at(9), new(dormouse.Failure), []dormouse.Log{open}
	same(t, "its steps", steps, []dormouse.Step{step})
	complete, err := f.Request(ctx, r.ID)
	check(t, err)
	r.State, r.Result, r.CompleteAt = dormouse.RequestComplete, new(dormouse.Failure), at(9)
	same(t, "its request", complete, r)

	refused(t, "finishing twice", f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, At: at(10)}), dormouse.Conflict)
	refused(t, "finishing none", f.finish(ctx, 999, store.Ending{Result: dormouse.Success, At: at(10)}), dormouse.NotFound)
	refused(t, "the state of a finished build", f.SetBuildState(ctx, b.ID, "x"), dormouse.Conflict)
	_, err = f.Build(ctx, 999)
	refused(t, "an unknown build", err, dormouse.NotFound)
	_, err = f.BuildByNumber(ctx, "linux", 999)
	refused(t, "an unknown number", err, dormouse.NotFound)

	mac, linux := f.start(t, "mac"), f.start(t, "linux")
	if mac.Number != 1 || linux.Number != 2 {
		t.Errorf("numbers %d and %d, want 1 and 2", mac.Number, linux.Number)
	}
	for _, c := range []struct {
		name   string
		filter store.BuildFilter
		want   []int64
	}{
		{"all", store.BuildFilter{}, []int64{linux.ID, mac.ID, b.ID}},
		{"of a builder", store.BuildFilter{Builder: "linux"}, []int64{linux.ID, b.ID}},
		{"on a worker", store.BuildFilter{Worker: "w2"}, nil},
		{"running", store.BuildFilter{Running: new(true)}, []int64{linux.ID, mac.ID}},
		{"finished", store.BuildFilter{Running: new(false), Worker: "w1"}, []int64{b.ID}},
		{"a page", store.BuildFilter{Before: linux.ID, Limit: 1}, []int64{mac.ID}},
	} {
		builds, err := f.Builds(ctx, c.filter)
		check(t, err)
		same(t, c.name, buildIDs(builds), c.want)
	}
	unfinished, err := f.UnfinishedBuilds(ctx)
	check(t, err)
	same(t, "unfinished", buildIDs(unfinished), []int64{mac.ID, linux.ID})
}

func buildIDs(builds []dormouse.Build) []int64 {
	var out []int64
	for _, b := range builds {
		out = append(out, b.ID)
	}
	return out
}

func testRequeue(t *testing.T, f *fixture) {
	ctx := t.Context()
	first := f.submit(t, "x")
	second := f.submit(t, "x")
	b, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: first.ID, StartedAt: at(1)})
	check(t, err)
	check(t, f.finish(ctx, b.ID, store.Ending{
		Result: dormouse.Retry, StateString: "the worker was lost", At: at(2), Requeue: true, Lost: true, NotBefore: at(30),
	}))
	first.BuildID, first.Lost, first.NotBefore = b.ID, 1, at(30)
	pending, err := f.PendingRequests(ctx)
	check(t, err)
	same(t, "the queue", pending, []dormouse.BuildRequest{first, second})

	again, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: first.ID, StartedAt: at(3)})
	check(t, err)
	defer func() {
		taken := store.Ending{Result: dormouse.Retry, StateString: "EC2 takes it", At: at(4), Requeue: true, Interrupted: true}
		check(t, f.finish(ctx, again.ID, taken))
		got, err := f.Request(ctx, first.ID)
		check(t, err)
		if got.Interrupted != 1 || got.Lost != 1 || !got.NotBefore.IsZero() || got.State != dormouse.RequestPending {
			t.Errorf("after an interruption: %+v", got)
		}
		check(t, f.finish(ctx, again.ID, taken)) // the answer may have been lost
		unchanged, err := f.Request(ctx, first.ID)
		check(t, err)
		same(t, "ended twice", unchanged, got)
		otherwise := taken
		otherwise.At = at(5)
		refused(t, "otherwise", f.finish(ctx, again.ID, otherwise), dormouse.Conflict)

		last, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: first.ID, StartedAt: at(6)})
		check(t, err)
		check(t, f.finish(ctx, last.ID, store.Ending{Result: dormouse.Exception, At: at(7), Lost: true}))
		got, err = f.Request(ctx, first.ID)
		check(t, err)
		if got.Lost != 2 || got.State != dormouse.RequestComplete || *got.Result != dormouse.Exception {
			t.Errorf("after the last try: %+v", got)
		}
		retried, err := f.RetriedBuilds(ctx, first.ID)
		check(t, err)
		var tries []int
		for _, b := range append(retried, last) {
			tries = append(tries, b.Try)
		}
		same(t, "the tries, of which EC2 interrupted one", tries, []int{1, 2, 2})
	}()
	if again.Number != 2 || again.Try != 2 {
		t.Errorf("number %d, try %d, want 2 and 2", again.Number, again.Try)
	}
	got, err := f.Request(ctx, first.ID)
	check(t, err)
	if got.BuildID != again.ID {
		t.Errorf("the request names build %d, want the newest, %d", got.BuildID, again.ID)
	}
}

// testClaimedOnce has many try to start the same requests.
func testClaimedOnce(t *testing.T, f *fixture) {
	ctx := t.Context()
	const requests, rivals = 10, 4
	var want []int64
	for range requests {
		want = append(want, f.submit(t, "x").ID)
	}
	var mu sync.Mutex
	var got []int64
	var wg sync.WaitGroup
	for range rivals {
		wg.Go(func() {
			for _, id := range want {
				b, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: id, StartedAt: at(1)})
				if err != nil {
					refused(t, "a request that another started", err, dormouse.Conflict)
					continue
				}
				mu.Lock()
				got = append(got, b.RequestID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(got)
	same(t, "requests that were started", got, want)
}

// testNumbers starts builds of two builders at once, with failures between.
func testNumbers(t *testing.T, f *fixture) {
	ctx := t.Context()
	const each = 15
	builders := []string{"a", "b"}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range each {
				r, err := f.SubmitRequests(ctx, []dormouse.BuildRequest{{Builder: builders[i%2]}})
				if err != nil {
					t.Error(err)
					return
				}
				b, _, err := f.StartBuild(ctx, store.NewBuild{RequestID: r[0].ID, StartedAt: at(1)})
				if err != nil {
					t.Error(err)
					return
				}
				_, _, err = f.StartBuild(ctx, store.NewBuild{RequestID: r[0].ID, StartedAt: at(1)})
				refused(t, "starting twice", err, dormouse.Conflict)
				if err := f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, At: at(2)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, builder := range builders {
		builds, err := f.Builds(ctx, store.BuildFilter{Builder: builder, Limit: 1000})
		check(t, err)
		checkNumbers(t, builder, builds, 2*each)
	}
}

func checkNumbers(t testing.TB, builder string, builds []dormouse.Build, want int) {
	t.Helper()
	var numbers []int
	for _, b := range builds {
		numbers = append(numbers, b.Number)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != i+1 {
			t.Fatalf("builder %s has numbers %v, want 1 to %d", builder, numbers, want)
		}
	}
	if len(numbers) != want {
		t.Errorf("builder %s has %d builds, want %d", builder, len(numbers), want)
	}
}

func testProperties(t *testing.T, f *fixture) {
	ctx := t.Context()
	b := f.start(t, "x")
	check(t, f.SetProperties(ctx, b.ID, dormouse.Properties{
		"s": {Value: "text", Source: "a"}, "n": {Value: 1000000, Source: "a"}, "f": {Value: 1.5, Source: "a"},
		"nil": {Source: "a"}, "big": {Value: json.Number("123456789012345678901234567890"), Source: "a"},
	}))
	check(t, f.SetProperties(ctx, b.ID, dormouse.Properties{
		"s": {Value: map[string]any{"k": []any{1, "x"}}, Source: "b"},
	}))
	got, err := f.Build(ctx, b.ID)
	check(t, err)
	same(t, "properties", got.Properties, dormouse.Properties{
		"s": {Value: map[string]any{"k": []any{int64(1), "x"}}, Source: "b"}, "n": {Value: int64(1000000), Source: "a"},
		"f": {Value: 1.5, Source: "a"}, "nil": {Source: "a"},
		"big": {Value: json.Number("123456789012345678901234567890"), Source: "a"},
	})
	builds, err := f.Builds(ctx, store.BuildFilter{})
	check(t, err)
	if builds[0].Properties != nil {
		t.Error("a listing holds properties")
	}
	refused(t, "properties of no build", f.SetProperties(ctx, 999, dormouse.Properties{"x": {}}), dormouse.NotFound)
	refused(t, "a value that is not JSON",
		f.SetProperties(ctx, b.ID, dormouse.Properties{"x": {Value: func() {}}}), dormouse.Invalid)
}

func testSteps(t *testing.T, f *fixture) {
	ctx := t.Context()
	b := f.start(t, "x")
	second := f.step(t, b.ID, 1)
	first := f.step(t, b.ID, 0)
	_, err := f.StartStep(ctx, dormouse.Step{BuildID: b.ID, Index: 1})
	refused(t, "an index twice", err, dormouse.Conflict)
	_, err = f.StartStep(ctx, dormouse.Step{BuildID: 999})
	refused(t, "a step of no build", err, dormouse.NotFound)

	check(t, f.finishStep(ctx, first.ID, dormouse.Warnings, "2 warnings", true, at(4)))
	first.FinishedAt, first.Result, first.StateString, first.Hidden = at(4), new(dormouse.Warnings), "2 warnings", true
	refused(t, "finishing twice", f.finishStep(ctx, first.ID, dormouse.Success, "", false, at(5)), dormouse.Conflict)
	refused(t, "finishing none", f.finishStep(ctx, 999, dormouse.Success, "", false, at(5)), dormouse.NotFound)

	out, err := f.NewLog(ctx, second.ID, "stdio", dormouse.LogStdio)
	check(t, err)
	html, err := f.NewLog(ctx, second.ID, "report", dormouse.LogHTML)
	check(t, err)
	second.Logs = []dormouse.Log{out, html}
	got, err := f.Steps(ctx, b.ID)
	check(t, err)
	same(t, "steps", got, []dormouse.Step{first, second})
	_, err = f.Steps(ctx, 999)
	refused(t, "steps of no build", err, dormouse.NotFound)

	check(t, f.finish(ctx, b.ID, store.Ending{Result: dormouse.Success, At: at(9)}))
	_, err = f.StartStep(ctx, dormouse.Step{BuildID: b.ID, Index: 2})
	refused(t, "a step of a finished build", err, dormouse.Conflict)
	_, err = f.NewLog(ctx, first.ID, "late", dormouse.LogText)
	refused(t, "a log of a finished step", err, dormouse.Conflict)
}
