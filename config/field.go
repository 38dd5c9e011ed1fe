package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// field is a value to be judged, with its name for messages and its place.
type field struct {
	r      *reader
	label  string // "worker.Worker: max_builds" or "c['title']"
	v      starlark.Value
	at     dialect.Place
	secret bool
}

// bad reports that the value is not what is allowed.
func (f field) bad(allowed string) {
	hint := ""
	if _, isFunction := f.v.(*starlark.Function); isFunction && strings.Contains(allowed, "util.renderer") {
		hint = "write @util.renderer above the function's def"
	}
	f.r.errorf(f.at, hint, "%s must be %s, not %s", f.label, allowed, f.shown())
}

// shown is the value as messages name it.
func (f field) shown() string {
	switch v := f.v.(type) {
	case starlark.String:
		switch {
		case v == "":
			return "an empty string"
		case f.secret:
			return "this string"
		}
		return quote(string(v))
	case starlark.Int, starlark.Float, starlark.Bool, starlark.NoneType:
		if f.secret {
			return "a value of type " + v.Type()
		}
		return shorten(v.String())
	case *starlark.List:
		if v.Len() == 0 {
			return "an empty list"
		}
		return "a list"
	case starlark.Tuple:
		return "a tuple"
	case *starlark.Dict:
		if v.Len() == 0 {
			return "an empty dictionary"
		}
		return "a dictionary"
	case *object, *module:
		return v.Type()
	case starlark.Callable:
		return "a function"
	}
	return "a value of type " + f.v.Type()
}

func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	const enough = 80 // characters: a line of a terminal
	if r := []rune(s); len(r) > enough {
		return string(r[:enough]) + "…"
	}
	return s
}

// part is an element of the value.
func (f field) part(label string, v starlark.Value, at dialect.Place) field {
	return field{f.r, label, v, at, f.secret}
}

// none reports whether the value is None.
func (f field) none() bool { return f.v == starlark.None }

// isList reports whether the value is a list or a tuple.
func (f field) isList() bool {
	switch f.v.(type) {
	case *starlark.List, starlark.Tuple:
		return true
	}
	return false
}

// text reads a string that is not empty.
func (f field) text() (string, bool) {
	s, ok := f.v.(starlark.String)
	if !ok || s == "" {
		f.bad("a string")
		return "", false
	}
	return string(s), true
}

// items reads a list or a tuple.
func (f field) items(allowed string) ([]field, bool) {
	seq, ok := f.v.(starlark.Sequence)
	switch f.v.(type) {
	case *starlark.List, starlark.Tuple:
	default:
		ok = false
	}
	if !ok {
		f.bad(allowed)
		return nil, false
	}
	out := make([]field, 0, seq.Len())
	for v := range starlark.Elements(seq) {
		out = append(out, f.part(f.label, v, f.at.Item(len(out), seq.Len())))
	}
	return out, true
}

// texts reads a list of strings; a single string is a list of one.
func (f field) texts() []string {
	if _, one := f.v.(starlark.String); one {
		if s, ok := f.text(); ok {
			return []string{s}
		}
		return nil
	}
	items, _ := f.items("a string or a list of strings")
	var out []string
	for _, item := range items {
		s, ok := item.v.(starlark.String)
		switch {
		case !ok || s == "":
			item.bad("a list of strings")
		case slices.Contains(out, string(s)):
			f.r.errorf(item.at, "", "%s has %s twice", f.label, item.shown())
		default:
			out = append(out, string(s))
		}
	}
	return out
}

// pairs reads a dictionary whose keys are strings.
func (f field) pairs() (names []string, values map[string]field) {
	d, ok := f.v.(*starlark.Dict)
	if !ok {
		f.bad("a dictionary")
		return nil, nil
	}
	values = make(map[string]field, d.Len())
	for _, item := range d.Items() {
		k, ok := item[0].(starlark.String)
		if !ok {
			f.part(f.label+": a key", item[0], f.at).bad("a string")
			continue
		}
		_, at := f.at.Entry(string(k))
		names = append(names, string(k))
		values[string(k)] = f.part(f.label+"["+quote(string(k))+"]", item[1], at)
	}
	return names, values
}

// keyAt is where a key of the value stands.
func (f field) keyAt(name string) dialect.Place {
	key, _ := f.at.Entry(name)
	return key
}

// flag reads True or False; 1 and 0 are an old way to write them.
func (f field) flag() (value, ok bool) {
	switch v := f.v.(type) {
	case starlark.Bool:
		return bool(v), true
	case starlark.Int:
		if n, ok := v.Int64(); ok && (n == 0 || n == 1) {
			return n == 1, true
		}
	}
	f.bad("True or False")
	return false, false
}

// integer reads a whole number between least and most.
func (f field) integer(least, most int) (int, bool) {
	if v, ok := f.v.(starlark.Int); ok {
		if n, ok := v.Int64(); ok && n >= int64(least) && n <= int64(most) {
			return int(n), true
		}
	}
	switch {
	case most == math.MaxInt32 && least == 0:
		f.bad("an integer of 0 or more")
	case most == math.MaxInt32 && least == 1:
		f.bad("a positive integer")
	default:
		f.bad(fmt.Sprintf("an integer from %d to %d", least, most))
	}
	return 0, false
}

