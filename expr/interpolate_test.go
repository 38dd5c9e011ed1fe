package expr

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/google/go-cmp/cmp"
)

func testScope() Scope {
	props := dormouse.Properties{}
	for name, v := range map[string]any{
		"branch": "main", "n": 7, "zero": 0, "empty": "", "none": nil, "yes": true, "no": false,
		"x": 1.5, "whole": 2.0, "list": []any{"a", 1, nil}, "map": map[string]any{"k": "it's"}, "dotted.name-x": "d",
		"inner": &Interpolate{pieces: []piece{{text: "rendered"}}},
	} {
		props.Set(name, v, "test")
	}
	return Scope{
		Properties: props,
		Sources: []dormouse.SourceStamp{
			{Branch: "b0", Revision: "r0", Repository: "repo", Project: "p"},
			{Codebase: "lib", Branch: "b1"},
		},
		Worker: map[string]string{"name": "w1", "master": "ws://h:1/"},
		Secret: func(name string) (string, error) {
			if name == "s" {
				return "hush", nil
			}
			return "", dormouse.Errorf(dormouse.NotFound, "no secret %q", name)
		},
	}
}

func TestInterpolate(t *testing.T) {
	for _, tt := range []struct {
		format string
		args   []any
		kw     map[string]any
		want   string
	}{
		{"", nil, nil, ""},
		{"plain 100%%", nil, nil, "plain 100%"},
		{"%(prop:branch)s", nil, nil, "main"},
		{"a %(prop:branch)s b %(prop:n)d", nil, nil, "a main b 7"},
		{"%(prop:dotted.name-x)s", nil, nil, "d"},
		{"%(prop:missing)s|", nil, nil, "|"},
		{"%(prop:none)s|", nil, nil, "|"},
		{"%(prop:yes)s %(prop:no)s", nil, nil, "True False"},
		{"%(prop:x)s %(prop:whole)s", nil, nil, "1.5 2"},
		{"%(prop:list)s %(prop:map)s", nil, nil, `['a', 1, None] {'k': "it's"}`},
		{"%(prop:inner)s", nil, nil, "rendered"},

		{"%(prop:branch:-d)s %(prop:missing:-d)s %(prop:empty:-d)s|%(prop:none:-d)s|", nil, nil, "main d ||"},
		{"%(prop:missing:-)s|", nil, nil, "|"},
		{"%(prop:branch:~d)s %(prop:missing:~d)s %(prop:empty:~d)s %(prop:zero:~d)s %(prop:no:~d)s %(prop:none:~d)s", nil, nil, "main d d d d d"},
		{"%(prop:branch:+d)s %(prop:missing:+d)s|%(prop:empty:+d)s", nil, nil, "d |d"},
		{"%(prop:branch:?|y|n)s %(prop:missing:?|y|n)s %(prop:zero:?|y|n)s", nil, nil, "y n y"},
		{"%(prop:branch:#?|y|n)s %(prop:missing:#?|y|n)s %(prop:zero:#?|y|n)s", nil, nil, "y n n"},
		{"%(prop:branch:?:y:n)s", nil, nil, "y"},
		{"%(prop:branch:?×y×n|)s", nil, nil, "y"},
		{"%(prop:missing:-a:b-c)s", nil, nil, "a:b-c"},
		{"%(prop:missing:-100%%)s", nil, nil, "100%"},
		{"%(prop:missing:-%(prop:branch)s)s", nil, nil, "main"},
		{"%(prop:missing:-%(prop:also:-%(worker:name)s)s)s", nil, nil, "w1"},
		{"%(prop:branch:?|(a|b)|%(kw:k)s)s", nil, map[string]any{"k": 1}, "(a|b)"},
		{"%(prop:missing:?|(a|b)|%(kw:k)s)s", nil, map[string]any{"k": 1}, "1"},

		{"%(src::branch)s %(src:lib:branch)s %(src:lib:revision)s|%(src:no:branch)s|%(src:no:branch:-x)s", nil, nil, "b0 b1 ||x"},
		{"%(src::repository)s %(src::revision)s %(src::project)s %(src:lib:codebase)s", nil, nil, "repo r0 p lib"},
		{"%(src:lib:revision:~HEAD)s", nil, nil, "HEAD"},
		{"%(worker:name)s %(worker:master)s %(worker:none)s|", nil, nil, "w1 ws://h:1/ |"},
		{"%(secret:s)s", nil, nil, "hush"},
		{"%(kw:a)s %(kw:b)s %(kw:none:-x)s", nil, map[string]any{"a": "A", "b": PropertyRef{Name: "branch"}}, "A main x"},

		{"%s-%s", []any{"a", PropertyRef{Name: "n"}}, nil, "a-7"},
		{"%s", []any{PropertyRef{Name: "missing"}}, nil, "None"},
		{"%d%%", []any{50}, nil, "50%"},
		{"%05d|%-5d|%+d|%5s|%-5s|%05s|%.2s|%5.1f|%i|%r|%r|%d|%d", []any{7, 7, 7, "é", "é", 7, "main", 1.25, 3.0, "it's", nil, true, -1.9}, nil, `00007|7    |+7|    é|é    |    7|ma|  1.2|3|"it's"|None|1|-1`},
		{"%(prop:n)05d %(prop:branch).2s %(prop:branch)r %(prop:x)f %(prop:missing:-d)5s|", nil, nil, "00007 ma 'main' 1.500000     d|"},
		{"%(worker:name:+y)s %(worker:none:-x)s %(worker:none:?|a|%(worker:name)s)s %(worker:name:#?|y|n)s", nil, nil, "y x w1 y"},
		{"%(kw:none:?|a|b)s %(kw:a:+c)s %(kw:e)s|%(kw:e:~f)s", nil, map[string]any{"a": "A", "e": nil}, "b c |f"},
		{"%(prop:branch:?|a|b|c)s %(prop:missing:?|a|b|c)s %(prop:branch:??a?b)s", nil, nil, "a b|c a"},
		{"%(src::branch:+y)s %(src:no:branch:+y)s|%(src:lib:revision:-x)s|%(src:no:branch:#?|y|n)s", nil, nil, "y ||n"},
		{"%s", []any{[]any{SecretRef{"s"}}}, nil, "['hush']"},
	} {
		in, err := ParseInterpolate(tt.format, tt.args, tt.kw)
		if err != nil {
			t.Errorf("%q: %v", tt.format, err)
			continue
		}
		if got, err := in.Render(testScope()); err != nil || got != tt.want {
			t.Errorf("%q renders as %q, %v; want %q", tt.format, got, err, tt.want)
		}
		if in.String() != tt.format {
			t.Errorf("%q is written %q", tt.format, in)
		}
	}
}

