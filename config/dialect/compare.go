package dialect

import (
	"cmp"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Later is a value that can stand for one which is known only when the program is
// long over. Comparisons of it, and of what holds it, are made then, too.
type Later interface {
	starlark.Value
	// KnownLater reports whether this value does.
	KnownLater() bool
	// CompareLater makes what stands for the result of x op y. The value is one of
	// them, or lies in one.
	CompareLater(t *starlark.Thread, x starlark.Value, op syntax.Token, y starlark.Value) (starlark.Value, error)
	// NotMember is why the value cannot be looked for in another, nor another in
	// it.
	NotMember() error
	// NoCondition is why nothing can depend on whether the value is true; nil when
	// it is as true as any other.
	NoCondition() error
}

// comparedNames are the predeclared functions that wrap the left operand of a
// comparison, by its operator.
var comparedNames = map[syntax.Token]string{
	syntax.EQL: "compared ==", syntax.NEQ: "compared !=",
	syntax.LT: "compared <", syntax.LE: "compared <=", syntax.GT: "compared >", syntax.GE: "compared >=",
}

// The predeclared functions that refuse what is known only later, besides those
// of [truths].
const (
	memberName    = "known member"
	conditionName = "known condition"
)

// truths are Starlark's own functions that look for what is true.
var truths = []string{"all", "any", "bool"}

// compareLater has comparisons in n carried out by their left operand's Binary:
// one of Starlark's own is True or False at once, and what is known only when a
// build runs would be unequal to anything, in silence. Behind the parser any
// operator can stand for that; | is one that no value here has.
//
// Where a condition is wanted at once, the result of such a comparison is
// refused: as any object, it would be true.
func compareLater(n syntax.Node, is map[position]bool) {
	switch n := n.(type) {
	case *syntax.BinaryExpr:
		switch n.Op {
		case syntax.IN, syntax.NOT_IN:
			n.X, n.Y = wrapped(memberName, n.X, n.OpPos), wrapped(memberName, n.Y, n.OpPos)
		case syntax.AND, syntax.OR:
			n.X = condition(n.X)
		default:
			if name, ok := comparedNames[n.Op]; ok && is[at(n.OpPos)] {
				guardIdentity(n)
			} else if ok {
				n.X, n.Op = wrapped(name, n.X, n.OpPos), syntax.PIPE
			}
		}
	case *syntax.UnaryExpr:
		if n.Op == syntax.NOT {
			n.X = condition(n.X)
		}
	case *syntax.IfStmt:
		n.Cond = condition(n.Cond)
	case *syntax.IfClause:
		n.Cond = condition(n.Cond)
	case *syntax.WhileStmt:
		n.Cond = condition(n.Cond)
	case *syntax.CondExpr:
		n.Cond = condition(n.Cond)
	}
}

func condition(e syntax.Expr) syntax.Expr { return wrapped(conditionName, e, syntax.Start(e)) }

// newCompared makes the function that wraps the left operand of op.
func newCompared(op syntax.Token) *starlark.Builtin {
	return starlark.NewBuiltin(op.String(), func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		return compared{args[0], op, t}, nil
	})
}

// compared is the left operand of a comparison.
type compared struct {
	starlark.Value
	op syntax.Token
	t  *starlark.Thread
}

// Binary compares.
func (c compared) Binary(_ syntax.Token, other starlark.Value, _ starlark.Side) (starlark.Value, error) {
	if err := limitSize(c.Value, other); err != nil {
		return nil, err
	}
	if later := cmp.Or(laterIn(c.Value), laterIn(other)); later != nil {
		return later.CompareLater(c.t, c.Value, c.op, other)
	}
	is, err := starlark.Compare(c.op, c.Value, other)
	return starlark.Bool(is), err
}

// maxLater is how deep a value is looked for in others that is known only later:
// a list can hold itself.
const maxLater = 50

// laterIn returns what is known only later and is v, or lies in it; nil for
// nothing.
func laterIn(v starlark.Value) Later {
	parts := 0
	var find func(v starlark.Value, depth int) Later
	find = func(v starlark.Value, depth int) Later {
		if parts++; depth > maxLater || parts > maxElements {
			return nil
		}
		switch v := v.(type) {
		case starlark.String, starlark.Int, starlark.Bool, starlark.NoneType:
		case *starlark.List, starlark.Tuple:
			for e := range starlark.Elements(v.(starlark.Iterable)) {
				if l := find(e, depth+1); l != nil {
					return l
				}
			}
		case *starlark.Dict:
			for _, e := range v.Entries() {
				if l := find(e, depth+1); l != nil {
					return l
				}
			}
		case Later:
			if v.KnownLater() {
				return v
			}
		}
		return nil
	}
	return find(v, 0)
}

func newMember(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if l := laterIn(args[0]); l != nil {
		return nil, l.NotMember()
	}
	return args[0], limitSize(args[0])
}

func newCondition(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], noCondition(args[0])
}

func noCondition(v starlark.Value) error {
	if l, ok := v.(Later); ok {
		return l.NoCondition()
	}
	return nil
}

// newTruth makes one of [truths], which refuses what is decided later.
func newTruth(name string) *starlark.Builtin {
	own := starlark.Universe[name].(*starlark.Builtin)
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, arg := range args {
			if err := noCondition(arg); err != nil {
				return nil, err
			}
			if seq, ok := arg.(starlark.Iterable); ok && name != "bool" {
				for e := range starlark.Elements(seq) {
					if err := noCondition(e); err != nil {
						return nil, err
					}
				}
			}
		}
		return own.CallInternal(t, args, kwargs)
	})
}
