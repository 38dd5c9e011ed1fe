package config

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// comparisonClass is what a comparison of something known later makes.
var comparisonClass = &class{
	name: "comparison", positional: 3,
	params:  []param{{name: "left", secret: true}, {name: "op"}, {name: "right", secret: true}},
	renders: true, read: readComparison,
}

var _ dialect.Later = (*object)(nil)

// KnownLater reports whether it stands for what is known only when a build runs.
func (o *object) KnownLater() bool { return o.class.renders }

// CompareLater makes a comparison that is carried out when a build runs.
func (o *object) CompareLater(t *starlark.Thread, x starlark.Value, op syntax.Token, y starlark.Value) (starlark.Value, error) {
	c := &object{class: comparisonClass, at: o.at, args: make(map[string]argument)}
	for name, v := range map[string]starlark.Value{"left": x, "op": starlark.String(op.String()), "right": y} {
		c.args[name] = argument{name, v, o.at}
	}
	r := readerOf(t)
	r.objects = append(r.objects, c)
	return c, nil
}

// NotMember says what to write instead of the operator in.
func (o *object) NotMember() error {
	return fmt.Errorf("%s is known only when the build runs: compare it with ==, or look it up in a function, such as lambda step: step.getProperty('x') in ['y']", o.class.name)
}

// NoCondition refuses a comparison: as any object, it would be true.
func (o *object) NoCondition() error {
	if o.class == comparisonClass {
		return errors.New("this comparison is made when the build runs, and its result is not known here: combine conditions in a function, such as lambda step: step.getProperty('x') == 'y' and …")
	}
	return nil
}

func readComparison(a arguments) any {
	left, _ := a.field("left")
	right, _ := a.field("right")
	x, okX := left.data(true)
	y, okY := right.data(true)
	if !okX || !okY {
		return nil
	}
	return expr.Comparison{Left: x, Op: string(a.o.args["op"].value.(starlark.String)), Right: y}
}
