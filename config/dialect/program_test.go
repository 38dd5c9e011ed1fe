package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testVocabulary is about animals, and knows the modules that config's tests import
// most.
var testVocabulary = &Vocabulary{
	Dictionary: []string{"BuildmasterConfig", "c"},
	Modules: map[string]map[string]string{
		"zoo.animals": {"dog": "zoo.dog", "cat": "zoo.cat"},
		"buildbot.plugins": {
			"worker": "zoo", "steps": "zoo", "util": "zoo", "schedulers": "zoo", "reporters": "zoo", "changes": "zoo", "secrets": "zoo",
		},
	},
	Whole:      map[string]string{"zoo": "zoo", "zoo.animals": "zoo.animals"},
	Decorators: []string{"tamed"},
	NoModule:   func(path string) string { return "there is zoo, not " + path },
	Undefined: func(name string) string {
		if name == "dog" {
			return "write from zoo.animals import dog"
		}
		return ""
	},
	Hints: map[string]string{"class": "draw it"},
}

// found is where the calls of seen stood.
type found struct {
	calls []Found
	args  []map[string]Place
}

// predeclared are the names of testVocabulary; seen(…) keeps where it is called.
func (f *found) predeclared(p *Program) starlark.StringDict {
	seen := starlark.NewBuiltin("seen", func(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		call := p.Find(t)
		_, named := call.Arguments()
		f.calls, f.args = append(f.calls, call), append(f.args, named)
		return starlark.MakeInt(len(args) + len(kwargs)), nil
	})
	names := starlark.StringDict{"seen": seen, "later": &later{}, "tamed": seen}
	for _, name := range []string{"zoo", "zoo.animals", "zoo.dog", "zoo.cat"} {
		names[name] = starlark.String(name)
	}
	return names
}

// later is what is known only later; a comparison of it is text.
type later struct{ text string }

func (l *later) String() string       { return "later" }
func (l *later) Type() string         { return "later" }
func (l *later) Freeze()              {}
func (l *later) Truth() starlark.Bool { return true }
func (l *later) Hash() (uint32, error) {
	return 0, errors.New("unhashable")
}
func (l *later) KnownLater() bool { return l.text == "" }
func (l *later) CompareLater(_ *starlark.Thread, x starlark.Value, op syntax.Token, y starlark.Value) (starlark.Value, error) {
	return &later{fmt.Sprintf("%s %s %s", x, op, y)}, nil
}
func (l *later) NotMember() error { return errors.New("no member") }
func (l *later) NoCondition() error {
	if l.text != "" {
		return errors.New("no condition")
	}
	return nil
}

// run carries a text out.
func run(t *testing.T, src string) (*Program, *found, starlark.StringDict, error) {
	t.Helper()
	p, err := Parse("m.star", []byte(src), testVocabulary)
	if err != nil {
		return nil, nil, nil, err
	}
	f := &found{}
	globals, err := p.Execute(NewThread("m.star", MaxSteps, nil), f.predeclared(p))
	return p, f, globals, err
}

// execute carries a text out, and returns why it fails.
func execute(t *testing.T, src string) error {
	t.Helper()
	_, _, _, err := run(t, src)
	return err
}

// configurations are those of config's tests.
func configurations(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*", "*.star"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	out := make(map[string][]byte)
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[f] = src
	}
	return out
}

// TestVocabulary: all names come from it, and what it says of those that are not
// there.
func TestVocabulary(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"from zoo.animals import dog as d, cat\nif [d, cat] != ['zoo.dog', 'zoo.cat']: fail('no')\n": "",
		"from zoo.animals import *\nif [dog, cat] != ['zoo.dog', 'zoo.cat']: fail('no')\n":           "",
		"import zoo.animals\nif zoo != 'zoo': fail('no')\n":                                          "",
		"import zoo.animals as z, zoo as y\nif [z, y] != ['zoo.animals', 'zoo']: fail('no')\n":       "",
		"@tamed\ndef f(): return 1\nif f != 1: fail('no')\n":                                         "",
		"from zoo.animals import bird\n":                                                             "m.star:1:25: zoo.animals has no bird here (there is cat, dog)",
		"import os\n":                                                                                "m.star:1:8: there is no module os here (there is zoo, not os)",
		"x = 1\ny = dog\n":                                                                           "m.star:2:5: undefined: dog (write from zoo.animals import dog)",
		"x = nothing\n":                                                                              "m.star:1:5: undefined: nothing",
		"class A: pass\n":                                                                            `m.star:1:1: "class" is not part of Starlark (draw it)`,
		"with x: pass\n":                                                                             `m.star:1:1: "with" is not part of Starlark (there is nothing to open and to close)`,
		"@wild\ndef f(): return 1\n":                                                                 "m.star:1:1: of decorators only tamed is understood (call the function on what it decorates)",
		"def f():\n    return 1 + ''\n\nx = f()\n":                                                   "m.star:2:14: unknown binary op: int + string (called from line 4)",
		"x = (1,\n":       `m.star:1:5: this "(" is never closed`,
		"x = 1 < 2 < 3\n": "does not associate with < (write a < b and b < c)",
	} {
		err := execute(t, src)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%q: %v, want %s", src, err, want)
		}
	}
}

