package config

import (
	"fmt"
	"path/filepath"
	"sync/atomic"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// Error and Errors are what is wrong with a configuration: those who load one need
// not know the language that it is written in.
type (
	Error  = dialect.Error
	Errors = dialect.Errors
)

// maxErrors is more than anybody reads; the rest is most likely the same
// mistake in a loop.
const maxErrors = 200

// reader is one reading of a configuration.
type reader struct {
	file     string
	opts     Options
	secrets  Secrets
	program  *program
	elements int                      // of values that were read
	objects  []*object                // in the order of their construction
	locks    map[string]dormouse.Lock // by name
	short    map[string]bool          // secrets that were warned of
	errs     []Error
	warnings []Error
	// stopped is why the reading has to end; nil while it need not.
	stopped atomic.Pointer[string]
}

const readerKey = "reader"

func readerOf(t *starlark.Thread) *reader { return t.Local(readerKey).(*reader) }

func (r *reader) errorf(at dialect.Place, hint, format string, args ...any) {
	if len(r.errs) > 10*maxErrors {
		return // a mistake in something endless
	}
	r.errs = append(r.errs, r.newError(at, hint, fmt.Sprintf(format, args...)))
}

func (r *reader) warnf(at dialect.Place, hint, format string, args ...any) {
	r.warnings = append(r.warnings, r.newError(at, hint, fmt.Sprintf(format, args...)))
}

func (r *reader) newError(at dialect.Place, hint, message string) Error {
	return dialect.NewError(r.file, at, hint, message)
}

// pos is a place as it is kept in the values.
func (r *reader) pos(at dialect.Place) string {
	return fmt.Sprintf("%s:%d:%d", r.file, at.Line, at.Col)
}

// Parse reads a configuration from src; filename is for positions, and for
// where relative paths begin. The error is [Errors].
func Parse(filename string, src []byte, opts Options) (*Master, error) {
	opts = opts.withDefaults(filename)
	r := &reader{file: filename, opts: opts, secrets: Secrets{opts.SecretsDir, opts.Env}, locks: map[string]dormouse.Lock{}}
	if len(src) > maxSource {
		return nil, Errors{{File: filename, Message: fmt.Sprintf("the configuration is larger than %d MiB", maxSource>>20)}}
	}
	thread := dialect.NewThread(filename, dialect.MaxSteps, opts.Print)
	stop := dialect.Watch(opts.Context, readingTime, func(why string) {
		r.stopped.CompareAndSwap(nil, &why)
		thread.Cancel(why)
	})
	defer stop()
	globals, err := r.evaluate(thread, src)
	if err != nil {
		return nil, err
	}
	m, err := r.configuration(globals)
	if err != nil {
		return nil, Errors{r.newError(dialect.Place{}, "", err.Error())}
	}
	if len(r.errs) > 0 {
		errs := Errors(dialect.Sorted(r.errs))
		if n := len(errs); n > maxErrors {
			errs = append(errs[:maxErrors:maxErrors], Error{File: filename, Message: fmt.Sprintf("… and %d more mistakes", n-maxErrors)})
		}
		return nil, errs
	}
	m.Warnings = dialect.Sorted(r.warnings)
	return m, nil
}

// errStopped ends the reading of values, of which each asks whether it may go on.
type errStopped struct{ why string }

func (e errStopped) Error() string { return dialect.Stopped + e.why }

// goOn ends the reading when it has to end.
func (r *reader) goOn() {
	if r.opts.Context.Err() != nil {
		panic(errStopped{dialect.NotWanted})
	}
	if why := r.stopped.Load(); why != nil {
		panic(errStopped{*why})
	}
}

// value is what an object's arguments say, read once. It is nil when an
// argument that it cannot do without is wrong, and while it is being read,
// which can lead back to it.
func (r *reader) value(o *object) any {
	if !o.read && !o.class.later {
		o.read = true
		r.goOn()
		if o.class.read != nil {
			o.value = o.class.read(arguments{r, o})
		}
	}
	return o.value
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
	text, err := dialect.Parse(r.file, src, vocabulary())
	if err != nil {
		return nil, err
	}
	r.program = &program{Program: text, file: r.file, opts: r.opts, secrets: r.secrets}
	thread.SetLocal(readerKey, r)
	r.program.globals, err = text.Execute(thread, builtinNames(), r.surroundings())
	return r.program.globals, err
}

// readingTime is how long a reading may take, but in tests of the other limits,
// which a slow machine may reach later.
var readingTime = dialect.MaxTime

// surroundings are the names that mean something else in each reading.
func (r *reader) surroundings() starlark.StringDict {
	file := r.file
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	env := &environ{r.opts.Env}
	return starlark.StringDict{
		"basedir": starlark.String(r.opts.BaseDir), "__file__": starlark.String(file),
		"os.environ": env, "os": &module{name: "os", members: starlark.StringDict{"environ": env}},
	}
}
