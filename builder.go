package dormouse

import "time"

// Builder is a configured kind of build: its steps and the workers that may
// run them.
type Builder struct {
	Name        string
	Description string
	WorkerNames []string
	// BuildDir is the directory below the worker's base directory, by default
	// made from the name.
	BuildDir   string
	Steps      []StepSpec
	Env        map[string]any // values: string or Renderable
	Properties map[string]any // values: JSON or Renderable
	// DefaultProperties are properties of builds that have none of that name.
	DefaultProperties map[string]any
	Tags              []string
	// Locks are held by each of its builds, from start to end.
	Locks []LockAccess
	// CollapseRequests says whether a waiting request may be merged into a
	// newer compatible one. Buildbot's default, and ours, is true.
	CollapseRequests bool
	// MaxRetries is how often a request is tried again whose build has lost its
	// worker; 0 is never.
	MaxRetries int
	// Choose are the configuration's own functions over its queue.
	Choose Choices `json:"-"`
}

// Choices are functions of the configuration that decide over a builder's
// requests; each may be nil. They are called again and again, from one goroutine
// at a time, and have no effects. After an error the requests wait, with it as
// the reason.
type Choices struct {
	// NextBuild returns the id of the request that goes next, one of those that
	// it is given, which are in their order; 0 for none now.
	NextBuild func(requests []BuildRequest) (id int64, err error)
	// NextWorker returns which of the workers takes the request; "" for none now.
	NextWorker func(workers []string, r BuildRequest) (worker string, err error)
	// CanStartBuild says whether a worker may take a request.
	CanStartBuild func(worker string, r BuildRequest) (bool, error)
	// Collapse says whether the older request may be merged into the newer one; it
	// takes the place of the rule for it.
	Collapse func(newer, older BuildRequest) (bool, error)
}

// Any reports whether there is some function.
func (c Choices) Any() bool {
	return c.NextBuild != nil || c.NextWorker != nil || c.CanStartBuild != nil || c.Collapse != nil
}

// ForceScheduler lets people start builds by hand. It is also the permission
// to: a builder that no ForceScheduler names can not be forced.
type ForceScheduler struct {
	Name         string
	BuilderNames []string
}

// Triggerable is a scheduler that [Trigger] steps ask for builds.
type Triggerable struct {
	Name         string
	BuilderNames []string
	Properties   map[string]any // given to each request; JSON
	// Codebases are the sources of its builds where the step gives none, by
	// codebase.
	Codebases map[string]SourceStamp
	Priority  int
}

// StepSpec is a configured step: what it does, and what its result means for
// the build.
type StepSpec struct {
	Name   string
	Action StepAction

	HaltOnFailure   bool // a failure ends the build, but for AlwaysRun steps
	FlunkOnFailure  bool // a failure makes the build a failure
	WarnOnFailure   bool // a failure makes the build end with warnings
	FlunkOnWarnings bool
	WarnOnWarnings  bool
	AlwaysRun       bool // runs after a failure that halted the build, too

	// DoStepIf says whether the step runs: a bool, or a Renderable whose rendering
	// counts as Python counts it. nil is always.
	DoStepIf any
	// HideStepIf is the same for whether the step is hidden once it has ended;
	// Scope.Step then has its result. nil is never.
	HideStepIf any

	Description     string // while it runs, e.g. "compiling"
	DescriptionDone string // afterwards, e.g. "compile"

	// Pos is where the step stands in the configuration, "file:line:column".
	Pos string
}

// Renderable is a value that is known only when the build runs.
type Renderable interface {
	Render(Scope) (any, error)
}

// Scope is what a Renderable may look at.
type Scope struct {
	Properties Properties
	Sources    []SourceStamp
	// Worker holds what %(worker:…)s can name: name, and where a launch is
	// rendered also master, password, secret and generation.
	Worker map[string]string
	// Secret looks up a secret by name; nil where none may be used.
	Secret func(name string) (string, error)
	// Calls are the calls of functions so far; nil where there was none.
	Calls *Calls
	// Step is the step that the value is of; its zero value where there is none.
	Step StepScope
}

// Calls are the configuration's functions that were called in one rendering.
type Calls struct {
	Count int
	Since time.Time // the first one
}

// StepScope is a step as its Renderables see it.
type StepScope struct {
	Name string
	// Result is the step's, of one that has ended; Success before.
	Result Result
	// BuildResult is that of the build before the step.
	BuildResult Result
	Builder     string
}

// Render renders v if it is Renderable, and what lies inside it if it is a
// list or a map; any other value is its own rendering.
func Render(v any, scope Scope) (any, error) {
	switch v := v.(type) {
	case Renderable:
		return v.Render(scope)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			r, err := Render(v[i], scope)
			if err != nil {
				return nil, err
			}
			out[i] = r
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			r, err := Render(v[k], scope)
			if err != nil {
				return nil, err
			}
			out[k] = r
		}
		return out, nil
	}
	return v, nil
}