func TestInterpolateRefused(t *testing.T) {
	for format, says := range map[string]string{
		"%":                         "%%",
		"50% off":                   "% off is not a substitution",
		"100% sure":                 "% sure is not a substitution",
		"%99999d":                   "not a substitution",
		"50%free %(prop:x)s":        "%free %(prop:x)s is not a substitution",
		"%(prop:x)right":            "not a substitution",
		"%(prop:x)-release":         "not a substitution",
		"%(prop:x)-debug":           "not a substitution",
		"%x":                        "not a substitution",
		"%(prop:x)":                 "ends in the middle",
		"%(prop:x)q":                "not a substitution",
		"%(prop:x":                  "no closing parenthesis",
		"%(x)s":                     "no selector",
		"%(foo:x)s":                 `"foo" is no selector`,
		"%(prop:)s":                 "cannot be a name",
		"%(prop:a b)s":              "cannot be a name",
		"%(src:branch)s":            "src needs a codebase",
		"%(src:a b:branch)s":        "cannot name a codebase",
		"%(src::brunch)s":           `no "brunch"`,
		"%(kw:x)s":                  `no keyword argument "x"`,
		"%(prop:x:=y)s":             "begins with one of",
		"%(prop:x:)s":               "begins with one of",
		"%(prop:x:?)s":              "two texts",
		"%(prop:x:?|y)s":            "two texts",
		"%(prop:x:?(y(n)s":          "no closing",
		"%(prop:x:-%(foo:y)s)s":     `"foo" is no selector`,
		"%(prop:x:?|%(y)s|%(z:)s)s": "no selector",
		"%s":                        "needs 1 positional arguments",
		strings.Repeat("%(prop:x:-", 30) + strings.Repeat(")s", 30): "nested more than",
	} {
		_, err := ParseInterpolate(format, nil, nil)
		if err == nil || !strings.Contains(err.Error(), says) || dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%q: %v, want one that says %q", format, err, says)
		}
	}
	if _, err := ParseInterpolate("%s", []any{1}, map[string]any{"a": 1}); err == nil {
		t.Error("positional and keyword arguments together are allowed")
	}
	if _, err := ParseInterpolate("%s %(prop:x)s", []any{1}, nil); err == nil {
		t.Error("a selector beside positional arguments is allowed")
	}
	if _, err := ParseInterpolate("%s", []any{1, 2}, nil); err == nil {
		t.Error("an argument too many is allowed")
	}
}

