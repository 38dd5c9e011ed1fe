package build

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// action is what a step does. Run returns the step's result; an error with it
// is written to the step's log.
type action interface {
	// defaultName is the step's name where the configuration gives none.
	defaultName() string
	// run does the step. It does things only by the step's methods, one after
	// the other, and depends on nothing but what the build knows and how its
	// commands ended: see journal.
	run(ctx context.Context, s *step) (dormouse.Result, error)
	// reveal renders what run would, for the secrets in it to be masked in the
	// steps that follow, when the step itself was run by an earlier master.
	reveal(s *step)
}

// actions make the action of each type of [dormouse.StepAction].
var actions = make(map[reflect.Type]func(dormouse.StepAction) action)

// does says how steps are done whose action is an A. It stands in the file that does
// them.
func does[A dormouse.StepAction](do func(A) action) bool {
	actions[reflect.TypeFor[A]()] = func(a dormouse.StepAction) action { return do(a.(A)) }
	return true
}

func actionOf(a dormouse.StepAction) (action, error) {
	do, ok := actions[reflect.TypeOf(a)]
	if !ok {
		return nil, dormouse.Errorf(dormouse.Internal, "steps of type %T cannot be run", a)
	}
	return do(a), nil
}

func stepName(spec dormouse.StepSpec) string {
	if spec.Name != "" {
		return spec.Name
	}
	if a, err := actionOf(spec.Action); err == nil {
		return a.defaultName()
	}
	return "step"
}

// names makes step names unique within a build, as Buildbot does: the second
// "shell" is shell_1.
type names struct {
	taken map[string]bool
	count map[string]int
}

func newNames() *names {
	return &names{taken: make(map[string]bool), count: make(map[string]int)}
}

func (n *names) unique(name string) string {
	candidate := name
	for n.taken[candidate] {
		n.count[name]++
		candidate = name + "_" + strconv.Itoa(n.count[name])
	}
	n.taken[candidate] = true
	return candidate
}

// text renders v, which must come out as a string or a number; nil is "".
func (s *step) text(what string, v any) (string, error) {
	out, err := s.render(what, v)
	if err != nil {
		return "", err
	}
	switch out := out.(type) {
	case nil:
		return "", nil
	case string:
		return out, nil
	case int, int64, float64, bool:
		return fmt.Sprint(out), nil
	}
	return "", dormouse.Errorf(dormouse.Invalid, "%s came out as %T, and must be a string", what, out)
}

func (s *step) render(what string, v any) (any, error) {
	out, err := expr.Render(v, s.scope())
	if err != nil {
		return nil, dormouse.Errorf(dormouse.CodeOf(err), "%s cannot be rendered: %w", what, err)
	}
	return out, nil
}

// workDir returns the absolute path of the directory the step works in.
func (s *step) workDir(v any) (string, error) {
	dir, err := s.text("workdir", v)
	if err != nil {
		return "", err
	}
	if dir == "" {
		dir = "build"
	}
	return s.path(dir), nil
}

// path makes a path below the builder's directory absolute.
func (s *step) path(rel string) string {
	if strings.HasPrefix(rel, "/") {
		return rel
	}
	return s.build.worker.Path(BuildDir(s.build.job.Builder), rel)
}

// environment renders the builder's environment and, over it, the step's. A
// nil value removes the variable; the worker joins a list with its own path
// separator.
func (s *step) environment(over map[string]any) (map[string]any, error) {
	env := make(map[string]any, len(s.build.job.Builder.Env)+len(over))
	for _, from := range []map[string]any{s.build.job.Builder.Env, over} {
		for name, v := range from {
			out, err := s.variable(name, v)
			if err != nil {
				return nil, err
			}
			switch out := out.(type) {
			case nil, string:
				env[name] = out
			case []any:
				list, err := flatten(nil, out)
				if err != nil {
					return nil, dormouse.Errorf(dormouse.Invalid, "environment variable %s: %w", name, err)
				}
				env[name] = list
			case []string:
				list, err := flatten(nil, out)
				if err != nil {
					return nil, err
				}
				env[name] = list
			case int, int64, float64, bool:
				env[name] = fmt.Sprint(out)
			default:
				return nil, dormouse.Errorf(dormouse.Invalid,
					"environment variable %s came out as %T, and must be a string or a list of strings", name, out)
			}
		}
	}
	return env, nil
}

// flatten appends v to words: lists are flattened, numbers written out.
func flatten(words []any, v any) ([]any, error) {
	switch v := v.(type) {
	case string:
		return append(words, v), nil
	case int, int64, float64:
		return append(words, fmt.Sprint(v)), nil
	case []string:
		for _, w := range v {
			words = append(words, w)
		}
		return words, nil
	case []any:
		for _, w := range v {
			var err error
			if words, err = flatten(words, w); err != nil {
				return nil, err
			}
		}
		return words, nil
	}
	return nil, dormouse.Errorf(dormouse.Invalid, "%v (%T) is not a string", v, v)
}
