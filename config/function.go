package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// What one call of a function may use while builds run: a function computes a
// command line or a condition, which takes some hundred steps.
const (
	callSteps = 1_000_000        // about a tenth of a second
	callTime  = 10 * time.Second // on a machine that is busy otherwise
	// choiceSteps are for one that is asked about each request and worker while
	// everything else waits: some milliseconds.
	choiceSteps = 20_000
	// maxCalls and renderTime are for all functions that one leads to by what it
	// returns.
	maxCalls   = 1000
	renderTime = 3 * callTime
)

// program is a configuration that has been evaluated, as its functions need it
// later. It is not changed any more, so they may be called from any goroutine.
type program struct {
	*dialect.Program
	file    string
	opts    Options
	secrets Secrets
	globals starlark.StringDict
}

// call calls a function of the configuration. Its error is a
// *expr.FunctionError.
func (p *program) call(f starlark.Callable, args starlark.Tuple, kwargs []starlark.Tuple) (any, error) {
	return p.callWithin(callSteps, f, args, kwargs)
}

// callWithin is call with a limit of steps.
func (p *program) callWithin(steps uint64, f starlark.Callable, args starlark.Tuple, kwargs []starlark.Tuple) (any, error) {
	// A reader of its own: constructors in the function report to it.
	r := &reader{file: p.file, opts: p.opts, secrets: p.secrets, program: p, locks: map[string]dormouse.Lock{}}
	thread := dialect.NewThread(p.file, steps, p.opts.Print)
	thread.SetLocal(readerKey, r)
	v, err := dialect.Call(thread, callTime, f, args, kwargs)
	if err != nil {
		return nil, p.failure(f, err)
	}
	out, ok := field{r, "what " + f.Name() + " returns", v, dialect.Defined(f), false}.data(true)
	if len(r.errs) > 0 {
		return nil, &expr.FunctionError{Message: Errors(dialect.Sorted(r.errs)).Error()}
	}
	if !ok {
		return nil, &expr.FunctionError{Message: "what " + f.Name() + " returns cannot be used"}
	}
	return out, nil
}

// failure words the failure of a function, with the calls that led to it.
func (p *program) failure(f starlark.Callable, err error) error {
	out := &expr.FunctionError{Message: f.Name() + ": " + err.Error()}
	var eval *starlark.EvalError
	if !errors.As(err, &eval) {
		return out
	}
	out.Message = f.Name() + ": " + strings.TrimPrefix(eval.Msg, "Starlark computation cancelled: ")
	out.Traceback = append(out.Traceback, "Traceback of "+f.Name()+", the last call last:")
	for i, frame := range eval.CallStack {
		if frame.Pos.Line == 0 && i < len(eval.CallStack)-1 {
			continue // not the configuration's own
		}
		where := frame.Pos.Filename()
		if frame.Pos.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d", where, frame.Pos.Line, frame.Pos.Col)
		}
		out.Traceback = append(out.Traceback, fmt.Sprintf("  %s: in %s", where, frame.Name))
	}
	return out
}

// called is a function of the configuration that is called when a value is
// rendered.
type called struct {
	program *program
	f       starlark.Callable
	role    role
	args    []any
	kw      map[string]any
}

// role is what a function is called with.
type role byte

const (
	renderer   role = iota // props, then the arguments
	transform              // the arguments
	doStepIf               // step
	hideStepIf             // results, step
)

// Render calls the function. What it returns may be known only then, too.
func (c *called) Render(scope expr.Scope) (any, error) {
	if scope.Calls == nil {
		scope.Calls = &expr.Calls{Since: time.Now()}
	}
	if scope.Calls.Count++; scope.Calls.Count > maxCalls || time.Since(scope.Calls.Since) > renderTime {
		return nil, &expr.FunctionError{Message: fmt.Sprintf("%s: functions return functions in turn, more than %d, or for longer than %s", c.f.Name(), maxCalls, renderTime)}
	}
	var args starlark.Tuple
	switch c.role {
	case renderer:
		args = starlark.Tuple{newProperties(scope)}
	case transform:
	case doStepIf:
		args = starlark.Tuple{newStep(scope)}
	case hideStepIf:
		args = starlark.Tuple{starlark.MakeInt(int(scope.Step.Result)), newStep(scope)}
	}
	seen := scope
	seen.Secret = nil
	for _, v := range c.args {
		rendered, err := expr.Render(v, seen)
		if err != nil {
			return nil, err
		}
		args = append(args, toStarlark(rendered))
	}
	var kwargs []starlark.Tuple
	for _, name := range sortedKeys(c.kw) {
		rendered, err := expr.Render(c.kw[name], seen)
		if err != nil {
			return nil, err
		}
		kwargs = append(kwargs, starlark.Tuple{starlark.String(name), toStarlark(rendered)})
	}
	out, err := c.program.call(c.f, args, kwargs)
	if err != nil {
		return nil, err
	}
	return expr.Render(out, scope)
}

