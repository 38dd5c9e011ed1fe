package dialect

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

// What doubles is stopped before it is large.
func TestLimitSum(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ src, want string }{
		"text":          {"s = 'ab'\nfor i in range(60):\n    s += s\n", "m.star:3:7: the sum would be longer than"},
		"text, plainly": {"s = 'ab'\nfor i in range(60):\n    s = s + s\n", "m.star:3:11: the sum would be longer than"},
		"lists":         {"s = [1]\nfor i in range(60):\n    s = s + s\n", "the sum would be longer than"},
		"in place":      {"s = [1]\nt = s\ns += [2]\nif t != [1, 2] or [1] + [2] != t or 1 + 2 != 3 or 'a' + 'b' != 'ab':\n    fail('wrong')\nx = {'l': [1]}\nx['l'] += [2]\nif x != {'l': [1, 2]}:\n    fail('wrong')\nfail('right')\n", "right"},
		"percent":       {"s = 'ab'\nfor i in range(60):\n    s = '%s%s' % (s, s)\n", "m.star:3:16: the text would be longer than"},
		"join":          {"s = 'x' * 1000000\ns = s.join(list(('a' * 1500).elems()))\n", "the text would be longer than"},
		"replace":       {"s = 'x' * 40000\ns = s.replace('x', s)\n", "the text would be longer than"},
		"format":        {"s = 'x' * 1000000\ns = '{0}{0}{0}{0}{0}'.format(s)\n", "the text would be longer than"},
		"fine":          {"if ','.join(['a', 'b']) + 'aXa'.replace('a', 'bb') + '{} {x}'.format(1, x=2) + '%s%%%d' % ('a', 3) != 'a,bbbXbb1 2a%3' or {'join': 1}.get('join') != 1:\n    fail('wrong')\nx = 1\nfail('right')\n", "right"},
		"of kinds":      {"s = 'a' + 1\n", "unknown binary op: string + int"},
	} {
		err := execute(t, c.src)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestLimitProduct(t *testing.T) {
	t.Parallel()
	list := starlark.NewList(make([]starlark.Value, 1000))
	for i := range list.Len() {
		list.SetIndex(i, starlark.None)
	}
	big := starlark.MakeInt(1).Lsh(200)
	for _, tt := range []struct {
		what, times starlark.Value
		fine        bool
	}{
		{starlark.String("ab"), starlark.MakeInt(maxText / 2), true},
		{starlark.String("ab"), starlark.MakeInt(maxText/2 + 1), false},
		{starlark.String("ab"), big, false},
		{starlark.String("ab"), starlark.MakeInt(-5), true},
		{starlark.String(""), big, true},
		{list, starlark.MakeInt(maxElements / 1000), true},
		{list, starlark.MakeInt(maxElements/1000 + 1), false},
		{starlark.Tuple{starlark.None}, starlark.MakeInt(maxElements + 1), false},
		{starlark.Bytes("x"), starlark.MakeInt(maxText + 1), false},
		{big, big, true},
		{starlark.MakeInt(1).Lsh(maxIntBits), starlark.MakeInt(2), false},
		{starlark.String("x"), starlark.String("y"), true}, // Starlark refuses it
	} {
		if err := limitProduct(tt.what, tt.times); (err == nil) != tt.fine {
			t.Errorf("%s of length %d times %v: %v", tt.what.Type(), starlark.Len(tt.what), tt.times, err)
		}
	}
}

func TestProducts(t *testing.T) {
	t.Parallel()
	src := `c = BuildmasterConfig = {}
def check(got, want):
    if got != want: fail("got %r, want %r" % (got, want))
check(2 * 3, 6); check('a' * 3, 'aaa'); check(3 * 'a', 'aaa'); check([1] * 2, [1, 1])
check(2 * (1, 2), (1, 2, 1, 2)); check(1.5 * 2, 3.0); check(2 * 1.5, 3.0)
x = 2
x *= 3 * 2
check(x, 12)
y = 'ab'; y *= 2
check(y, 'abab')
z = {'a': 2}; z['a'] *= 5
check(z['a'], 10)
check([i * j for i in range(3) for j in range(2)], [0, 0, 0, 1, 0, 2])
`
	err := execute(t, src)
	if err != nil {
		t.Error(err)
	}
}

// What is small and endless when it is gone through, and what is long, is
// refused at once, and says where.
func TestLimitsOfOneStep(t *testing.T) {
	t.Parallel()
	list := "l = [1]\nfor i in range(60):\n    l = [l, l]\n"
	tuple := "def f():\n    l = (1,)\n    for i in range(60):\n        l = (l, l)\n    return l\n"
	many := func(first, each, last string) string {
		return "x = " + first + strings.Repeat(each, 60_000) + last + "\n"
	}
	const large = "the value is too large for that"
	for src, want := range map[string]string{
		list + "x = repr(l)":                  large,
		list + "x = str([l])":                 large,
		list + "x = '%s' % [l]":               large,
		list + "x = '%s %r' % (1, l)":         large,
		list + "x = '%(l)s' % {'l': l}":       large,
		list + "x = '{}'.format(l)":           large,
		list + "x = '{l}'.format(l=l)":        large,
		list + "print(l)":                     large,
		list + "fail(l)":                      large,
		list + "x = l == [l]":                 large,
		list + "x = [l].index([l])":           large,
		list + "x = l in [[l]]":               large,
		list + "x = sorted([l, l])":           large,
		list + "x = max(l, l)":                large,
		"l = []\nl.append(l)\nx = str(l)":     large,
		tuple + "x = {f(): 1}":                large,
		tuple + "x = {}\nx[f()] = 1":          large,
		tuple + "x = {}.get(f())":             large,
		tuple + "x = {}.setdefault(f(), 1)":   large,
		tuple + "x = {}[f()]":                 large,
		tuple + "x = dict([(f(), 1)])":        large,
		tuple + "x = {k: 1 for k in [f()]}":   large,
		tuple + "x = set([f()])":              large,
		tuple + "x = f() in {}":               large,
		tuple + "x = hash(f())":               large,
		tuple + "x = f() < f()":               large,
		tuple + "x = f()":                     "the value of x is too large",
		tuple + "x = [f()]":                   "the value of x is too large",
		tuple + "def g(y=f()):\n    return 1": "the value of g is too large",

		tuple + "def g():\n    y = f()\n    return lambda: y\nx = g()": "the value of x is too large",

		"x = int('9' * 1000000)": "is no number",

		"x = " + strings.Repeat("9", 100_000): "more than 1000 digits",

		list + "x = 1 if l is [l] else 2":                       large,
		list + "f = [l].index\nx = f([l])":                      large,
		list + "x = getattr([l], 'index')([l])":                 large,
		list + "x = sorted([1, 2], key=lambda i: [l, i])":       large,
		list + "x = sorted([1, 2], lambda i: [l, i])":           large,
		list + "x = max([1, 2], key=lambda i: [l, i])":          large,
		list + "x = '%s'\nx %= l":                               large,
		list + "x = ['%s']\nx[0] %= l":                          large,
		"x = repr([b'a' * 1000000] * 1000)":                     large,
		"x = 1 << 500\nx *= x\nx *= x\nx = repr([x] * 1000000)": large,
		"x = 'a'.startswith(('a' * 1000000,) * 1000)":           large,
		"x = 'a'.strip('b' * 1000000)":                          "more than 1000 characters to strip",
		"f = ('a' * 3000).replace\nx = f('a', 'b' * 3000)":      "the text would be longer than",
		"x = (('a' * 3000).replace)('a', 'b' * 3000)":           "the text would be longer than",
		"x = getattr('a' * 3000, 'replace')('a', 'b' * 3000)":   "the text would be longer than",
		"x = ['%(a)s' * 100000]\nx[0] %= {'a': 'b' * 1000000}":  "only there %= takes a dictionary",
		"x = [1]\nfor i in range(60):\n    x.extend(x)":         "the sum would be longer than",
		"x = zip(*([range(1000000)] * 100))":                    "zip: the result would have more than",
		"for i in range(100000):\n    print('x' * 1000000)":     "it prints more than 1 MiB",

		many("1", "+1", ""): "more than 5000 operators",

		many("1", " and 1", ""): "more than 5000 operators",

		many("", "not ", "1"): "more than 5000 operators",

		many("", "lambda: ", "1"): "more than 5000 operators",

		many("", "1 if 1 else ", "1"): "more than 5000 operators",

		many("str", ".x", ""): "more than 5000 operators",

		many("str", "()", ""): "more than 5000 operators",

		many("str", "[0]", ""): "more than 5000 operators",

		many("[1", ",1", "]"): "",

		many("[1+1", ",1+1", "]"): "",

		"if 1:\n    pass\n" + strings.Repeat("elif 1:\n    pass\n", 60_000): "more than 5000 elif",
	} {
		err := execute(t, src+"\n")
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) || len(err.Error()) > 3000 {
			t.Errorf("%.100q: %.300v, want %s", src, err, want)
		}
	}
}

