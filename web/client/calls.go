package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

// Master says which master this is.
func (c *Client) Master(ctx context.Context) (web.MasterInfo, error) {
	var out web.MasterInfo
	return out, c.call(ctx, http.MethodGet, path("master"), nil, nil, &out)
}

// Builders lists the configured builders.
func (c *Client) Builders(ctx context.Context) ([]web.BuilderInfo, error) {
	var out struct {
		Builders []web.BuilderInfo `json:"builders"`
	}
	err := c.call(ctx, http.MethodGet, path("builders"), nil, nil, &out)
	return out.Builders, err
}

// Builder returns one builder.
func (c *Client) Builder(ctx context.Context, name string) (web.BuilderInfo, error) {
	var out web.BuilderInfo
	return out, c.call(ctx, http.MethodGet, path("builders", name), nil, nil, &out)
}

type requestList struct {
	Requests []dormouse.BuildRequest `json:"buildrequests"`
}

// Force makes build requests by hand.
func (c *Client) Force(ctx context.Context, req web.ForceRequest) ([]dormouse.BuildRequest, error) {
	var out requestList
	err := c.call(ctx, http.MethodPost, path("builders", req.Builder, "force"), nil, req, &out)
	return out.Requests, err
}

// Requests lists build requests, the newest first.
func (c *Client) Requests(ctx context.Context, q web.RequestQuery) ([]dormouse.BuildRequest, error) {
	v := url.Values{}
	setText(v, "builder", q.Builder)
	setText(v, "state", string(q.State))
	setInt(v, "parent", q.Parent)
	setInt(v, "before", q.Before)
	setInt(v, "limit", int64(q.Limit))
	var out requestList
	err := c.call(ctx, http.MethodGet, path("buildrequests"), v, nil, &out)
	return out.Requests, err
}

// Request returns one build request.
func (c *Client) Request(ctx context.Context, id int64) (dormouse.BuildRequest, error) {
	var out dormouse.BuildRequest
	return out, c.call(ctx, http.MethodGet, path("buildrequests", num(id)), nil, nil, &out)
}

// Story returns all there is to say about why a build request waits.
func (c *Client) Story(ctx context.Context, id int64) (dormouse.Story, error) {
	var out dormouse.Story
	return out, c.call(ctx, http.MethodGet, path("buildrequests", num(id), "story"), nil, nil, &out)
}

// CancelRequest cancels a build request and stops its build.
func (c *Client) CancelRequest(ctx context.Context, id int64) error {
	return c.call(ctx, http.MethodPost, path("buildrequests", num(id), "cancel"), nil, nil, nil)
}

// Builds lists builds, the newest first.
func (c *Client) Builds(ctx context.Context, q web.BuildQuery) ([]dormouse.Build, error) {
	v := url.Values{}
	setText(v, "builder", q.Builder)
	setText(v, "worker", q.Worker)
	if q.Running != nil {
		v.Set("running", strconv.FormatBool(*q.Running))
	}
	setInt(v, "before", q.Before)
	setInt(v, "limit", int64(q.Limit))
	var out struct {
		Builds []dormouse.Build `json:"builds"`
	}
	err := c.call(ctx, http.MethodGet, path("builds"), v, nil, &out)
	return out.Builds, err
}

// Build returns one build.
func (c *Client) Build(ctx context.Context, id int64) (dormouse.Build, error) {
	var out dormouse.Build
	return out, c.call(ctx, http.MethodGet, path("builds", num(id)), nil, nil, &out)
}

// BuildByNumber returns a builder's build with a number.
func (c *Client) BuildByNumber(ctx context.Context, builder string, number int) (dormouse.Build, error) {
	var out dormouse.Build
	return out, c.call(ctx, http.MethodGet, path("builders", builder, "builds", num(int64(number))), nil, nil, &out)
}

// Steps lists a build's steps with their logs.
func (c *Client) Steps(ctx context.Context, buildID int64) ([]dormouse.Step, error) {
	var out struct {
		Steps []dormouse.Step `json:"steps"`
	}
	err := c.call(ctx, http.MethodGet, path("builds", num(buildID), "steps"), nil, nil, &out)
	return out.Steps, err
}

// StopBuild interrupts a running build.
func (c *Client) StopBuild(ctx context.Context, id int64, reason string) error {
	return c.call(ctx, http.MethodPost, path("builds", num(id), "stop"), nil, web.StopRequest{Reason: reason}, nil)
}

