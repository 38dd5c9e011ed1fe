package config

import (
	"math"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// arguments reads the arguments of an object. Each method reads a kind of value that
// arguments of many classes are, and returns the default where an argument is not
// given, is None, or is wrong, which it reports. What is about one subject is a
// function beside its class.
type arguments struct {
	r *reader
	o *object
}

// field is the argument as it was given, None too.
func (a arguments) field(name string) (field, bool) {
	arg, ok := a.o.args[name]
	if !ok {
		return field{}, false
	}
	p, _ := a.o.class.param(name)
	return field{a.r, a.o.class.name + ": " + name, arg.value, arg.at, p.secret}, true
}

// some is the argument when it was given and is not None.
func (a arguments) some(name string) (field, bool) {
	f, ok := a.field(name)
	return f, ok && f.v != starlark.None
}

// given reports whether some value was given.
func (a arguments) given(name string) bool {
	_, ok := a.some(name)
	return ok
}

// at is where an argument stands, or the call where it was not given.
func (a arguments) at(name string) dialect.Place {
	if arg, ok := a.o.args[name]; ok {
		return arg.at
	}
	return a.o.at
}

// errorf reports a mistake about an argument.
func (a arguments) errorf(name, hint, format string, args ...any) {
	a.r.errorf(a.at(name), hint, a.o.class.name+": "+format, args...)
}

func (a arguments) text(name, def string) string {
	if f, ok := a.some(name); ok {
		if s, ok := f.text(); ok {
			return s
		}
	}
	return def
}

// requiredText is like text for an argument that may not be None.
func (a arguments) requiredText(name string) string {
	if f, ok := a.field(name); ok {
		s, _ := f.text()
		return s
	}
	return "" // its absence has been reported
}

func (a arguments) secretText(name string) string {
	if f, ok := a.some(name); ok {
		return f.secretText()
	}
	return ""
}

func (a arguments) texts(name string) []string {
	if f, ok := a.some(name); ok {
		return f.texts()
	}
	return nil
}

func (a arguments) flag(name string, def bool) bool {
	if f, ok := a.some(name); ok {
		if v, ok := f.flag(); ok {
			return v
		}
	}
	return def
}

// count reads a positive integer.
func (a arguments) count(name string, def int) int {
	if f, ok := a.some(name); ok {
		if n, ok := f.integer(1, math.MaxInt32); ok {
			return n
		}
	}
	return def
}

func (a arguments) seconds(name string, def time.Duration, s sign) time.Duration {
	if f, ok := a.some(name); ok {
		if d, ok := f.seconds(s); ok {
			return d
		}
	}
	return def
}

// limit reads a time that None switches off.
func (a arguments) limit(name string, def time.Duration, s sign) time.Duration {
	if f, ok := a.field(name); ok && f.v == starlark.None {
		return 0
	}
	return a.seconds(name, def, s)
}

func (a arguments) dynamicText(name string) any {
	if f, ok := a.some(name); ok {
		if v, ok := f.dynamicText(); ok {
			return v
		}
	}
	return nil
}

// data reads a dictionary of what JSON can hold or, with dynamic, of what
// becomes that when a build runs.
func (a arguments) data(name string, dynamic bool) map[string]any {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	names, values := f.pairs()
	out := make(map[string]any, len(names))
	for _, n := range names {
		out[n], _ = values[n].data(dynamic)
	}
	return out
}

func (a arguments) textMap(name string) map[string]string {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	names, values := f.pairs()
	out := make(map[string]string, len(names))
	for _, n := range names {
		s, ok := values[n].v.(starlark.String)
		if !ok {
			values[n].bad("a string")
		}
		out[n] = string(s)
	}
	return out
}

// names reads a list of names, or of what becomes names.
func (a arguments) names(arg string) []any {
	f, ok := a.some(arg)
	if !ok {
		return nil
	}
	if _, isObject := f.v.(*object); isObject {
		v, _ := f.dynamicText()
		return []any{v}
	}
	items, _ := f.items("a list of names")
	var out []any
	for _, item := range items {
		if v, ok := item.dynamicText(); ok {
			if v == "" {
				item.bad("a name")
			}
			out = append(out, v)
		}
	}
	return out
}

// optionalFlag is a flag that not every class of the kind has.
func (a arguments) optionalFlag(name string) bool {
	_, has := a.o.class.param(name)
	return has && a.flag(name, false)
}

// words reads a string, or a list of strings that are joined with blanks.
func (a arguments) words(name, def string) string {
	f, ok := a.some(name)
	if !ok {
		return def
	}
	if s, one := f.v.(starlark.String); one {
		return string(s)
	}
	items, _ := f.items("a string or a list of strings")
	var words []string
	for _, item := range items {
		if s, ok := item.text(); ok {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

// word reads one of some words, or what yields one when a build runs.
func (a arguments) word(name string, words ...string) any {
	f, ok := a.some(name)
	if !ok {
		return nil
	}
	if o, isObject := f.v.(*object); isObject {
		if _, renders := f.r.renderable(o); renders {
			v, _ := f.dynamicText()
			return v
		}
	}
	return f.oneOf(words...)
}
