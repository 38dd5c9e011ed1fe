package web_test

import (
	"encoding/json"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

type openAPI struct {
	Paths map[string]map[string]struct {
		OperationID string         `json:"operationId"`
		Summary     string         `json:"summary"`
		Responses   map[string]any `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`
}

func description(t *testing.T, s *served) openAPI {
	t.Helper()
	var d openAPI
	if err := json.NewDecoder(s.request(t, "GET", "/api/openapi.json", nil).Body).Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// recorder remembers the calls that go through it, and answers none.
type recorder struct {
	mu    sync.Mutex
	calls []string
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, strings.ToLower(req.Method)+" "+req.URL.Path)
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// Every call of the client is in the description, and the reverse.
func TestClientAndDescriptionAgree(t *testing.T) {
	s := serve(t, nil)
	described := map[string]bool{} // whether the client makes the call
	patterns := map[string]*regexp.Regexp{}
	for path, ops := range description(t, s).Paths {
		for method, op := range ops {
			call := method + " " + path
			described[call] = false
			patterns[call] = regexp.MustCompile("^" + regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(call, "[^/]+") + "$")
			if op.OperationID == "" || op.Summary == "" || op.Responses["default"] == nil {
				t.Errorf("%s lacks a name, a summary or its errors", call)
			}
		}
	}

	rec := &recorder{}
	c, err := client.New(s.url, token, client.WithTransport(rec))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, _ = c.Master(ctx)
	_, _ = c.Builders(ctx)
	_, _ = c.Builder(ctx, "b")
	_, _ = c.Force(ctx, web.ForceRequest{Builder: "b"})
	_, _ = c.Requests(ctx, web.RequestQuery{})
	_, _ = c.Request(ctx, 1)
	_ = c.CancelRequest(ctx, 1)
	_, _ = c.Builds(ctx, web.BuildQuery{})
	_, _ = c.Build(ctx, 1)
	_, _ = c.BuildByNumber(ctx, "b", 1)
	_, _ = c.Steps(ctx, 1)
	_ = c.StopBuild(ctx, 1, "")
	_, _ = c.Artifacts(ctx, 1, "")
	_, _ = c.Artifact(ctx, 1, "p")
	_, _ = c.Log(ctx, 1)
	_, _ = c.LogLines(ctx, 1, 0, 0)
	for range c.FollowLog(ctx, 1, 0) {
	}
	for range c.Events(ctx, client.EventQuery{}) {
	}
	_, _ = c.Story(ctx, 1)
	_, _ = c.Workers(ctx)
	_, _ = c.Worker(ctx, "w")
	_ = c.PauseWorker(ctx, "w", true)
	_ = c.PauseWorker(ctx, "w", false)
	_ = c.RetryWorker(ctx, "w")
	_ = c.StopWorker(ctx, "w", false)
	_, _ = c.Instances(ctx, false)
	_, _ = c.Leftovers(ctx, false)
	_, _ = c.Leftovers(ctx, true)
	_, _ = c.Cost(ctx, web.CostQuery{})

	for _, call := range rec.calls {
		found := false
		for d, p := range patterns {
			if p.MatchString(call) {
				found, described[d] = true, true
			}
		}
		if !found {
			t.Errorf("the client calls %s, which is not described", call)
		}
	}
	// The one call that is for browsers and curl.
	described["get /api/v1/logs/{id}/raw"] = true
	for call, used := range described {
		if !used {
			t.Errorf("%s is described, but the client does not have it", call)
		}
	}
}

// The list in the package's documentation is the API's.
func TestDocumentationListsEveryPath(t *testing.T) {
	s := serve(t, nil)
	src, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(gotoken.NewFileSet(), "doc.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	doc := f.Doc.Text()
	for _, path := range slices.Sorted(maps.Keys(description(t, s).Paths)) {
		name := path
		for _, verb := range []string{"/unpause", "/retry", "/stop"} {
			name = strings.TrimSuffix(name, verb)
		}
		if strings.HasPrefix(path, "/api/v1/workers/") && name != path {
			name += "/pause"
		}
		if !strings.Contains(doc, name) {
			t.Errorf("the documentation does not list %s", path)
		}
	}
}