// Artifacts lists the files that a build has kept, by path, from the first one
// behind a path on.
func (c *Client) Artifacts(ctx context.Context, buildID int64, after string) ([]dormouse.Artifact, error) {
	v := url.Values{}
	setText(v, "after", after)
	var out struct {
		Artifacts []dormouse.Artifact `json:"artifacts"`
	}
	err := c.call(ctx, http.MethodGet, path("builds", num(buildID), "artifacts"), v, nil, &out)
	return out.Artifacts, err
}

// Artifact opens one file that a build has kept. Its bytes end early, with an
// error, when the connection does.
func (c *Client) Artifact(ctx context.Context, buildID int64, name string) (io.ReadCloser, error) {
	req, err := c.newRequest(ctx, http.MethodGet, path("builds", num(buildID), "artifacts", "raw"), url.Values{"path": {name}}, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Log returns a log's name and size.
func (c *Client) Log(ctx context.Context, id int64) (dormouse.Log, error) {
	var out dormouse.Log
	return out, c.call(ctx, http.MethodGet, path("logs", num(id)), nil, nil, &out)
}

// LogLines returns lines of a log from first on, at most limit (0 for as many
// as come at once); none only where none is left.
func (c *Client) LogLines(ctx context.Context, id, first, limit int64) ([]web.Line, error) {
	v := url.Values{}
	setInt(v, "first", first)
	setInt(v, "limit", limit)
	var out web.LogContents
	err := c.call(ctx, http.MethodGet, path("logs", num(id), "contents"), v, nil, &out)
	return out.Lines, err
}

// Workers lists the configured workers.
func (c *Client) Workers(ctx context.Context) ([]dormouse.WorkerStatus, error) {
	var out struct {
		Workers []dormouse.WorkerStatus `json:"workers"`
	}
	err := c.call(ctx, http.MethodGet, path("workers"), nil, nil, &out)
	return out.Workers, err
}

// Worker returns one worker.
func (c *Client) Worker(ctx context.Context, name string) (dormouse.WorkerStatus, error) {
	var out dormouse.WorkerStatus
	return out, c.call(ctx, http.MethodGet, path("workers", name), nil, nil, &out)
}

// PauseWorker keeps new builds from a worker, or lets them come again.
func (c *Client) PauseWorker(ctx context.Context, name string, paused bool) error {
	verb := "unpause"
	if paused {
		verb = "pause"
	}
	return c.call(ctx, http.MethodPost, path("workers", name, verb), nil, nil, nil)
}

// RetryWorker ends a worker's quarantine, and has it tried again at once.
func (c *Client) RetryWorker(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, path("workers", name, "retry"), nil, nil, nil)
}

// StopWorker shuts a worker down, at once where fast.
func (c *Client) StopWorker(ctx context.Context, name string, fast bool) error {
	return c.call(ctx, http.MethodPost, path("workers", name, "stop"), nil, web.StopWorkerRequest{Fast: fast}, nil)
}

// Instances lists the instances that live, or all there ever were.
func (c *Client) Instances(ctx context.Context, all bool) ([]dormouse.Instance, error) {
	v := url.Values{}
	if all {
		v.Set("all", "true")
	}
	var out struct {
		Instances []dormouse.Instance `json:"instances"`
	}
	err := c.call(ctx, http.MethodGet, path("instances"), v, nil, &out)
	return out.Instances, err
}

// Leftovers returns what was left behind in the accounts; with reap what may be
// ended is.
func (c *Client) Leftovers(ctx context.Context, reap bool) (dormouse.LeftoverReport, error) {
	var out dormouse.LeftoverReport
	if reap {
		return out, c.call(ctx, http.MethodPost, path("leftovers", "reap"), nil, nil, &out)
	}
	return out, c.call(ctx, http.MethodGet, path("leftovers"), nil, nil, &out)
}

// Cost returns what instances cost in a range, by default in this month.
func (c *Client) Cost(ctx context.Context, q web.CostQuery) (dormouse.CostReport, error) {
	v := url.Values{}
	setText(v, "by", string(q.By))
	setTime(v, "from", q.From)
	setTime(v, "to", q.To)
	var out dormouse.CostReport
	return out, c.call(ctx, http.MethodGet, path("cost"), v, nil, &out)
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

func setText(v url.Values, key, text string) {
	if text != "" {
		v.Set(key, text)
	}
}

func setTime(v url.Values, key string, t time.Time) {
	if !t.IsZero() {
		v.Set(key, t.Format(time.RFC3339Nano))
	}
}

func setInt(v url.Values, key string, n int64) {
	if n != 0 {
		v.Set(key, num(n))
	}
}
