package schedule

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Request is a waiting build request, as far as planning looks at it.
type Request struct {
	ID          int64
	Builder     string
	Priority    int // higher goes first
	SubmittedAt time.Time
	Sources     []dormouse.SourceStamp
	Properties  dormouse.Properties
	// NoCollapse keeps the request from being merged into another, and others
	// from being merged into it.
	NoCollapse bool
}

// Builder is a configured builder, as far as planning looks at it.
type Builder struct {
	Name             string
	WorkerNames      []string
	CollapseRequests bool
}

// Worker is a configured worker as it is now. One that is paused or graceful
// takes no new builds, whatever else is said of it; one that is ready is
// neither started nor waited for.
type Worker struct {
	Name      string
	Latent    bool
	Ready     bool // attached, and may take builds now
	Builds    int  // that run on it now
	MaxBuilds int  // 0 is no limit
	// RunningBuilders are the builders it runs a build of now: it can not run
	// a second build of any of them at the same time.
	RunningBuilders []string
	Paused          bool
	Graceful        bool
	Starting        bool // latent, and substantiating
	Startable       bool // latent, and may be substantiated now
	// Reason says why the worker is neither ready nor startable: quarantine,
	// what EC2 answered, and so on. It is quoted to whoever waits.
	Reason string
}

// Input is everything a plan is made from.
type Input struct {
	Requests []Request
	Builders []Builder
	Workers  []Worker // in the order of the configuration, which is that of preference
}

// Assignment gives a request to a ready worker.
type Assignment struct {
	RequestID       int64
	Builder, Worker string
}

// Collapse merges a request into a newer one, which makes it superfluous.
type Collapse struct{ RequestID, Into int64 }

// Result is a plan. Each request of the input is in exactly one of
// Assignments, Collapses and Waiting.
type Result struct {
	Assignments []Assignment // in the order the requests were served
	// Demand says of each latent worker that should be substantiated, or stay
	// so, how many waiting requests it is for. All others are not needed.
	Demand    map[string]int
	Collapses []Collapse
	// Waiting says why a request stays, in words. It is never empty.
	Waiting map[int64]string
}

// Plan decides what to do with the waiting requests. Equal inputs give equal
// plans.
func Plan(in Input) Result {
	return Result{Demand: map[string]int{}, Waiting: map[int64]string{}}
}
