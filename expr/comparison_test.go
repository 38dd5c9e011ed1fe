package expr

import (
	"encoding/json"
	"testing"
)

func TestComparison(t *testing.T) {
	n, branch, missing := PropertyRef{Name: "n"}, PropertyRef{Name: "branch"}, PropertyRef{Name: "missing"}
	for _, tt := range []struct {
		left any
		op   string
		right,
		want any // nil is an error
	}{
		{branch, "==", "main", true},
		{branch, "!=", "main", false},
		{"x", "==", branch, false},
		{missing, "==", nil, true},
		{n, "==", 7.0, true},
		{n, "==", "7", false},
		{PropertyRef{Name: "list"}, "==", []any{"a", 1, nil}, true},
		{n, "<", 7, false},
		{n, "<=", 7.0, true},
		{n, ">", 6.5, true},
		{8, ">=", n, true},
		{branch, "<", "n", true},
		{"m", ">=", branch, false},
		{branch, "<", 5, nil},
		{missing, ">", 5, nil},
		{true, "==", 1, true},
		{0.0, "==", json.Number("-0.0"), true},
		{json.Number("1760000000000000000"), "<", 1760000000000000001, true},
		{json.Number("18446744073709551615"), ">", 18446744073709551614.0, false},
		{2.5, ">", 2, true},
		{[]any{"x"}, "<", []any{"y"}, nil},
		{SecretRef{"none"}, "==", "x", nil},
		{"x", "==", SecretRef{"none"}, nil},
		{1, "<>", 2, nil},
	} {
		got, err := Comparison{tt.left, tt.op, tt.right}.Render(testScope())
		if got != tt.want || (err != nil) != (tt.want == nil) {
			t.Errorf("%v %s %v is %v, %v", tt.left, tt.op, tt.right, got, err)
		}
	}
}
