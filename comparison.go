package dormouse

import (
	"cmp"
	"strings"
)

// Comparison compares two values when the build runs, such as
// util.Property('branch') == 'main'. Its rendering is a bool.
type Comparison struct {
	Left  any // may be Renderable
	Op    string
	Right any // may be Renderable
}

// Render compares. Numbers and texts have an order; anything can be equal.
func (c Comparison) Render(scope Scope) (any, error) {
	left, err := Render(c.Left, scope)
	if err != nil {
		return nil, err
	}
	right, err := Render(c.Right, scope)
	if err != nil {
		return nil, err
	}
	switch c.Op {
	case "==":
		return SameJSON(left, right), nil
	case "!=":
		return !SameJSON(left, right), nil
	}
	var order int
	x, isNumber := number(left)
	y, areNumbers := number(right)
	a, isText := left.(string)
	b, areTexts := right.(string)
	switch {
	case isNumber && areNumbers:
		order = cmp.Compare(x, y)
	case isText && areTexts:
		order = strings.Compare(a, b)
	default:
		return nil, Errorf(Invalid, "%s %s %s can not be told: only two numbers or two texts have an order",
			abbreviate(PythonText(left)), c.Op, abbreviate(PythonText(right)))
	}
	switch c.Op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	case ">=":
		return order >= 0, nil
	}
	return nil, Errorf(Internal, "%q is no comparison", c.Op)
}