func TestInterpolateFails(t *testing.T) {
	for _, format := range []string{"%(secret:none)s", "%(prop:branch)d", "%(prop:branch)f", "%(prop:none)5i", "%(prop:missing:-%(secret:none)s)s"} {
		in, err := ParseInterpolate(format, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := in.Render(testScope()); err == nil {
			t.Errorf("%q renders as %q", format, got)
		}
	}
	in, err := ParseInterpolate("%(secret:s)s", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Render(Scope{}); dormouse.CodeOf(err) != dormouse.Invalid {
		t.Errorf("a secret where none may be used: %v", err)
	}
}

func TestInterpolateNames(t *testing.T) {
	in, err := ParseInterpolate("%(secret:b)s %(prop:x:-%(secret:a)s)s %(prop:y:?|%(secret:b)s|%(worker:w)s)s", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string][]string{"secret": {"a", "b"}, "prop": {"x", "y"}, "worker": {"w"}, "kw": nil} {
		if diff := cmp.Diff(want, in.Names(selector)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", selector, diff)
		}
	}
}

func TestPropertyRef(t *testing.T) {
	for _, tt := range []struct {
		ref  PropertyRef
		want any
	}{
		{PropertyRef{Name: "n"}, 7},
		{PropertyRef{Name: "missing"}, nil},
		{PropertyRef{Name: "missing", Default: "d"}, "d"},
		{PropertyRef{Name: "missing", Default: PropertyRef{Name: "n"}}, 7},
		{PropertyRef{Name: "zero", Default: "d"}, 0},
		{PropertyRef{Name: "zero", Default: "d", DefaultWhenFalse: true}, "d"},
		{PropertyRef{Name: "n", Default: "d", DefaultWhenFalse: true}, 7},
	} {
		if got, err := tt.ref.Render(testScope()); err != nil || got != tt.want {
			t.Errorf("%+v renders as %v, %v; want %v", tt.ref, got, err, tt.want)
		}
	}
	failing := Scope{Properties: dormouse.Properties{}, Secret: func(string) (string, error) { return "", errors.New("no") }}
	if _, err := (PropertyRef{Name: "x", Default: SecretRef{"s"}}).Render(failing); err == nil {
		t.Error("a failing default does not fail")
	}
}

func TestPythonText(t *testing.T) {
	for want, v := range map[string]any{
		"":                         "",
		"None":                     nil,
		"-3":                       -3,
		"0.1":                      0.1,
		"1e-05":                    1e-5,
		"0.0001":                   1e-4,
		"100":                      100.0,
		"1e+16":                    1e16,
		`['it\'s "x"']`:            []any{`it's "x"`},
		`['\n\t\x00\\\u2028é']`:    []any{"\n\t\x00\\\u2028é"},
		"{'a': {'b': []}, 'c': 1}": map[string]any{"c": 1, "a": map[string]any{"b": []any{}}},
	} {
		if got := PythonText(v); got != want {
			t.Errorf("%#v is %q, want %q", v, got, want)
		}
	}
}

// FuzzInterpolate checks that every format is either refused or rendered, in
// time that does not explode.
func FuzzInterpolate(f *testing.F) {
	for _, s := range []string{
		"%(prop:x:-%(prop:y:?|a|b)s)s", "%(src:a:branch:~x)s %%", "%(kw:a:#?:(b):c)s", "%(secret:s)s", "%s", "%(prop:n)-05.3d", "%(prop:n).f", "((%(",
		strings.Repeat("%(prop:x:?|", 25),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, format string) {
		start := time.Now()
		in, err := ParseInterpolate(format, nil, map[string]any{"a": "b"})
		if err != nil {
			return
		}
		if in.String() != format {
			t.Errorf("%q is written %q", format, in)
		}
		scope := testScope()
		scope.Secret = func(string) (string, error) { return "s", nil }
		v, err := in.Render(scope)
		if _, ok := v.(string); err == nil && !ok {
			t.Errorf("%q renders as %T", format, v)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%q takes %s", format, d)
		}
	})
}

func BenchmarkInterpolate(b *testing.B) {
	in, err := ParseInterpolate("make -j%(prop:n)s BRANCH=%(src::branch:-main)s %(prop:missing:?|a|b)s", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	scope := testScope()
	for b.Loop() {
		if _, err := in.Render(scope); err != nil {
			b.Fatal(err)
		}
	}
}
