package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/webtest"
)

func readCloser(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }

func copyTo(w io.Writer, r io.Reader) (int64, error) { return io.Copy(w, r) }

// a fixed time that survives JSON as it is.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// one runs a call and fails the test where it fails.
func one[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestEveryCall(t *testing.T) {
	var m *webtest.Master
	s := serve(t, func(o *web.Options) {
		m = o.Service.(*webtest.Master)
		m.Now = func() time.Time { return noon }
	})
	ctx := t.Context()
	same := func(what string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	if got := one[web.MasterInfo](t)(s.Client.Master(ctx)); got.Version != "v0-test" {
		t.Errorf("the master is %+v", got)
	}
	same("builders", one[[]web.BuilderInfo](t)(s.Client.Builders(ctx)), m.Builders())
	same("builder", one[web.BuilderInfo](t)(s.Client.Builder(ctx, "nightly")), m.Builders()[1])

	made := one[[]dormouse.BuildRequest](t)(s.Client.Force(ctx, web.ForceRequest{
		Builder: "linux", Branch: "main", Revision: "abc", Reason: "why not", Priority: 3, Count: 2,
		Properties: map[string]any{"n": 1.5, "list": []any{"a", true, nil}},
	}))
	if len(made) != 2 {
		t.Fatalf("made %d requests", len(made))
	}
	same("calls", m.Calls(), []string{"force linux count=2 branch=main revision=abc reason=why not priority=3 properties=map[list:[a true <nil>] n:1.5]"})
	same("request", one[dormouse.BuildRequest](t)(s.Client.Request(ctx, 1)), made[0])
	same("requests", one[[]dormouse.BuildRequest](t)(s.Client.Requests(ctx, web.RequestQuery{Builder: "linux", State: "pending", Limit: 1})), made[1:])
	same("page", one[[]dormouse.BuildRequest](t)(s.Client.Requests(ctx, web.RequestQuery{Before: 2})), made[:1])

	b := m.Start(1, "w1", "i-1")
	step, log := m.Step(b.ID, "compile")
	m.Append(log.ID,
		dormouse.LogLine{Stream: dormouse.Header, Time: noon, Text: "make"},
		dormouse.LogLine{Stream: dormouse.Stdout, Time: noon, Text: "ünï ☃ \u2028 <&> \x1b[31m"},
		dormouse.LogLine{Stream: dormouse.Stderr, Time: noon, Text: ""},
	)
	same("build", one[dormouse.Build](t)(s.Client.Build(ctx, b.ID)), b)
	same("build by number", one[dormouse.Build](t)(s.Client.BuildByNumber(ctx, "linux", 1)), b)
	same("running builds", one[[]dormouse.Build](t)(s.Client.Builds(ctx, web.BuildQuery{Worker: "w1", Running: new(true)})), []dormouse.Build{b})
	same("builds that have ended", one[[]dormouse.Build](t)(s.Client.Builds(ctx, web.BuildQuery{Running: new(false)})), []dormouse.Build{})
	want := one[[]dormouse.Step](t)(m.Steps(ctx, b.ID))
	same("steps", one[[]dormouse.Step](t)(s.Client.Steps(ctx, b.ID)), want)
	same("log", one[dormouse.Log](t)(s.Client.Log(ctx, log.ID)), want[0].Logs[0])
	same("lines", one[[]web.Line](t)(s.Client.LogLines(ctx, log.ID, 1, 5)), []web.Line{
		{Number: 1, Stream: "o", Time: noon, Text: "ünï ☃ \u2028 <&> \x1b[31m"},
		{Number: 2, Stream: "e", Time: noon},
	})
	raw := one[[]byte](t)(io.ReadAll(s.request(t, "GET", "/api/v1/logs/1/raw", nil).Body))
	same("raw log", string(raw), "make\nünï ☃ \u2028 <&> \x1b[31m\n\n")

	m.Keep(b.ID, "b/page.html", "<script>alert(1)</script>")
	m.Keep(b.ID, "a ☃", "")
	same("artifacts", one[[]dormouse.Artifact](t)(s.Client.Artifacts(ctx, b.ID, "")), one[[]dormouse.Artifact](t)(m.Artifacts(ctx, b.ID, "", 9)))
	same("the page behind one", len(one[[]dormouse.Artifact](t)(s.Client.Artifacts(ctx, b.ID, "a ☃"))), 1)
	file := one[io.ReadCloser](t)(s.Client.Artifact(ctx, b.ID, "b/page.html"))
	same("an artifact", string(one[[]byte](t)(io.ReadAll(file))), "<script>alert(1)</script>")
	file.Close()
	head := s.request(t, "GET", "/api/v1/builds/1/artifacts/raw?path=b/page.html", nil).Header
	same("how it is sent", []string{head.Get("Content-Type"), head.Get("Content-Disposition"), head.Get("X-Content-Type-Options"), head.Get("ETag")[:9]},
		[]string{"application/octet-stream", "attachment; filename=page.html", "nosniff", `"5c140d35`})
	if _, err := s.Client.Artifact(ctx, b.ID, "../../etc/passwd"); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Errorf("no such artifact: %v", err)
	}

	m.FinishStep(step.ID, dormouse.Success)
	m.Finish(b.ID, dormouse.Warnings)
	if got := one[dormouse.BuildRequest](t)(s.Client.Request(ctx, 1)); got.Result == nil || *got.Result != dormouse.Warnings {
		t.Errorf("the request is %+v", got)
	}

	m.SetWorker(dormouse.WorkerStatus{Name: "a/b c%2f", Phase: "connected"})
	same("workers", one[[]dormouse.WorkerStatus](t)(s.Client.Workers(ctx)), one[[]dormouse.WorkerStatus](t)(m.Workers(ctx)))
	same("a worker with a difficult name", one[dormouse.WorkerStatus](t)(s.Client.Worker(ctx, "a/b c%2f")),
		dormouse.WorkerStatus{Name: "a/b c%2f", Phase: "connected"})
	m.SetInstance(dormouse.Instance{ID: "i-1", State: dormouse.InstanceTerminated, PricePerHour: new(0.5)})
	m.SetInstance(dormouse.Instance{ID: "i-2", State: dormouse.InstanceRunning})
	same("instances", one[[]dormouse.Instance](t)(s.Client.Instances(ctx, false)), one[[]dormouse.Instance](t)(m.Instances(ctx, false)))
	same("all instances", one[[]dormouse.Instance](t)(s.Client.Instances(ctx, true)), one[[]dormouse.Instance](t)(m.Instances(ctx, true)))

	m.SetLeftovers(dormouse.LeftoverReport{
		Leftovers: []dormouse.Leftover{
			{Account: "a", Kind: dormouse.LeftoverInstance, ID: "i-9", Since: noon, Action: dormouse.ReapTerminate, Why: "nobody's"},
			{Account: "a", Kind: dormouse.LeftoverVolume, ID: "vol-9", Action: dormouse.ReapKeep, Why: "its data"},
		},
		Failed: map[string]string{"b": "AuthFailure"},
	})
	same("leftovers", one[dormouse.LeftoverReport](t)(s.Client.Leftovers(ctx, false)), one[dormouse.LeftoverReport](t)(m.Leftovers(ctx, false)))
	if r := one[dormouse.LeftoverReport](t)(s.Client.Leftovers(ctx, true)); !r.Leftovers[0].Done || r.Leftovers[1].Done {
		t.Errorf("reaping returns %+v", r)
	}
	if r := one[dormouse.LeftoverReport](t)(m.Leftovers(ctx, false)); len(r.Leftovers) != 1 {
		t.Errorf("after reaping there are %+v", r)
	}

	m.SetInstance(dormouse.Instance{
		ID: "i-1", Worker: "w1", State: dormouse.InstanceTerminated, PricePerHour: new(0.5),
		RunningAt: noon.Add(-time.Hour), EndedAt: noon.Add(time.Hour),
	})
	m.Now = func() time.Time { return noon.Add(2 * time.Hour) }
	if got := one[dormouse.Build](t)(s.Client.Build(ctx, b.ID)); got.Cost == nil || *got.Cost != 1 {
		t.Errorf("the build's cost is %v", got.Cost)
	}
	for _, by := range []dormouse.CostBy{dormouse.CostByDay, dormouse.CostByBuilder, dormouse.CostByWorker} {
		q := web.CostQuery{By: by, From: noon.AddDate(0, 0, -1), To: noon.Add(1)}
		r := one[dormouse.CostReport](t)(s.Client.Cost(ctx, q))
		same("cost by "+string(by), r, one[dormouse.CostReport](t)(m.Cost(ctx, q)))
		if len(r.Rows) != 1 || *r.Total.USD < 0.5 {
			t.Errorf("the cost by %s is %+v", by, r)
		}
	}

	for _, err := range []error{
		s.Client.CancelRequest(ctx, 2), s.Client.StopBuild(ctx, 1, "enough"),
		s.Client.PauseWorker(ctx, "w1", true), s.Client.PauseWorker(ctx, "w1", false),
		s.Client.RetryWorker(ctx, "w1"),
		s.Client.StopWorker(ctx, "a/b c%2f", true),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	same("what was done", m.Calls()[1:], []string{"cancel 2", "stop build 1: enough", "pause w1 true", "pause w1 false", "retry w1", "stop a/b c%2f fast=true"})
}

func TestErrors(t *testing.T) {
	s := serve(t, nil)
	ctx := t.Context()
	for _, c := range []struct {
		name string
		call func() error
		code dormouse.Code
		text string // part of the error's
	}{
		{"no such build", func() error { _, err := s.Client.Build(ctx, 9); return err }, dormouse.NotFound, "there is no build 9"},
		{"no such builder", func() error { _, err := s.Client.Force(ctx, web.ForceRequest{Builder: "x"}); return err }, dormouse.NotFound, "there are: linux, nightly"},
		{"may not be forced", func() error { _, err := s.Client.Force(ctx, web.ForceRequest{Builder: "nightly"}); return err }, dormouse.Invalid, "no ForceScheduler"},
		{"too many", func() error {
			_, err := s.Client.Force(ctx, web.ForceRequest{Builder: "linux", Count: 1001})
			return err
		}, dormouse.Invalid, "body.count"},
		{"a page too large", func() error { _, err := s.Client.Builds(ctx, web.BuildQuery{Limit: 1001}); return err }, dormouse.Invalid, "query.limit"},
		{"a page below nothing", func() error { _, err := s.Client.Builds(ctx, web.BuildQuery{Limit: -1}); return err }, dormouse.Invalid, "query.limit"},
		{"no such state", func() error { _, err := s.Client.Requests(ctx, web.RequestQuery{State: "lost"}); return err }, dormouse.Invalid, "query.state"},
		{"no such worker", func() error { return s.Client.PauseWorker(ctx, "w9", true) }, dormouse.NotFound, "w9"},
		{"lines of no log", func() error { _, err := s.Client.LogLines(ctx, 4, 0, 0); return err }, dormouse.NotFound, "log 4"},
		{"a stream of no log", func() error {
			for _, err := range s.Client.FollowLog(ctx, 4, 0) {
				return err
			}
			return nil
		}, dormouse.NotFound, "log 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.call()
			if dormouse.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %q of code %s, want %q of code %s", err, dormouse.CodeOf(err), c.text, c.code)
			}
		})
	}
}

