package expr

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Renderable is a value that is known only when the build runs.
type Renderable interface {
	Render(Scope) (any, error)
}

// Scope is what a Renderable may look at.
type Scope struct {
	Properties dormouse.Properties
	Sources    []dormouse.SourceStamp
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
	// Result is the step's, of one that has ended; [dormouse.Success] before.
	Result dormouse.Result
	// BuildResult is that of the build before the step.
	BuildResult dormouse.Result
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

// FunctionError is the failure of one of the configuration's own functions.
type FunctionError struct {
	Message string
	// Traceback are the calls that led to it, outermost first, a line each.
	Traceback []string
}

func (e *FunctionError) Error() string { return e.Message }

// Identified is a value that tells what it is: two that answer the same do the
// same, though they were made by two readings of a configuration. Where it also
// has Arguments() []any, those have to be the same, too.
type Identified interface{ Identity() string }