// TestPlaces: a program knows where calls, arguments, elements and keys stand, also
// behind what was rewritten.
func TestPlaces(t *testing.T) {
	t.Parallel()
	src := `c = BuildmasterConfig = {'www': 1}
c['www'] = {'port': 2, 'other': 3}
c['www']['port'] = [4,
    5]
def f(n):
    return seen(a=n, b=[1, 2])
x = f(1) ; y = seen(b={'k': 7})
z = sorted([1], key=seen)
`
	p, f, _, err := run(t, src)
	if err != nil {
		t.Fatal(err)
	}
	at := func(p Place) string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }
	www, value, ok := p.Assigned("www")
	port, list, ok2 := p.Assigned("www/port")
	_, _, none := p.Assigned("www/other")
	key, other := value.Entry("other")
	_, entry := f.args[1]["b"].Entry("k")
	got := []string{
		at(p.Dictionary()), at(www), at(port), at(list.Item(1, 2)), at(list.Item(1, 3)), at(key), at(other),
		at(f.calls[0].At), at(f.args[0]["b"]), at(f.args[0]["b"].Item(1, 2)), at(f.calls[1].At), at(entry), at(f.calls[2].At),
	}
	want := []string{
		"1:5", "2:3", "3:10", "4:5", "3:20", "2:24", "2:33",
		"6:12", "6:22", "6:28", "7:16", "7:29", "8:11",
	}
	if !ok || !ok2 || none || !slices.Equal(got, want) {
		t.Errorf("%t %t %t\n%v, want\n%v", ok, ok2, none, got, want)
	}
	if !f.calls[0].Written() || f.calls[2].Written() {
		t.Error("a call of Starlark's own is taken for one of the text's, or the reverse")
	}
	if e := NewError("m.star", f.calls[0].At, "hint", "no"); e.Hint != "hint; called from line 7" {
		t.Errorf("the hint is %q", e.Hint)
	}
}

// TestLater: what is known only later is compared later, however deep it lies, and
// nothing can depend on it before.
func TestLater(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		"x = later == 1":                       "later == 1",
		"x = 1 < later":                        "1 < later",
		"x = [1, {'a': (later,)}] != [2]":      `[1, {"a": (later,)}] != [2]`,
		"x = later is later":                   "",
		"x = later and 1":                      "",
		"x = (later == 1) and 1":               "no condition",
		"x = not (later == 1)":                 "no condition",
		"x = all([1, later == 1])":             "no condition",
		"x = later in [1]":                     "no member",
		"x = 1 in [later]":                     "no member",
		"l = []\nl.append(l)\nx = len(l) == 1": "",
	} {
		_, _, globals, err := run(t, src+"\n")
		l, _ := globals["x"].(*later)
		switch {
		case err != nil && (want == "" || !strings.Contains(err.Error(), want)), err == nil && l == nil && want != "", err == nil && l != nil && l.text != want && want != "":
			t.Errorf("%s: %v, %v, want %q", src, globals["x"], err, want)
		}
	}
}

// TestSource: what a function says is the same wherever it stands, and not when its
// blocks or words are others.
func TestSource(t *testing.T) {
	t.Parallel()
	source := func(src string) string {
		p, _, globals, err := run(t, src)
		if err != nil {
			t.Fatal(err)
		}
		text, names, found := p.Source(globals["f"].(*starlark.Function))
		if !found {
			t.Fatalf("%s: not found", src)
		}
		slices.Sort(names)
		return fmt.Sprint(text, slices.Compact(names))
	}
	first := source("g = 1\ndef f(a):\n    if a:\n        return g\n    return 2\n")
	same := source("\n\ng = 5\nif True:\n  def f(a):\n      if a:  # why\n          return   g\n\n      return 2\n")
	if first != same || !strings.HasSuffix(first, "[f g]") {
		t.Errorf("%s and %s", first, same)
	}
	for _, other := range []string{
		"g = 1\ndef f(a):\n    if a:\n        return g\n        return 2\n",
		"g = 1\ndef f(a):\n    if a:\n        return g\n    return 3\n",
	} {
		if source(other) == first {
			t.Errorf("%s is the same", other)
		}
	}
	if p, _, globals, err := run(t, "f = 'x'\ndef g(): return 'f'\n"); err != nil || p.Mentions("f") != 2 || Defined(globals["g"].(starlark.Callable)).Line != 2 {
		t.Errorf("%v", err)
	}
}

// FuzzParse: no text makes the reading panic, or gives a mistake a place that is not
// in it.
func FuzzParse(f *testing.F) {
	for _, src := range configurations(f) {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		_, err := Parse("m.star", src, testVocabulary)
		if err == nil {
			return
		}
		errs, ok := errors.AsType[Errors](err)
		if !ok || len(errs) == 0 {
			t.Fatalf("error is %v", err)
		}
		lines := bytes.Count(src, []byte("\n")) + bytes.Count(src, []byte("\r")) + 1
		for _, e := range errs {
			if e.Message == "" || e.File != "m.star" || e.Line < 0 || e.Line > lines+1 || e.Column < 0 || e.Column > len(src)+2 {
				t.Errorf("error is %+v", e)
			}
		}
	})
}
