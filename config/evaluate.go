package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/dormouse-ci/dormouse"
)

// maxErrors is more than anybody reads; the rest is most likely the same
// mistake in a loop.
const maxErrors = 200

// reader is one reading of a configuration.
type reader struct {
	file     string
	opts     Options
	secrets  Secrets
	tokens   []token
	tree     *tree
	program  *program
	elements int                      // of values that were read
	objects  []*object                // in the order of their construction
	calling  *syntax.CallExpr         // the method call that is being carried out; nil when it is not in the text
	locks    map[string]dormouse.Lock // by name
	short    map[string]bool          // secrets that were warned of
	errs     []Error
	warnings []Error
	// stopped is why the reading has to end; nil while it need not.
	stopped atomic.Pointer[string]
}

const readerKey = "reader"

func readerOf(t *starlark.Thread) *reader { return t.Local(readerKey).(*reader) }

func (r *reader) errorf(at place, hint, format string, args ...any) {
	if len(r.errs) > 10*maxErrors {
		return // a mistake in something endless
	}
	r.errs = append(r.errs, r.newError(at, hint, fmt.Sprintf(format, args...)))
}

func (r *reader) warnf(at place, hint, format string, args ...any) {
	r.warnings = append(r.warnings, r.newError(at, hint, fmt.Sprintf(format, args...)))
}

func (r *reader) newError(at place, hint, message string) Error {
	if at.via != "" {
		hint = strings.TrimPrefix(hint+"; "+at.via, "; ")
	}
	const enough = 2000 // bytes: some lines, where a value is quoted that is a file
	if len(message) > enough {
		message = strings.ToValidUTF8(message[:enough], "") + "…"
	}
	return Error{File: r.file, Line: at.line, Column: at.col, Message: message, Hint: hint}
}

// pos is a place as it is kept in the values.
func (r *reader) pos(at place) string {
	return fmt.Sprintf("%s:%d:%d", r.file, at.line, at.col)
}

// Parse reads a configuration from src; filename is for positions, and for
// where relative paths begin. The error is [Errors].
func Parse(filename string, src []byte, opts Options) (*Master, error) {
	opts = opts.withDefaults(filename)
	r := &reader{file: filename, opts: opts, secrets: Secrets{opts.SecretsDir, opts.Env}, locks: map[string]dormouse.Lock{}}
	if len(src) > maxSource {
		return nil, Errors{{File: filename, Message: fmt.Sprintf("the configuration is larger than %d MiB", maxSource>>20)}}
	}
	thread := &starlark.Thread{Name: filename}
	stop := watch(opts.Context, readingTime, func(why string) {
		r.stopped.CompareAndSwap(nil, &why)
		thread.Cancel(why)
	})
	defer stop()
	globals, err := r.evaluate(thread, src)
	if err != nil {
		return nil, r.failure(err)
	}
	m, err := r.configuration(globals)
	if err != nil {
		return nil, r.failure(err)
	}
	if len(r.errs) > 0 {
		errs := Errors(sorted(r.errs))
		if n := len(errs); n > maxErrors {
			errs = append(errs[:maxErrors:maxErrors], Error{File: filename, Message: fmt.Sprintf("… and %d more mistakes", n-maxErrors)})
		}
		return nil, errs
	}
	m.Warnings = sorted(r.warnings)
	return m, nil
}

func (m *mistake) Error() string { return m.message }

// errStopped ends the reading of values, of which each asks whether it may go on.
type errStopped struct{ why string }

func (e errStopped) Error() string { return stoppedReading + e.why }

const notWanted = "it is not wanted any more"

const stoppedReading = "reading the configuration was stopped: "

// goOn ends the reading when it has to end.
func (r *reader) goOn() {
	if r.opts.Context.Err() != nil {
		panic(errStopped{notWanted})
	}
	if why := r.stopped.Load(); why != nil {
		panic(errStopped{*why})
	}
}

// configuration makes the configuration of what was evaluated.
func (r *reader) configuration(globals starlark.StringDict) (m *Master, err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case errStopped:
			err = e
		default:
			panic(e)
		}
	}()
	return r.master(globals), nil
}

// evaluate runs the configuration and returns its global variables.
func (r *reader) evaluate(thread *starlark.Thread, src []byte) (starlark.StringDict, error) {
	w, m := rewrite(src)
	if m != nil {
		return nil, m
	}
	r.tokens = w.tokens
	var err error
	if r.tree, err = parseTree(r.file, w); err != nil {
		return nil, err
	}
	predeclared := r.predeclared()
	prog, err := starlark.FileProgram(r.tree.file, predeclared.Has)
	if err != nil {
		return nil, err
	}
	thread.Print = limitedPrint(r.opts.Print)
	thread.SetLocal(readerKey, r)
	thread.SetMaxExecutionSteps(maxSteps)
	thread.OnMaxSteps = func(t *starlark.Thread) {
		t.Cancel(fmt.Sprintf("it takes more than %d steps: is there an endless loop?", uint64(maxSteps)))
	}
	r.program = &program{file: r.file, opts: r.opts, secrets: r.secrets, tokens: r.tokens, tree: r.tree}
	globals, err := prog.Init(thread, predeclared)
	if tooLarge := limitFreeze(globals); tooLarge != nil {
		return nil, cmp.Or(err, tooLarge)
	}
	// Functions are called when builds run, by several goroutines.
	globals.Freeze()
	r.program.globals = globals
	return globals, err
}

