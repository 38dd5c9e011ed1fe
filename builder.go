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
	Tags       []string
	// Locks are held by each of its builds, from start to end.
	Locks []LockAccess
	// CollapseRequests says whether a waiting request may be merged into a
	// newer compatible one. Buildbot's default, and ours, is true.
	CollapseRequests bool
}

// ForceScheduler lets people start builds by hand. It is also the permission
// to: a builder that no ForceScheduler names can not be forced.
type ForceScheduler struct {
	Name         string
	BuilderNames []string
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

	Description     string // while it runs, e.g. "compiling"
	DescriptionDone string // afterwards, e.g. "compile"

	// Pos is where the step stands in the configuration, "file:line:column".
	Pos string
}

// StepAction is what a step does: one of the types below.
type StepAction interface{ stepAction() }

// ShellCommand runs a command on the worker.
type ShellCommand struct {
	// Command is a string, which the worker's shell runs, or a list, which is
	// run as it is. It and its elements may be Renderable; nested lists are
	// flattened.
	Command any
	// WorkDir is relative to the builder's directory; "build" by default.
	WorkDir any
	// Env adds to the worker's environment; values are strings, lists (joined
	// with the path separator), nil (the variable is removed) or Renderable.
	Env map[string]any
	// Timeout ends a command that prints nothing for so long; 0 is never.
	// Buildbot's default is 20 minutes.
	Timeout time.Duration
	// MaxTime ends a command that runs longer; 0 is never.
	MaxTime time.Duration
	// SigtermTime is how long a command has between SIGTERM and SIGKILL when
	// it is ended; 0 sends SIGKILL at once.
	SigtermTime time.Duration
	// MaxLines ends a command that prints more; 0 is no limit.
	MaxLines int
	// DecodeRC maps exit codes to results; any other is a failure. The default
	// is {0: Success}.
	DecodeRC               map[int]Result
	LogEnviron             bool // write the environment to the log's header
	WantStdout, WantStderr bool
	InitialStdin           any // string or Renderable; nil for none
	UsePTY                 bool
}

// Git checks a repository out. The revision it found becomes the property
// got_revision.
type Git struct {
	RepoURL any // string or Renderable
	Branch  any // string or Renderable; the source stamp's branch goes first, then this, then the remote's default
	// Mode is "incremental" (keep what is there) or "full".
	Mode string
	// Method says how a full checkout gets clean: "clobber", "fresh", "clean"
	// or "copy". Empty in incremental mode.
	Method   string
	Codebase string
	WorkDir  any
	// Shallow is the depth of the history to fetch; 0 is all of it.
	Shallow    int
	Submodules bool
	Timeout    time.Duration
	Env        map[string]any
}

func (ShellCommand) stepAction() {}
func (Git) stepAction()          {}

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
