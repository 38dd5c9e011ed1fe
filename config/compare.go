package config

import (
	"cmp"
	"errors"
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/dormouse-ci/dormouse/expr"
)

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
		return compared{args[0], op, readerOf(t)}, nil
	})
}

// compared is the left operand of a comparison.
type compared struct {
	starlark.Value
	op syntax.Token
	r  *reader
}

// Binary compares.
func (c compared) Binary(_ syntax.Token, other starlark.Value, _ starlark.Side) (starlark.Value, error) {
	if err := limitSize(c.Value, other); err != nil {
		return nil, err
	}
	later := cmp.Or(laterIn(c.Value), laterIn(other))
	if later == nil {
		is, err := starlark.Compare(c.op, c.Value, other)
		return starlark.Bool(is), err
	}
	o := &object{class: comparisonClass, at: later.at, args: make(map[string]argument)}
	for name, v := range map[string]starlark.Value{"left": c.Value, "op": starlark.String(c.op.String()), "right": other} {
		o.args[name] = argument{name, v, later.at}
	}
	c.r.objects = append(c.r.objects, o)
	return o, nil
}

// laterIn returns what is known only when a build runs and is v, or lies in it;
// nil for nothing.
func laterIn(v starlark.Value) *object {
	parts := 0
	var find func(v starlark.Value, depth int) *object
	find = func(v starlark.Value, depth int) *object {
		if parts++; depth > maxNested || parts > maxElements {
			return nil // as a list that holds itself
		}
		switch v := v.(type) {
		case *object:
			if renderables[v.class] {
				return v
			}
		case *starlark.List, starlark.Tuple:
			for e := range starlark.Elements(v.(starlark.Iterable)) {
				if o := find(e, depth+1); o != nil {
					return o
				}
			}
		case *starlark.Dict:
			for _, e := range v.Entries() {
				if o := find(e, depth+1); o != nil {
					return o
				}
			}
		}
		return nil
	}
	return find(v, 0)
}

// comparisonClass is what a comparison of something known later makes.
var comparisonClass = &class{
	name: "comparison", positional: 3,
	params: []param{{name: "left", secret: true}, {name: "op"}, {name: "right", secret: true}},
}

func (a arguments) comparison() any {
	left, _ := a.field("left")
	right, _ := a.field("right")
	x, okX := left.data(true)
	y, okY := right.data(true)
	if !okX || !okY {
		return nil
	}
	return expr.Comparison{Left: x, Op: string(a.o.args["op"].value.(starlark.String)), Right: y}
}

func newMember(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if o := laterIn(args[0]); o != nil {
		return nil, fmt.Errorf("%s is known only when the build runs: compare it with ==, or look it up in a function, such as lambda step: step.getProperty('x') in ['y']", o.class.name)
	}
	return args[0], limitSize(args[0])
}

func newCondition(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	return args[0], decidedLater(args[0])
}

func decidedLater(v starlark.Value) error {
	if o, ok := v.(*object); ok && o.class == comparisonClass {
		return errors.New("this comparison is made when the build runs, and its result is not known here: combine conditions in a function, such as lambda step: step.getProperty('x') == 'y' and …")
	}
	return nil
}

// newTruth makes one of [truths], which refuses what is decided later.
func newTruth(name string) *starlark.Builtin {
	own := starlark.Universe[name].(*starlark.Builtin)
	return starlark.NewBuiltin(name, func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		for _, arg := range args {
			if err := decidedLater(arg); err != nil {
				return nil, err
			}
			if seq, ok := arg.(starlark.Iterable); ok && name != "bool" {
				for e := range starlark.Elements(seq) {
					if err := decidedLater(e); err != nil {
						return nil, err
					}
				}
			}
		}
		return own.CallInternal(t, args, kwargs)
	})
}
