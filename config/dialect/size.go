package dialect

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// A value can be small in memory and endless when it is gone through, as
// l = [l, l] in a loop is: what it holds is shared. To write it out, to compare
// it or to look it up takes one step, which neither the counting of steps nor
// the watch could stop. So whatever goes through a value asks first how much
// there is of it.

// unfolded counts what there is of values when all that they share is counted as
// often as it is there.
type unfolded struct {
	parts int
	text  int // bytes
}

// maxUnfold is how deep values may lie in each other; one may hold itself.
const maxUnfold = 200

// add reports false once there is too much.
func (u *unfolded) add(v starlark.Value, depth int) bool {
	if f, ok := v.(factor); ok {
		v = f.Value
	}
	u.parts++
	switch v := v.(type) {
	case starlark.String:
		u.text += len(v)
	case starlark.Bytes:
		u.text += len(v)
	case starlark.Int:
		if _, small := v.Int64(); !small {
			u.text += v.BigInt().BitLen() / 3 // digits, or some more
		}
	}
	if u.parts > maxElements || u.text > maxText || depth > maxUnfold {
		return false
	}
	switch v := v.(type) {
	case starlark.Tuple:
		for _, e := range v {
			if !u.add(e, depth+1) {
				return false
			}
		}
	case *starlark.List:
		for i := range v.Len() {
			if !u.add(v.Index(i), depth+1) {
				return false
			}
		}
	case *starlark.Set:
		for e := range v.Elements() {
			if !u.add(e, depth+1) {
				return false
			}
		}
	case *starlark.Dict:
		for k, e := range v.Entries() {
			if !u.add(k, depth+1) || !u.add(e, depth+1) {
				return false
			}
		}
	}
	return true
}

var errTooMuch = fmt.Errorf("the value is too large for that: with all that it holds it has more than %d parts, or %d bytes of text", maxElements, maxText)

// limitSize refuses values that cannot be gone through at once.
func limitSize(values ...starlark.Value) error {
	var u unfolded
	for _, v := range values {
		if !u.add(v, 0) {
			return errTooMuch
		}
	}
	return nil
}

// limitArguments is limitSize for a call's.
func limitArguments(args starlark.Tuple, kwargs []starlark.Tuple) error {
	err := limitSize(args...)
	for _, kv := range kwargs {
		if err == nil {
			err = limitSize(kv[1])
		}
	}
	return err
}

// wholeReaders are Starlark's own functions that go through all that their
// arguments hold.
var wholeReaders = []string{"dict", "fail", "hash", "max", "min", "print", "repr", "set", "sorted", "str"}

// newWholeReader makes one of [wholeReaders] that is limited.
func newWholeReader(name string) *starlark.Builtin {
	own := starlark.Universe[name].(*starlark.Builtin)
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		if err := limitArguments(args, kwargs); err != nil {
			return nil, err
		}
		if name == "sorted" || name == "min" || name == "max" {
			args, kwargs = limitKeys(args, kwargs)
		}
		return own.CallInternal(t, args, kwargs)
	})
}

// limitKeys limits what the key function of sorted, min or max returns: all that is
// compared with each other in one step. Only sorted may have it as its second
// argument; the others compare it, which fails.
func limitKeys(args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Tuple, []starlark.Tuple) {
	var all unfolded
	args, kwargs = slices.Clone(args), slices.Clone(kwargs)
	for i, arg := range args {
		if key, ok := arg.(starlark.Callable); ok && i == 1 {
			args[i] = all.limited(key)
		}
	}
	for i, kv := range kwargs {
		if key, ok := kv[1].(starlark.Callable); ok {
			kwargs[i] = starlark.Tuple{kv[0], all.limited(key)}
		}
	}
	return args, kwargs
}

// limited is a function for all of whose results together there is a limit.
func (u *unfolded) limited(key starlark.Callable) starlark.Callable {
	return starlark.NewBuiltin(key.Name(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		v, err := starlark.Call(t, key, args, kwargs)
		if err == nil && !u.add(v, 0) {
			err = errTooMuch
		}
		return v, err
	})
}

// limitedZip is Starlark's zip, which makes as many tuples as its shortest argument
// is long, each of as many values as there are arguments.
func limitedZip(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	shortest := maxElements
	for _, arg := range args {
		if n := starlark.Len(arg); n >= 0 {
			shortest = min(shortest, n)
		}
	}
	if len(args) > 0 && shortest > maxElements/len(args) {
		return nil, fmt.Errorf("zip: the result would have more than %d values", maxElements)
	}
	return starlark.Universe["zip"].(*starlark.Builtin).CallInternal(t, args, kwargs)
}

// limitedGetattr is Starlark's getattr, whose methods have the limits that those
// have which are written with a dot.
func limitedGetattr(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) > 1 {
		if name, ok := args[1].(starlark.String); ok && guardedMethods[string(name)] {
			args = slices.Clone(args)
			args[0] = factor{args[0]}
		}
	}
	return starlark.Universe["getattr"].(*starlark.Builtin).CallInternal(t, args, kwargs)
}

// maxDigits of an integer that is written as a text. More than a machine's word
// has no use in a configuration, and reading one takes the square of its length.
const maxDigits = 1000

