package dormouse

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
// to: a builder that no ForceScheduler names cannot be forced.
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
