package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// support says what becomes of an argument.
type support byte

const (
	// supported arguments mean something.
	supported support = iota
	// required arguments must be given.
	required
	// ignored arguments are accepted and change nothing here.
	ignored
	// later arguments are known to Buildbot and refused as not supported yet,
	// but for the values that mean "none of it".
	later
)

// param is a parameter of a constructor.
type param struct {
	name    string
	support support
	// advice is what docs/buildbot.md says to use instead of one that is not supported
	// yet.
	advice string
	// secret values are never shown.
	secret bool
}

// class is a constructor of the configuration's language, and all that there is to
// know of it: a new one is one value, beside its reader.
type class struct {
	// name is the module of buildbot.plugins that has it, and its name there:
	// "steps.Git".
	name string
	// from is the module that Buildbot has it in besides, "buildbot.steps.source.git".
	from   string
	params []param
	// positional is how many of params can be given without their names.
	positional int
	// open classes take any keyword argument, and ignore it.
	open bool
	// variadic classes take any number of positional arguments after the first.
	variadic bool
	// later classes are known to Buildbot and not supported yet; advice is what
	// docs/buildbot.md says to use instead.
	later  bool
	advice string
	// renders says that it stands for what is known only when a build runs.
	renders bool
	// list is the configuration's list where it stands, such as "workers"; "" of what
	// stands in an argument.
	list string
	// attrs are the methods of what is constructed.
	attrs map[string]method
	// read reads the arguments. What it returns is nil when an argument that it
	// cannot do without is wrong. A class without it describes a form, and means
	// nothing here.
	read func(arguments) any
}

// registered are all classes that a configuration can name.
var registered []*class

// register makes a class known. Each stands in the file of its reader.
func register(c *class) *class {
	registered = append(registered, c)
	return c
}

// module is the path of the module that has the class, and its name there.
func (c *class) module() (path, name string) {
	path, name, _ = strings.Cut(c.name, ".")
	if path != "boto3" {
		path = "buildbot." + path
	}
	return path, name
}

// method is a method of what is constructed. call is where it is called.
type method func(r *reader, call dialect.Found, self *object, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

// ofOne makes a method of what has one parameter.
func ofOne(name string, f func(self *object, arg argument) error) method {
	return func(_ *reader, call dialect.Found, self *object, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, kv := range kwargs {
			args = append(args, kv[1])
		}
		if len(args) != 1 {
			return nil, fmt.Errorf("%s.%s takes one argument, got %d", self.class.name, name, len(args))
		}
		at := self.at
		if positional, _ := call.Arguments(); len(positional) == 1 {
			at = positional[0]
		}
		return starlark.None, f(self, argument{name, args[0], at})
	}
}

func (c *class) param(name string) (param, bool) {
	i := slices.IndexFunc(c.params, func(p param) bool { return p.name == name })
	if i < 0 {
		return param{}, false
	}
	return c.params[i], true
}

func (c *class) paramNames() []string {
	names := make([]string, 0, len(c.params))
	for _, p := range c.params {
		names = append(names, p.name)
	}
	return names
}

// constructor makes the function that constructs c.
func (c *class) constructor() *starlark.Builtin {
	return starlark.NewBuiltin(c.name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		r := readerOf(t)
		call := r.program.Find(t)
		o := &object{class: c, at: call.At, args: make(map[string]argument, len(args)+len(kwargs))}
		if c.later {
			r.errorf(o.at, "", "%s is not supported yet", c.name)
			return o, nil
		}
		r.bind(o, call, args, kwargs)
		return o, nil
	})
}

// makes is a method that makes an object of a class of its own; of the same class as
// the one that has the method where it is nil.
func makes(c *class) method {
	return func(r *reader, call dialect.Found, self *object, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return r.made(cmp.Or(c, self.class), self, call, args, kwargs), nil
	}
}
