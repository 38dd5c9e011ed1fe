package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
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
	// secret values are never shown.
	secret bool
}

// class is a constructor of the configuration language.
type class struct {
	name   string
	params []param
	// positional is how many of params can be given without their names.
	positional int
	// open classes take any keyword argument, and ignore it.
	open bool
	// variadic classes take any number of positional arguments after the first.
	variadic bool
	// later classes are known to Buildbot and not supported yet.
	later bool
	// attrs are the methods of what is constructed.
	attrs map[string]method
}

type method func(r *reader, self *object, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error)

// ofOne makes a method of what has one parameter.
func ofOne(name string, f func(r *reader, self *object, arg starlark.Value) (starlark.Value, error)) method {
	return func(r *reader, self *object, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, kv := range kwargs {
			args = append(args, kv[1])
		}
		if len(args) != 1 {
			return nil, fmt.Errorf("%s.%s takes one argument, got %d", self.class.name, name, len(args))
		}
		return f(r, self, args[0])
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

// object is what a constructor made: its arguments, and where they stand.
type object struct {
	class *class
	at    place // where the call begins
	args  map[string]argument
	rest  []argument // further positional arguments of a variadic class
	extra []argument // keyword arguments of an open class
	steps []argument // of a BuildFactory
	of    *object    // whose method made it, where one did
	// value is what the arguments were read as, once they have been.
	value  any
	read   bool
	frozen bool
}

// argument is a value and where it stands.
type argument struct {
	name  string
	value starlark.Value
	at    place
}

func (o *object) String() string {
	if a, ok := o.args["name"]; ok {
		if s, ok := a.value.(starlark.String); ok {
			return fmt.Sprintf("%s(%s)", o.class.name, s)
		}
	}
	return o.class.name + "(…)"
}

func (o *object) Type() string { return o.class.name }

// Freeze freezes the arguments: functions that are called later may see them.
func (o *object) Freeze() {
	if o.frozen {
		return
	}
	o.frozen = true
	for _, v := range o.values() {
		v.Freeze()
	}
}

// values are all arguments'.
func (o *object) values() []starlark.Value {
	var out []starlark.Value
	for _, a := range o.args {
		out = append(out, a.value)
	}
	for _, a := range slices.Concat(o.rest, o.extra, o.steps) {
		out = append(out, a.value)
	}
	return out
}

func (o *object) Truth() starlark.Bool  { return starlark.True }
func (o *object) Hash() (uint32, error) { return 0, errors.New("unhashable: " + o.class.name) }

// Attr returns a method.
func (o *object) Attr(name string) (starlark.Value, error) {
	m, ok := o.class.attrs[name]
	if !ok {
		return nil, nil
	}
	full := o.class.name + "." + name
	return starlark.NewBuiltin(full, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		r := readerOf(t)
		r.calling, _ = r.callPlace(t)
		return m(r, o, args, kwargs)
	}), nil
}

// AttrNames lists the methods.
func (o *object) AttrNames() []string { return sortedKeys(o.class.attrs) }

// Binary refuses operators: a part that is known only when the build runs can
// not be computed with before.
func (o *object) Binary(op syntax.Token, _ starlark.Value, _ starlark.Side) (starlark.Value, error) {
	return nil, fmt.Errorf("%s has no operator %s; util.Interpolate puts texts together when the build runs", o.class.name, op)
}

// constructor makes the function that constructs c.
func (c *class) constructor() *starlark.Builtin {
	return starlark.NewBuiltin(c.name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		r := readerOf(t)
		call, at := r.callPlace(t)
		o := &object{class: c, at: at, args: make(map[string]argument, len(args)+len(kwargs))}
		if c.later {
			r.errorf(at, "", "%s is not supported yet", c.name)
			return o, nil
		}
		r.bind(o, call, args, kwargs)
		r.objects = append(r.objects, o)
		return o, nil
	})
}

