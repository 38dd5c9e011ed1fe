package command

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStepEnviron(t *testing.T) {
	t.Parallel()
	base := []string{"PATH=/bin", "HOME=/h", "PYTHONPATH=/py", "EQ=a=b"}
	for _, tt := range []struct {
		name string
		env  map[string]any
		want []string
		err  string
	}{
		{"none", nil, []string{"EQ=a=b", "HOME=/h", "PATH=/bin", "PWD=/d", "PYTHONPATH=/py"}, ""},
		{
			"all of it",
			map[string]any{"PATH": []any{"/x", "${PATH}"}, "HOME": nil, "PYTHONPATH": "/mine", "NEW": "${EQ}-${NOPE}-$HOME-${PWD}", "RAW": []byte("b")},
			[]string{"EQ=a=b", "NEW=a=b--$HOME-", "PATH=/x:/bin", "PWD=/d", "PYTHONPATH=/mine:/py", "RAW=b"},
			"",
		},
		{"number", map[string]any{"N": int64(1)}, nil, "the value of N is neither a string nor a list"},
		{"list of numbers", map[string]any{"N": []any{int64(1)}}, nil, "the value of N is neither"},
		{"name", map[string]any{"A=B": "x"}, nil, `"A=B" cannot be the name`},
		{"NUL", map[string]any{"A": "x\x00"}, nil, "NUL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := stepEnviron(base, tt.env, "/d")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
	// An absent PYTHONPATH leaves no empty element, which would be ".".
	got, err := stepEnviron(nil, map[string]any{"PYTHONPATH": "/mine"}, "/d")
	if err != nil || !slices.Contains(got, "PYTHONPATH=/mine") {
		t.Error(got, err)
	}
}