// What is limited does what it did.
func TestLimitedFunctionsWork(t *testing.T) {
	t.Parallel()
	src := `c = BuildmasterConfig = {}
def check(got, want):
    if got != want: fail("got %r, want %r" % (got, want))
check(zip([1, 2], ['a', 'b', 'c']), [(1, 'a'), (2, 'b')]); check(zip(), [])
check(sorted([2, 1], key=lambda i: -i), [2, 1]); check(max([1, 2], key=lambda i: -i), 1)
check(getattr('a,b', 'split')(','), ['a', 'b']); check(getattr('-', 'join')(['a', 'b']), 'a-b'); check(getattr('a', 'no', 3), 3)
check('xxaxx'.strip('x') + 'a'.strip(), 'aa'); check('ab'.startswith(('b', 'a')), True)
f = lambda: 1
check(dict(key=f)['key'] == f, True)
x = 'a%s'
x %= 'b'
y = {'n': 7, 't': '%s-%s'}
y['n'] %= 4
y['t'] %= (1, 2)
check([x, y], ['ab', {'n': 3, 't': '1-2'}])
l = [1]
m = l
l.extend([2])
check(m is l, True); check(m, [1, 2]); check(l is None, False)
`
	err := execute(t, src)
	if err != nil {
		t.Error(err)
	}
}
