package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"go.starlark.net/starlark"
)

// Identity stands for what the function does: it is the same after the
// configuration was read again, wherever the function stands then, as long as
// its text and all that it names are the same. Its arguments are apart from that.
func (c *called) Identity() string {
	h := sha256.New()
	i := describer{program: c.program, seen: map[*starlark.Function]bool{}, written: new(int)}
	fmt.Fprintf(h, "%d %d %d;", c.role, len(c.args), len(c.kw))
	i.value(h, c.f, 0)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Arguments are what the function is called with, besides what it is given by the
// build. They are not in its identity.
func (c *called) Arguments() []any { return append(slices.Clone(c.args), c.kw) }

// describer writes values so that what differs reads differently.
type describer struct {
	program *program
	seen    map[*starlark.Function]bool
	written *int // values
}

func (i describer) value(w io.Writer, v starlark.Value, depth int) {
	if *i.written++; depth > maxNested || *i.written > maxData {
		return
	}
	switch v := v.(type) {
	case *starlark.Function:
		i.function(w, v, depth)
	case *object:
		fmt.Fprintf(w, "%s(", v.class.name)
		for _, name := range sortedKeys(v.args) {
			fmt.Fprintf(w, "%s=", name)
			i.value(w, v.args[name].value, depth+1)
		}
		for _, arg := range slices.Concat(v.rest, v.extra, v.steps) {
			fmt.Fprintf(w, "%s:", arg.name)
			i.value(w, arg.value, depth+1)
		}
		if v.of != nil {
			i.value(w, v.of, depth+1)
		}
		fmt.Fprint(w, ")")
	case *starlark.List, starlark.Tuple, *starlark.Set:
		fmt.Fprintf(w, "%s[", v.Type())
		for e := range starlark.Elements(v.(starlark.Iterable)) {
			i.value(w, e, depth+1)
		}
		fmt.Fprint(w, "]")
	case *starlark.Dict:
		fmt.Fprint(w, "{")
		for _, item := range v.Items() {
			i.value(w, item[0], depth+1)
			i.value(w, item[1], depth+1)
		}
		fmt.Fprint(w, "}")
	case nil:
		fmt.Fprint(w, "nil;")
	default:
		fmt.Fprintf(w, "%s %s;", v.Type(), v.String())
	}
}

// function writes a function's text, what it is bound to, and what it names.
func (i describer) function(w io.Writer, f *starlark.Function, depth int) {
	if i.seen[f] {
		fmt.Fprintf(w, "again %s;", f.Name())
		return
	}
	i.seen[f] = true
	text, names, found := i.program.Source(f)
	if !found {
		fmt.Fprintf(w, "function %s at %s;", f.Name(), f.Position())
		return
	}
	fmt.Fprintf(w, "%q;", text)
	for n := range f.NumParams() {
		i.value(w, f.ParamDefault(n), depth+1)
	}
	for n := range f.NumFreeVars() {
		b, v := f.FreeVar(n)
		fmt.Fprintf(w, "%s=", b.Name)
		i.value(w, v, depth+1)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		fmt.Fprintf(w, "%s=", name)
		i.value(w, i.program.globals[name], depth+1)
	}
}
