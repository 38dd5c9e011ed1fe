package expr

import (
	"encoding/json"
	"testing"
)

// TestConversion compares with what CPython 3.11 writes.
func TestConversion(t *testing.T) {
	for _, tt := range []struct {
		format string
		v      any
		want   string
	}{
		{"%.0d", 0, "0"},
		{"%+6.0d", 0, "    +0"},
		{"%06.2d", -42, "-00042"},
		{"%012.8d", 5, "000000000005"},
		{"%8.4d", -5, "   -0005"},
		{"%-8.4d|", 5, "0005    |"},
		{"%-08d|", 5, "5       |"},
		{"%+d", 0, "+0"},
		{"%d", json.Number("18446744073709551615"), "18446744073709551615"},
		{"%d", 1e20, "100000000000000000000"},
		{"%i", -0.5, "0"},
		{"%f", -0.0000001, "-0.000000"},
		{"%.f", 2.5, "2"},
		{"%08.2f", -3.14159, "-0003.14"},
		{"%+.1f", 2.0, "+2.0"},
		{"%5.2s|", "é€x", "   é€|"},
		{"%-5s|", nil, "None |"},
		{"%05s", "x", "    x"},
		{"%.3r", "abc", "'ab"},
		{"%s", 1e20, "1e+20"},
	} {
		in, err := ParseInterpolate(tt.format, []any{tt.v}, nil)
		if err != nil {
			t.Errorf("%s: %v", tt.format, err)
			continue
		}
		if got, err := in.Render(Scope{}); got != tt.want || err != nil {
			t.Errorf("%s of %v is %q, %v; want %q", tt.format, tt.v, got, err, tt.want)
		}
	}
}

// A secret is hidden where it is shown only while it is itself.
func TestConversionOfSecrets(t *testing.T) {
	for _, tt := range []struct {
		format string
		args   []any
		kw     map[string]any
		fails  bool
	}{
		{"%(secret:s)r", nil, nil, true},
		{"%(secret:s).2s", nil, nil, true},
		{"%(prop:branch:+%(secret:s)s)r", nil, nil, true},
		{"%r", []any{SecretRef{"s"}}, nil, true},
		{"%.3s", []any{[]any{SecretRef{"s"}}}, nil, true},
		{"%(kw:a)r", nil, map[string]any{"a": SecretRef{"s"}}, true},
		{"%(secret:s)9s", nil, nil, false},
		{"%s %r", []any{SecretRef{"s"}, "x"}, nil, false},
	} {
		in, err := ParseInterpolate(tt.format, tt.args, tt.kw)
		if err == nil {
			_, err = in.Render(testScope())
		}
		if (err != nil) != tt.fails {
			t.Errorf("%s: %v", tt.format, err)
		}
	}
}
