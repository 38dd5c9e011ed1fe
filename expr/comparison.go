package expr

import (
	"strings"

	"github.com/dormouse-ci/dormouse"
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
	order, ordered := compareNumbers(left, right)
	if a, isText := left.(string); isText {
		var b string
		if b, ordered = right.(string); ordered {
			order = strings.Compare(a, b)
		}
	}
	switch c.Op {
	case "==":
		return ordered && order == 0 || !ordered && dormouse.SameJSON(left, right), nil
	case "!=":
		return ordered && order != 0 || !ordered && !dormouse.SameJSON(left, right), nil
	}
	if !ordered {
		// What they are may be secret.
		return nil, dormouse.Errorf(dormouse.Invalid, "%s %s %s cannot be told: only two numbers or two texts have an order", kindOf(left), c.Op, kindOf(right))
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
	return nil, dormouse.Errorf(dormouse.Internal, "%q is no comparison", c.Op)
}

// kindOf names what a value is.
func kindOf(v any) string {
	if _, ok := number(v); ok {
		return "a number"
	}
	switch v.(type) {
	case nil:
		return "None"
	case string:
		return "a text"
	case []any:
		return "a list"
	case map[string]any:
		return "a dictionary"
	}
	return "a value"
}