func TestEveryCodeOfAnErrorSurvives(t *testing.T) {
	s := serve(t, nil)
	for _, code := range []dormouse.Code{
		dormouse.Invalid, dormouse.NotFound, dormouse.Conflict, dormouse.Unauthorized, dormouse.Unavailable,
		dormouse.Capacity, dormouse.Quota, dormouse.Budget, dormouse.Throttled, dormouse.Configuration, dormouse.Unanswered,
	} {
		s.Fail(dormouse.Errorf(code, "it is %s", code))
		_, err := s.Client.Workers(t.Context())
		if dormouse.CodeOf(err) != code || err.Error() != "it is "+string(code) {
			t.Errorf("%s came as %s: %v", code, dormouse.CodeOf(err), err)
		}
	}
}

func TestAnInternalErrorTellsNothing(t *testing.T) {
	s := serve(t, nil)
	s.Fail(errors.New("postgres://user:secret@db refused"))
	_, err := s.Client.Workers(t.Context())
	if dormouse.CodeOf(err) != dormouse.Internal || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "reference") {
		t.Errorf("error %v", err)
	}
}

func TestUnknownPathsAndParameters(t *testing.T) {
	s := serve(t, nil)
	for path, want := range map[string]int{
		"/":                              404,
		"/api/v1/nothing":                404,
		"/api/v1/builds?limt=5":          422,
		"/api/v1/builds/x":               422,
		"/api/v1/builds/0":               422,
		"/api/v1/builds?running=maybe":   422,
		"/api/v1/events?kind=bild":       422,
		"/api/v1/cost?by=month":          422,
		"/api/v1/logs/1/contents?first=": 404, // an empty parameter is none
	} {
		resp := s.request(t, "GET", path, nil)
		if resp.StatusCode != want || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: status %d of %s, want %d", path, resp.StatusCode, resp.Header.Get("Content-Type"), want)
		}
	}
}

func TestHealth(t *testing.T) {
	var sick error
	s := serve(t, func(o *web.Options) {
		o.Health = func(context.Context) error { return sick }
	})
	if got := s.request(t, "GET", "/healthz", nil).StatusCode; got != http.StatusOK {
		t.Errorf("healthy: %d", got)
	}
	sick = errors.New("the store says: secret")
	resp := s.request(t, "GET", "/healthz", nil)
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || strings.Contains(string(body), "secret") {
		t.Errorf("sick: %d %s", resp.StatusCode, body)
	}
}