// number reads an integer or a finite float.
func (f field) number() (float64, bool) {
	var x float64
	switch v := f.v.(type) {
	case starlark.Int:
		x = float64(v.Float())
	case starlark.Float:
		x = float64(v)
	default:
		return 0, false
	}
	return x, !math.IsNaN(x) && !math.IsInf(x, 0)
}

// sign is what times a parameter allows.
type sign byte

const (
	positive sign = iota
	notNegative
	anySign
)

// maxSeconds is 31 years, which fits a time.Duration many times over.
const maxSeconds = 1e9

// seconds reads a time.
func (f field) seconds(s sign) (time.Duration, bool) {
	x, ok := f.number()
	switch {
	case s == positive && (!ok || x <= 0):
		f.bad("a positive number of seconds")
	case s == notNegative && (!ok || x < 0):
		f.bad("a number of seconds, 0 or more")
	case !ok:
		f.bad("a number of seconds")
	case math.Abs(x) > maxSeconds:
		f.bad("at most 1000000000 seconds")
	default:
		d := time.Duration(x * float64(time.Second))
		if d == 0 && x != 0 {
			d = time.Duration(math.Copysign(1, x)) // what is not 0 stays so
		}
		return d, true
	}
	return 0, false
}

// money reads a positive number.
func (f field) money(allowed string) *float64 {
	x, ok := f.number()
	if !ok || x <= 0 {
		f.bad(allowed)
		return nil
	}
	return &x
}

// maxNested is how deep values may lie in each other; a list can contain
// itself.
const maxNested = 50

// maxData is how many parts all values of a configuration, or of what a function
// returns, may have together.
const maxData = 2 << 20

// data reads a value that JSON can hold, or, where dynamic is true, one with
// parts that are known only when a build runs.
func (f field) data(dynamic bool) (any, bool) { return f.nested(dynamic, 0) }

func (f field) nested(dynamic bool, depth int) (any, bool) {
	f.r.goOn()
	// What holds itself twice would go on for as good as ever.
	if f.r.elements++; f.r.elements > maxData {
		if f.r.elements == maxData+1 {
			f.r.errorf(f.at, "", "%s is too large: all values together may have %d parts", f.label, maxData)
		}
		return nil, false
	}
	if depth > maxNested {
		f.r.errorf(f.at, "", "%s is nested more than %d deep", f.label, maxNested)
		return nil, false
	}
	switch v := f.v.(type) {
	case starlark.NoneType:
		return nil, true
	case starlark.Bool:
		return bool(v), true
	case starlark.String:
		return string(v), true
	case starlark.Int:
		if n, ok := v.Int64(); ok {
			return int(n), true
		}
		f.bad("an integer of at most 64 bits")
		return nil, false
	case starlark.Float:
		if x, ok := f.number(); ok {
			return x, true
		}
		f.bad("a finite number")
		return nil, false
	case *starlark.List, starlark.Tuple:
		items, _ := f.items("")
		out := make([]any, len(items))
		all := true
		for i := range items {
			var ok bool
			out[i], ok = items[i].nested(dynamic, depth+1)
			all = all && ok
		}
		return out, all
	case *starlark.Dict:
		names, values := f.pairs()
		out := make(map[string]any, len(names))
		all := len(names) == v.Len()
		for _, name := range names {
			var ok bool
			out[name], ok = values[name].nested(dynamic, depth+1)
			all = all && ok
		}
		return out, all
	case *object:
		if rendered, ok := f.r.renderable(v); ok {
			return f.allowed(rendered, dynamic)
		}
	}
	if dynamic {
		f.bad("a string, a number, a list, a dictionary, or made by util.Interpolate, util.Property, util.renderer or util.Secret")
	} else {
		f.bad("a string, a number, True, False, None, a list or a dictionary")
	}
	return nil, false
}

// allowed passes on a part that is known only later, where there may be one.
// rendered is nil when it was wrong itself, which has been reported.
func (f field) allowed(rendered expr.Renderable, dynamic bool) (any, bool) {
	if !dynamic {
		f.bad("known when the configuration is read")
		return nil, false
	}
	f.r.warnOfShort(rendered, f.at)
	return rendered, rendered != nil
}

// dynamicText reads a string, or what yields one when a build runs.
func (f field) dynamicText() (any, bool) {
	switch v := f.v.(type) {
	case starlark.String:
		return string(v), true
	case *object:
		if rendered, ok := f.r.renderable(v); ok {
			return f.allowed(rendered, true)
		}
	}
	f.bad("a string, or made by util.Interpolate, util.Property, util.renderer or util.Secret")
	return nil, false
}

// secretText reads a string, or the secret that util.Secret names. It is empty
// when it is wrong.
func (f field) secretText() string {
	if o, ok := f.v.(*object); ok && o.class == secretClass {
		ref, ok := f.r.value(o).(expr.SecretRef)
		if !ok {
			return ""
		}
		value, err := f.r.secrets.Lookup(ref.Name) // a missing one has been reported
		if err == nil && value == "" {
			f.r.errorf(f.at, "", "%s: the secret %q is empty", f.label, ref.Name)
		}
		return value
	}
	s, ok := f.v.(starlark.String)
	if !ok || s == "" {
		f.bad("a string or util.Secret('name')")
		return ""
	}
	return string(s)
}

// oneOf reads one of some words. It is empty when it is none of them.
func (f field) oneOf(words ...string) string {
	s, ok := f.v.(starlark.String)
	if ok && slices.Contains(words, string(s)) {
		return string(s)
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + w + "'"
	}
	f.bad(strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1])
	return ""
}