// MarshalText is the function's name, for those who look at a configuration.
func (c *called) MarshalText() ([]byte, error) { return []byte(c.f.Name()), nil }

// flattened is a list without the lists in it.
type flattened struct{ Value any }

// Render flattens what the value comes to.
func (l flattened) Render(scope expr.Scope) (any, error) {
	v, err := expr.Render(l.Value, scope)
	if err != nil {
		return nil, err
	}
	if _, ok := v.([]any); !ok {
		return nil, dormouse.Errorf(dormouse.Invalid, "util.FlattenList came to %T, and must be a list", v)
	}
	return flatten([]any{}, v), nil
}

func flatten(out []any, v any) []any {
	list, ok := v.([]any)
	if !ok {
		return append(out, v)
	}
	for _, e := range list {
		out = flatten(out, e)
	}
	return out
}

var _ = register(&class{
	name: "util.renderer", positional: 1, from: propertyModule, renders: true,
	params: []param{{name: "function", support: required}},
	attrs:  map[string]method{"withArgs": makes(withArgsClass)},
	read:   readRenderer,
})

// withArgsClass is what renderer.withArgs(…) makes: what the function gets besides
// props.
var withArgsClass = &class{
	name: "withArgs", variadic: true, open: true, renders: true,
	attrs: map[string]method{"withArgs": makes(nil)},
	read:  readWithArgs,
}

var _ = register(&class{
	name: "util.Transform", positional: 1, variadic: true, open: true, from: propertyModule, renders: true,
	params: []param{{name: "function", support: required}},
	read:   readTransform,
})

var _ = register(&class{
	name: "util.FlattenList", positional: 1, from: propertyModule, renders: true,
	params: []param{{name: "nestedlist", support: required}},
	read:   readFlattenList,
})

// function reads an argument that is a function.
func (a arguments) function(name string, params int, example string) starlark.Callable {
	f, ok := a.field(name)
	if !ok {
		return nil
	}
	return f.function(params, example)
}

// function reads a function that can be called with so many arguments; -1 is any
// number.
func (f field) function(params int, example string) starlark.Callable {
	fn, ok := f.v.(starlark.Callable)
	if !ok {
		f.bad("a function, such as " + example)
		return nil
	}
	if params >= 0 && !f.takes(fn, params, nil, example) {
		return nil
	}
	fn.Freeze() // it may be called from several goroutines
	return fn
}

// takes reports whether a function can be called with so many arguments and those
// named; what is not of the configuration's own is not known.
func (f field) takes(fn starlark.Callable, positional int, named map[string]any, example string) bool {
	def, ok := fn.(*starlark.Function)
	if !ok {
		return true
	}
	most := def.NumParams() - def.NumKwonlyParams()
	if def.HasVarargs() {
		most-- // its own place is among the parameters
	}
	if def.HasKwargs() {
		most--
	}
	wrong := positional > most && !def.HasVarargs()
	known := map[string]bool{}
	var names []string
	for i := range def.NumParams() {
		name, _ := def.Param(i)
		names = append(names, name)
		known[name] = i >= positional
		if _, given := named[name]; i >= positional && i < most+def.NumKwonlyParams() && def.ParamDefault(i) == nil && !given {
			wrong = true
		}
	}
	for name := range named {
		wrong = wrong || !known[name] && !def.HasKwargs()
	}
	if !wrong {
		return true
	}
	said := counted(positional, "argument")
	if len(named) > 0 {
		said += " and " + strings.Join(sortedKeys(named), ", ")
	}
	hint := ""
	if example != "" {
		hint = "write " + example
	}
	f.r.errorf(f.at, hint, "%s is called with %s, and %s takes (%s)", f.label, said, def.Name(), strings.Join(names, ", "))
	return false
}

