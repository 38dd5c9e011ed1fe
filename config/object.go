package config

import (
	"errors"
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// object is what a constructor made: its arguments, and where they stand.
type object struct {
	class *class
	at    dialect.Place // where the call begins
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
	at    dialect.Place
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
	for _, v := range o.Held() {
		v.Freeze()
	}
}

// Held are the values of all arguments.
func (o *object) Held() []starlark.Value {
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
		return m(r, r.program.Find(t), o, args, kwargs)
	}), nil
}

// AttrNames lists the methods.
func (o *object) AttrNames() []string { return sortedKeys(o.class.attrs) }

// Binary refuses operators: a part that is known only when the build runs
// cannot be computed with before.
func (o *object) Binary(op syntax.Token, _ starlark.Value, _ starlark.Side) (starlark.Value, error) {
	return nil, fmt.Errorf("%s has no operator %s; util.Interpolate puts texts together when the build runs", o.class.name, op)
}

// made makes what such a method makes.
func (r *reader) made(c *class, self *object, call dialect.Found, args starlark.Tuple, kwargs []starlark.Tuple) *object {
	o := &object{class: c, at: self.at, of: self, args: make(map[string]argument, len(args)+len(kwargs))}
	if call.Written() {
		o.at = call.At
	}
	r.bind(o, call, args, kwargs)
	return o
}

// bind gives the arguments of a call their parameters, and keeps the object for when
// values are judged.
func (r *reader) bind(o *object, call dialect.Found, args starlark.Tuple, kwargs []starlark.Tuple) {
	r.objects = append(r.objects, o)
	positional, keyword := call.Arguments()
	c := o.class
	for i, v := range args {
		at := o.at
		if i < len(positional) {
			at = positional[i]
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
		}
		p, known := c.param(name)
		switch _, twice := o.args[name]; {
		case !known && c.open:
			o.extra = append(o.extra, a)
		case !known:
			r.errorf(a.at, dialect.DidYouMean(name, c.paramNames()), "%s has no argument %s", c.name, name)
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
