package web

import (
	"context"
	"io"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Service is what the API serves: the master, seen from outside.
//
// Methods return a [dormouse.Error] whose code becomes the HTTP status; any
// other error is logged and answered as an internal one without its text. All
// methods may be called concurrently, and stop early when ctx ends.
type Service interface {
	// Info describes the master itself.
	Info() MasterInfo

	// Builders lists the configured builders, by name.
	Builders() []BuilderInfo

	// Force makes build requests by hand and returns them once they are
	// durable.
	Force(ctx context.Context, req ForceRequest) ([]dormouse.BuildRequest, error)

	// Requests lists build requests, the newest first.
	Requests(ctx context.Context, q RequestQuery) ([]dormouse.BuildRequest, error)
	Request(ctx context.Context, id int64) (dormouse.BuildRequest, error)
	// CancelRequest ends a request: a pending one is complete at once, the
	// build of a claimed one is stopped. A complete one is a Conflict.
	CancelRequest(ctx context.Context, id int64) error

	// Builds lists builds, the newest (highest id) first.
	Builds(ctx context.Context, q BuildQuery) ([]dormouse.Build, error)
	Build(ctx context.Context, id int64) (dormouse.Build, error)
	BuildByNumber(ctx context.Context, builder string, number int) (dormouse.Build, error)
	// Steps lists a build's steps in their order, each with its logs.
	Steps(ctx context.Context, buildID int64) ([]dormouse.Step, error)
	// StopBuild interrupts a running build; one that has ended is a Conflict.
	StopBuild(ctx context.Context, id int64, reason string) error

	// Artifacts lists the files that a build has kept, by path, from the first
	// one behind a path on.
	Artifacts(ctx context.Context, buildID int64, after string, limit int) ([]dormouse.Artifact, error)
	// OpenArtifact opens one of them.
	OpenArtifact(ctx context.Context, buildID int64, path string) (dormouse.Artifact, io.ReadSeekCloser, error)

	Log(ctx context.Context, id int64) (dormouse.Log, error)
	// LogLines returns the lines from first on (counting from 0) that are
	// durable, at most limit. It may return fewer, so as not to hold more than
	// about 1 MiB of text beyond the first line, and none only where none is
	// left.
	LogLines(ctx context.Context, id, first, limit int64) ([]dormouse.LogLine, error)

	// Workers lists the configured workers, by name.
	Workers(ctx context.Context) ([]dormouse.WorkerStatus, error)
	// PauseWorker keeps new builds from a worker, or lets them come again.
	PauseWorker(ctx context.Context, name string, paused bool) error
	// RetryWorker ends a worker's quarantine, and has it tried again at once.
	RetryWorker(ctx context.Context, name string) error
	// StopWorker shuts a worker down: when its builds have ended, or at once
	// where fast.
	StopWorker(ctx context.Context, name string, fast bool) error

	// Instances lists the instances that live, or with all every one that ever
	// did, the newest first.
	Instances(ctx context.Context, all bool) ([]dormouse.Instance, error)
	// Leftovers looks in every account for what no live generation has use for,
	// and with reap ends what may be ended.
	Leftovers(ctx context.Context, reap bool) (dormouse.LeftoverReport, error)
	// Story tells all there is to say about why a request waits.
	Story(ctx context.Context, id int64) (dormouse.Story, error)
	// Cost adds up what instances cost in a range, as far as is known now.
	Cost(ctx context.Context, q CostQuery) (dormouse.CostReport, error)

	// Subscribe returns the events from now on, in order and without gaps,
	// until cancel is called. The channel is bounded: where its reader is too
	// slow it is closed, and the reader subscribes anew and reads back.
	Subscribe() (events <-chan dormouse.Event, cancel func())
}

// MasterInfo says which master this is.
type MasterInfo struct {
	Title       string    `json:"title" doc:"What the installation calls itself"`
	Version     string    `json:"version" doc:"The version of Dormouse it runs"`
	BuildbotURL string    `json:"buildbot_url,omitempty" doc:"The address people reach it at"`
	StartedAt   time.Time `json:"started_at" doc:"When this process started to serve"`
	Draining    bool      `json:"draining,omitempty" doc:"It is shutting down: builds that run may end, no more are started"`
}

// BuilderInfo is a configured builder with what is going on in it.
type BuilderInfo struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags,omitempty" nullable:"false"`
	Workers     []string `json:"workers" nullable:"false" doc:"Names of the workers that may run it"`
	Forceable   bool     `json:"forceable" doc:"Whether a ForceScheduler lets people start it by hand"`
	Pending     int      `json:"pending" doc:"Build requests that wait"`
	Running     int      `json:"running" doc:"Builds that run"`
}

// ForceRequest asks for builds by hand.
type ForceRequest struct {
	// Builder is named by the path.
	Builder    string         `json:"-"`
	Scheduler  string         `json:"scheduler,omitempty" maxLength:"200" doc:"The ForceScheduler to use; needed only where several allow the builder"`
	Branch     string         `json:"branch,omitempty" maxLength:"1000"`
	Revision   string         `json:"revision,omitempty" maxLength:"1000"`
	Repository string         `json:"repository,omitempty" maxLength:"4000"`
	Codebase   string         `json:"codebase,omitempty" maxLength:"200"`
	Reason     string         `json:"reason,omitempty" maxLength:"4000" doc:"Why, for the people who see the build"`
	Properties map[string]any `json:"properties,omitempty" doc:"Properties of the build, with the source 'Force Build Form'"`
	Priority   int            `json:"priority,omitempty" doc:"Higher goes first"`
	Count      int            `json:"count,omitempty" minimum:"0" maximum:"1000" doc:"How many requests to make; 0 is 1"`
}

// RequestQuery narrows a list of build requests. Its zero value is the newest
// of all.
type RequestQuery struct {
	Builder string
	State   dormouse.RequestState // empty for any
	Parent  int64                 // only those that this build has made; 0 for any
	Before  int64                 // ids below this; 0 for the newest
	Limit   int                   // 1 to MaxPage when it comes from the API
}

// BuildQuery narrows a list of builds. Its zero value is the newest of all.
type BuildQuery struct {
	Builder string
	Worker  string
	Running *bool // nil for both
	Before  int64 // ids below this; 0 for the newest
	Limit   int   // 1 to MaxPage when it comes from the API
}

// CostQuery says what a cost report is of. From the API it comes complete, and
// no longer than a year; to the API, a zero field is left out.
type CostQuery struct {
	By   dormouse.CostBy
	From time.Time
	To   time.Time // not included
}

// Sizes of a page of a list. A thousand builds are about half a megabyte of
// JSON, which is as much as one answer should be.
const (
	DefaultPage = 50
	MaxPage     = 1000
)