// predeclared is everything a configuration can name.
func (r *reader) predeclared() starlark.StringDict {
	names := maps.Clone(builtinNames())
	base := r.opts.BaseDir
	file := r.file
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	names["basedir"], names["__file__"] = starlark.String(base), starlark.String(file)
	env := &environ{r.opts.Env}
	names["os.environ"], names["os"] = env, &module{"os", starlark.StringDict{"environ": env}, nil}
	return names
}

// failure words the error that ended the reading.
func (r *reader) failure(err error) Errors {
	var m *mistake
	var syn syntax.Error
	var unresolved resolve.ErrorList
	var eval *starlark.EvalError
	switch {
	case errors.As(err, &m):
		return Errors{r.newError(m.at, m.hint, m.message)}
	case errors.As(err, &syn):
		at, hint := r.syntaxPlace(syn), syntaxHint(syn.Msg)
		return Errors{r.newError(at, hint, strings.TrimSuffix(syn.Msg, " (use parens)"))}
	case errors.As(err, &unresolved):
		var errs []Error
		for _, e := range unresolved {
			errs = append(errs, r.newError(placeAt(e.Pos), undefinedHint(e.Msg), e.Msg))
		}
		return sorted(errs)
	case errors.As(err, &eval):
		return Errors{r.evalFailure(eval)}
	}
	return Errors{r.newError(place{}, "", err.Error())}
}

func placeAt(p syntax.Position) place { return place{line: int(p.Line), col: int(p.Col)} }

// evalFailure is where the innermost line of the configuration failed, and
// from where it was called.
func (r *reader) evalFailure(eval *starlark.EvalError) Error {
	var where place
	var calls []string
	const enough = 5 // frames: who needs more has the error in the innermost
	for _, frame := range slices.Backward(eval.CallStack) {
		if frame.Pos.Filename() != r.file || frame.Pos.Line == 0 {
			continue
		}
		if where.line == 0 {
			where = placeAt(frame.Pos)
		} else if len(calls) < enough {
			calls = append(calls, fmt.Sprintf("called from line %d", frame.Pos.Line))
		}
	}
	msg := strings.Replace(eval.Msg, "Starlark computation cancelled: ", stoppedReading, 1)
	return r.newError(where, strings.Join(calls, ", "), msg)
}

// undefinedHint says how a name that Buildbot's configurations use comes to be
// defined.
func undefinedHint(message string) string {
	_, name, ok := strings.Cut(message, "undefined: ")
	name, _, _ = strings.Cut(name, " ")
	switch {
	case !ok:
		return ""
	case name == configShort || name == configName:
		return "begin the file with c = BuildmasterConfig = {}"
	case pluginModules[name] != "":
		return "write from buildbot.plugins import " + name
	case wholeModules[name] != "":
		return "write import " + name
	case name == "open" || name == "eval" || name == "exec" || name == "__import__":
		return "a configuration can not reach the system; secrets come from util.Secret('name')"
	case name == "isinstance":
		return "compare type(x) with a name, such as 'string' or 'list'"
	}
	for path, names := range importable {
		if names[name] != "" && strings.HasPrefix(path, "buildbot.") {
			return "write from " + path + " import " + name
		}
	}
	return ""
}

// syntaxPlace is where the token begins that the parser did not expect. The
// parser itself reports where it ends, but for missing expressions and
// indentation.
func (r *reader) syntaxPlace(e syntax.Error) place {
	p := placeAt(e.Pos)
	for _, exact := range []string{"want primary expression", "got indent", "got outdent", "without else", "unparenthesized tuple", "escape sequence"} {
		if strings.Contains(e.Msg, exact) {
			return p
		}
	}
	for i, t := range r.tokens {
		newline := t.kind == tokNewline && t.line == p.line-1 && p.col == 1
		if newline || t.kind != tokNewline && t.endLine == p.line && t.endCol == p.col {
			return r.tokens[i].at()
		}
	}
	return p
}

// syntaxHint explains the parser's words where Python's habits meet Starlark's
// rules.
func syntaxHint(message string) string {
	for part, hint := range map[string]string{
		"invalid escape sequence": "write r'…' for a text with backslashes, or double them",
		"does not associate with": "write a < b and b < c",
		"obsolete form of octal":  "write 0o755",
		"unparenthesized tuple":   "put parentheses around it",
		"got '}', want ':'":       "write set([…])",
		"got ',', want ':'":       "write set([…])",
	} {
		if strings.Contains(message, part) {
			return hint
		}
	}
	return ""
}