func counted(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func readRenderer(a arguments) any {
	f := a.function("function", -1, "def f(props): …")
	if f == nil {
		return nil
	}
	return &called{program: a.r.program, f: f, role: renderer}
}

func readWithArgs(a arguments) any {
	inner, ok := a.r.value(a.o.of).(*called)
	if !ok {
		return nil
	}
	out := *inner
	args, kw := readVariable(a)
	out.args = slices.Concat(inner.args, args)
	if out.kw = maps.Clone(inner.kw); out.kw == nil {
		out.kw = kw
	} else {
		maps.Copy(out.kw, kw)
	}
	f := field{a.r, "withArgs: the function", starlark.None, a.o.at, false}
	if !f.takes(out.f, 1+len(out.args), out.kw, "") {
		return nil
	}
	return &out
}

func readTransform(a arguments) any {
	f := a.function("function", -1, "lambda x: …")
	args, kw := readVariable(a)
	if f == nil {
		return nil
	}
	if at, _ := a.field("function"); !at.takes(f, len(args), kw, "") {
		return nil
	}
	return &called{program: a.r.program, f: f, role: transform, args: args, kw: kw}
}

func readFlattenList(a arguments) any {
	f, ok := a.field("nestedlist")
	if !ok {
		return nil
	}
	v, ok := f.data(true)
	if !ok {
		return nil
	}
	return flattened{v}
}

// readVariable reads the further arguments of a variadic and open class, which a
// function gets. Secrets are not among them: it could print them, or turn them
// into what is not recognized.
func readVariable(a arguments) (args []any, kw map[string]any) {
	noSecret := func(v any, at dialect.Place, what string) {
		if names := secretsIn(v); len(names) > 0 {
			a.r.errorf(at, "let the function return util.Secret('"+names[0]+"')", "%s: %s: a function cannot read a secret (%s)", a.o.class.name, what, names[0])
		}
	}
	for _, arg := range a.o.rest {
		v, _ := field{a.r, a.o.class.name + ": an argument", arg.value, arg.at, false}.data(true)
		noSecret(v, arg.at, "an argument")
		args = append(args, v)
	}
	for _, arg := range a.o.extra {
		if kw == nil {
			kw = map[string]any{}
		}
		kw[arg.name], _ = field{a.r, a.o.class.name + ": " + arg.name, arg.value, arg.at, false}.data(true)
		noSecret(kw[arg.name], arg.at, arg.name)
	}
	return args, kw
}

// readCondition reads doStepIf or hideStepIf: True, False, a function, or what
// becomes one of the first two. usual is the value that says nothing.
func readCondition(a arguments, name string, r role, usual bool) any {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	if fn, isFunction := f.v.(starlark.Callable); isFunction {
		params, example := 1, name+"=lambda step: …"
		if r == hideStepIf {
			params, example = 2, name+"=lambda results, step: …"
		}
		if f.function(params, example) == nil {
			return nil
		}
		return &called{program: a.r.program, f: fn, role: r}
	}
	if o, isObject := f.v.(*object); isObject {
		if rendered, ok := f.r.renderable(o); ok {
			v, _ := f.allowed(rendered, true)
			return v
		}
	}
	switch f.v.(type) {
	case starlark.Bool, starlark.Int:
		if v, ok := f.flag(); ok && v != usual {
			return v
		}
	default:
		f.bad("True, False, or a function")
	}
	return nil
}

// extractor is a function that makes properties of a command's output.
type extractor struct{ called }

// readExtractor reads such a function.
func readExtractor(a arguments) dormouse.Extractor {
	f := a.function("extract_fn", 3, "def extract(rc, stdout, stderr): …")
	if f == nil {
		return nil
	}
	return &extractor{called{program: a.r.program, f: f, role: transform}}
}

// Extract calls the function.
func (e *extractor) Extract(code int, stdout, stderr string) (map[string]any, error) {
	v, err := e.program.call(e.f, starlark.Tuple{starlark.MakeInt(code), starlark.String(stdout), starlark.String(stderr)}, nil)
	if err != nil {
		return nil, err
	}
	out, ok := v.(map[string]any)
	if !ok {
		return nil, &expr.FunctionError{Message: e.f.Name() + " must return a dictionary of properties"}
	}
	return out, nil
}