// callPlace finds the call that is being carried out in the syntax tree. It
// has none when a function of Starlark's own made it.
func (r *reader) callPlace(t *starlark.Thread) (*syntax.CallExpr, place) {
	for depth := 1; depth < t.CallStackDepth(); depth++ {
		pos := t.CallFrame(depth).Pos
		if pos.Filename() != r.file || pos.Line == 0 {
			continue
		}
		call, where := r.tree.calls[at(pos)], placeAt(pos)
		if call != nil && depth == 1 {
			where = placeOf(call.Fn)
		} else {
			call = nil
		}
		where.via = r.callers(t, depth+1)
		return call, where
	}
	return nil, place{line: 1, col: 1}
}

// callers says from where the functions were called that lead from depth on to
// the top level.
func (r *reader) callers(t *starlark.Thread, depth int) string {
	const enough = 3 // functions: configurations do not build towers
	var lines []string
	for ; depth < t.CallStackDepth() && len(lines) < enough; depth++ {
		if pos := t.CallFrame(depth).Pos; pos.Filename() == r.file && pos.Line > 0 {
			lines = append(lines, fmt.Sprintf("called from line %d", pos.Line))
		}
	}
	return strings.Join(lines, ", ")
}

// bind gives the arguments of a call their parameters.
func (r *reader) bind(o *object, call *syntax.CallExpr, args starlark.Tuple, kwargs []starlark.Tuple) {
	positional, keyword := argPlaces(call)
	c := o.class
	for i, v := range args {
		at := o.at
		if i < len(positional) {
			at = positional[i]
			at.via = o.at.via
		}
		switch {
		case i < c.positional:
			p := c.params[i]
			o.args[p.name] = argument{p.name, v, at}
		case c.variadic:
			o.rest = append(o.rest, argument{"", v, at})
		case c.positional == 0:
			r.errorf(at, "write it as NAME=VALUE", "%s takes no arguments without a name", c.name)
			return
		default:
			r.errorf(at, "write it as NAME=VALUE", "%s takes at most %d arguments without a name", c.name, c.positional)
			return
		}
	}
	for _, kv := range kwargs {
		name := string(kv[0].(starlark.String))
		a := argument{name, kv[1], o.at}
		if at, ok := keyword[name]; ok {
			a.at = at
			a.at.via = o.at.via
		}
		p, known := c.param(name)
		switch _, twice := o.args[name]; {
		case !known && c.open:
			o.extra = append(o.extra, a)
		case !known:
			r.errorf(a.at, didYouMean(name, c.paramNames()), "%s has no argument %s", c.name, name)
		case twice:
			r.errorf(a.at, "", "%s gets its argument %s twice", c.name, name)
		case p.support == later && !meansNone(kv[1]):
			r.errorf(a.at, "", "%s: %s is not supported yet", c.name, name)
		default:
			o.args[name] = a
		}
	}
	for _, p := range c.params {
		if _, given := o.args[p.name]; p.support == required && !given {
			r.errorf(o.at, "", "%s needs the argument %s", c.name, p.name)
		}
	}
}

// meansNone reports whether v turns something off.
func meansNone(v starlark.Value) bool {
	return v == starlark.None || v == starlark.False || starlark.Len(v) == 0
}

// argPlaces are the places of a call's arguments: in order, and by name. What
// comes out of *args and **kwargs has none.
func argPlaces(call *syntax.CallExpr) (positional []place, keyword map[string]place) {
	if call == nil {
		return nil, nil
	}
	keyword = make(map[string]place, len(call.Args))
	for _, arg := range call.Args {
		if id, v, ok := keywordArg(arg); ok {
			at := placeOf(id)
			at.expr = v
			keyword[id.Name] = at
			continue
		}
		if star, ok := arg.(*syntax.UnaryExpr); ok && (star.Op == syntax.STAR || star.Op == syntax.STARSTAR) {
			continue
		}
		positional = append(positional, placeOf(arg))
	}
	return positional, keyword
}