// limitedInt is Starlark's int for numbers that anybody writes.
func limitedInt(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	for _, arg := range args {
		if s, ok := arg.(starlark.String); ok && len(s) > maxDigits {
			return nil, fmt.Errorf("int: a text of %d characters is no number", len(s))
		}
	}
	return starlark.Universe["int"].(*starlark.Builtin).CallInternal(t, args, kwargs)
}

// maxOperators is how many operators, calls and lookups may follow each other in
// one expression, and how many elif in one if: they lie in each other as deep, and
// the time that it takes to go through them grows with their square.
const maxOperators = 5000

// limitOperators refuses an expression, or a number, that is too long.
func limitOperators(tokens []token) *mistake {
	counts := []int{0} // of each bracket that is open
	elifs := 0
	for i, t := range tokens {
		at := &counts[len(counts)-1]
		switch {
		case t.word("elif"):
			*at = 0
			if elifs++; elifs > maxOperators {
				return mistakef(t.at(), "use a dictionary", "there are more than %d elif", maxOperators)
			}
		case t.kind == tokNewline, t.is(","), t.is(";"):
			*at = 0
		case t.opensBracket():
			if i > 0 && tokens[i-1].endsOperand() {
				*at++
			}
			counts = append(counts, 0)
		case t.closesBracket() && len(counts) > 1:
			counts = counts[:len(counts)-1]
		case t.kind == tokNumber && len(t.text) > maxDigits:
			return mistakef(t.at(), "", "the number has more than %d digits", maxDigits)
		case t.kind == tokOp, t.keyword():
			*at++
		}
		if *at > maxOperators {
			return mistakef(t.at(), "put a part of it into a variable", "the expression has more than %d operators", maxOperators)
		}
	}
	return nil
}

// keyName is the predeclared function that guardKeys calls.
const keyName = "limited key"

// comparedName is the predeclared function that guardIdentity calls.
const comparedName = "limited value"

// guardIdentity wraps the operands of what was "is" in the text, which compares
// at once. Nothing is gone through for None, True and False.
func guardIdentity(n *syntax.BinaryExpr) {
	constants := wordSet("None True False")
	for _, e := range []syntax.Expr{n.X, n.Y} {
		if id, ok := e.(*syntax.Ident); ok && constants[id.Name] {
			return
		}
	}
	n.X, n.Y = wrapped(comparedName, n.X, n.OpPos), wrapped(comparedName, n.Y, n.OpPos)
}

func newLimited(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], limitSize(args[0])
}

// guardKeys wraps what something is looked up by. Of what can be a key only
// tuples hold others.
func guardKeys(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.IndexExpr:
		n.Y = guardedKey(n.Y, n.Lbrack)
	case *syntax.DictEntry:
		n.Key = guardedKey(n.Key, n.Colon)
	}
}

func guardedKey(e syntax.Expr, at syntax.Position) syntax.Expr {
	if _, ok := e.(*syntax.Literal); ok {
		return e
	}
	return wrapped(keyName, e, at)
}

func newKey(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if _, ok := args[0].(starlark.Tuple); ok {
		return args[0], limitSize(args[0])
	}
	return args[0], nil
}

// Holder is a value of the vocabulary's own that holds others, which are frozen
// with it. It is a pointer.
type Holder interface {
	starlark.Value
	Held() []starlark.Value
}

// limitFreeze refuses global variables whose freezing would not end: it goes
// through a tuple as often as it is there, and through everything else once.
func limitFreeze(globals starlark.StringDict) error {
	seen := map[starlark.Value]bool{}
	parts := 0
	var walk func(v starlark.Value, depth int) bool
	all := func(seq starlark.Iterable, depth int) bool {
		for e := range starlark.Elements(seq) {
			if !walk(e, depth+1) {
				return false
			}
		}
		return true
	}
	walk = func(v starlark.Value, depth int) bool {
		if parts++; parts > maxFrozen || depth > maxFreeze {
			return false
		}
		switch v := v.(type) {
		case starlark.Tuple:
			return all(v, depth)
		case *starlark.List, *starlark.Set, *starlark.Dict, *starlark.Function, Holder:
			if seen[v] {
				return true
			}
			seen[v] = true
		}
		switch v := v.(type) {
		case *starlark.List:
			return all(v, depth)
		case *starlark.Set:
			return all(v, depth)
		case *starlark.Dict:
			for k, e := range v.Entries() {
				if !walk(k, depth+1) || !walk(e, depth+1) {
					return false
				}
			}
		case Holder:
			for _, e := range v.Held() {
				if !walk(e, depth+1) {
					return false
				}
			}
		case *starlark.Function:
			for i := range v.NumParams() {
				if d := v.ParamDefault(i); d != nil && !walk(d, depth+1) {
					return false
				}
			}
			for i := range v.NumFreeVars() {
				if _, e := v.FreeVar(i); e != nil && !walk(e, depth+1) {
					return false
				}
			}
		}
		return true
	}
	for _, name := range globals.Keys() {
		if !walk(globals[name], 0) {
			return fmt.Errorf("the value of %s is too large: with all that it holds it has more than %d parts, or they lie more than %d deep in each other", name, maxFrozen, maxFreeze)
		}
	}
	return nil
}

const (
	// maxFrozen is of all global variables together; each is a word or two of the
	// memory that evaluating them may take.
	maxFrozen = 4 << 20
	// maxFreeze is how deep they may lie in each other.
	maxFreeze = 100_000
)
