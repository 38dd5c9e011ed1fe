package expr

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/dormouse-ci/dormouse"
)

// Interpolate is a text with parts that are known only when the build runs;
// Buildbot's util.Interpolate. Its rendering is a string.
//
// A part is written %(SELECTOR:NAME)s, where the selector is one of
//
//	prop:NAME            a property of the build
//	src:CODEBASE:NAME    branch, revision, repository, project or codebase of a source
//	worker:NAME          a fact about the worker
//	kw:NAME              a keyword argument
//	secret:NAME          a secret
//
// What is not there is the empty string (a missing secret is an error). After
// the name may follow
//
//	:-TEXT               TEXT when it is not there
//	:~TEXT               TEXT when it is not there or is false, empty or zero
//	:+TEXT               TEXT when it is there, else nothing
//	:?|TEXT|OTHER        TEXT when it is there, else OTHER; any character can be the bar
//	:#?|TEXT|OTHER       the same, but for what is there and not false, empty or zero
//
// and those texts may have such parts in turn. With positional arguments the
// parts are %s, one for each. In both, %% is a percent sign; instead of s may
// stand what Python has there: r for a quoted text, d or i for an integer, f for
// a number, and before it -, 0, + or #, a width and a precision, as in %05d.
type Interpolate struct {
	format string
	args   []any
	kw     map[string]any
	pieces []piece
}

// piece is literal text, a positional argument, or a selection.
type piece struct {
	text       string
	conversion // its verb is 0 for literal text
	sel        *selection
	arg        int // of args, when sel is nil
}

// selection is one %(…)s. All forms come down to a condition and what it
// chooses between.
type selection struct {
	source   string // as written, for errors
	selector string
	codebase string
	name     string
	truthy   bool         // the condition: true rather than only there
	yes      *Interpolate // nil is the value itself
	no       *Interpolate // nil is nothing
}

// maxNesting of texts in texts; a hand-written one has two or three.
const maxNesting = 20

var sourceAttributes = []string{"branch", "revision", "repository", "project", "codebase"}

// ParseInterpolate reads format, which has either positional or keyword
// arguments, or neither. Arguments may be Renderable.
func ParseInterpolate(format string, args []any, kw map[string]any) (*Interpolate, error) {
	if len(args) > 0 && len(kw) > 0 {
		return nil, dormouse.Errorf(dormouse.Invalid, "takes either positional or keyword arguments, not both")
	}
	return parseInterpolate(format, args, kw, 0)
}

func parseInterpolate(format string, args []any, kw map[string]any, depth int) (*Interpolate, error) {
	if depth > maxNesting {
		return nil, dormouse.Errorf(dormouse.Invalid, "substitutions are nested more than %d deep", maxNesting)
	}
	in := &Interpolate{format: format, args: args, kw: kw}
	used, rest := 0, format
	for rest != "" {
		text, after, found := strings.Cut(rest, "%")
		in.literal(text)
		if !found {
			break
		}
		if strings.HasPrefix(after, "%") {
			in.literal("%")
			rest = after[1:]
			continue
		}
		p := piece{}
		if strings.HasPrefix(after, "(") {
			key, tail, ok := cutBalanced(after)
			if !ok {
				return nil, dormouse.Errorf(dormouse.Invalid, "%%%s has no closing parenthesis", abbreviate(after))
			}
			if len(args) > 0 {
				return nil, dormouse.Errorf(dormouse.Invalid, "%%(%s) cannot stand beside positional arguments", abbreviate(key))
			}
			sel, err := parseSelection(key, kw, depth)
			if err != nil {
				return nil, err
			}
			p.sel, after = sel, tail
		} else {
			p.arg = used
			used++
		}
		if after == "" {
			return nil, dormouse.Errorf(dormouse.Invalid, "ends in the middle of a substitution; a percent sign is written %%%%")
		}
		var ok bool
		if p.conversion, rest, ok = cutConversion(after); !ok {
			return nil, dormouse.Errorf(dormouse.Invalid, "%%%s is not a substitution: write %%(…)s or %%s, and %%%% for a percent sign", abbreviate(after))
		}
		in.pieces = append(in.pieces, p)
		if p.alters() && p.sel != nil && len((&Interpolate{pieces: []piece{p}}).Names("secret")) > 0 {
			return nil, dormouse.Errorf(dormouse.Invalid, "%%(%s): %w", abbreviate(p.sel.source), errAltersSecret)
		}
	}
	if used != len(args) {
		return nil, dormouse.Errorf(dormouse.Invalid, "needs %d positional arguments, one for each %%s, and has %d", used, len(args))
	}
	return in, nil
}

// errAltersSecret keeps a secret from becoming something that is not hidden where
// it is shown.
var errAltersSecret = dormouse.Errorf(dormouse.Invalid, "a secret is written with s, and whole")

func (in *Interpolate) literal(text string) {
	if text == "" {
		return
	}
	if n := len(in.pieces); n > 0 && in.pieces[n-1].verb == 0 {
		in.pieces[n-1].text += text
		return
	}
	in.pieces = append(in.pieces, piece{text: text})
}

// cutBalanced cuts s, which begins with a parenthesis, behind the one that
// closes it.
func cutBalanced(s string) (inside, after string, ok bool) {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

func parseSelection(source string, kw map[string]any, depth int) (*selection, error) {
	fail := func(format string, args ...any) (*selection, error) {
		return nil, dormouse.Errorf(dormouse.Invalid, "%%(%s)s: %s", abbreviate(source), fmt.Sprintf(format, args...))
	}
	sel := &selection{source: source}
	var rest string
	var ok bool
	if sel.selector, rest, ok = strings.Cut(source, ":"); !ok {
		return fail("has no selector: write prop:, src:, worker:, kw: or secret: before the name")
	}
	switch sel.selector {
	case "prop", "worker", "kw", "secret":
	case "src":
		if sel.codebase, rest, ok = strings.Cut(rest, ":"); !ok {
			return fail("src needs a codebase and an attribute, as in src::branch")
		}
		if !isName(sel.codebase) {
			return fail("%q cannot name a codebase", abbreviate(sel.codebase))
		}
	default:
		return fail("%q is no selector; there are prop, src, worker, kw and secret", abbreviate(sel.selector))
	}
	var form string
	var hasForm bool
	sel.name, form, hasForm = strings.Cut(rest, ":")
	if !isName(sel.name) || sel.name == "" {
		return fail("%q cannot be a name: letters, digits and . _ - can", abbreviate(sel.name))
	}
	if sel.selector == "src" && !slices.Contains(sourceAttributes, sel.name) {
		return fail("a source has no %q; it has %s", sel.name, strings.Join(sourceAttributes, ", "))
	}
	if _, given := kw[sel.name]; sel.selector == "kw" && !given && !hasForm {
		return fail("there is no keyword argument %q", sel.name)
	}
	if !hasForm {
		return sel, nil
	}
	return sel, sel.parseForm(form, kw, depth)
}

func (sel *selection) parseForm(form string, kw map[string]any, depth int) (err error) {
	sub := func(text string) *Interpolate {
		in, e := parseInterpolate(text, nil, kw, depth+1)
		if err == nil {
			err = e
		}
		return in
	}
	switch {
	case strings.HasPrefix(form, "-"):
		sel.no = sub(form[1:])
	case strings.HasPrefix(form, "~"):
		sel.truthy, sel.no = true, sub(form[1:])
	case strings.HasPrefix(form, "+"):
		sel.yes = sub(form[1:])
	case strings.HasPrefix(form, "?"), strings.HasPrefix(form, "#?"):
		sel.truthy = form[0] == '#'
		yes, no, ok := cutTernary(form[strings.Index(form, "?")+1:])
		if !ok {
			return dormouse.Errorf(dormouse.Invalid, "%%(%s)s: after ? there must be two texts, as in ?|yes|no", abbreviate(sel.source))
		}
		sel.yes, sel.no = sub(yes), sub(no)
	default:
		return dormouse.Errorf(dormouse.Invalid, "%%(%s)s: what follows the name begins with one of - ~ + ? #?", abbreviate(sel.source))
	}
	return err
}

// cutTernary splits "|yes|no" at its own first character, where no
// parenthesis is open.
func cutTernary(s string) (yes, no string, ok bool) {
	runes := []rune(s)
	if len(runes) == 0 || runes[0] == '(' {
		return "", "", false
	}
	depth := 0
	for i, r := range runes[1:] {
		switch {
		case r == '(':
			depth++
		case r == ')':
			if depth--; depth < 0 {
				return "", "", false
			}
		}
		if depth == 0 && r == runes[0] {
			return string(runes[1 : i+1]), string(runes[i+2:]), true
		}
	}
	return "", "", false
}

func isName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
	})
}

// abbreviate keeps what is quoted in an error short.
func abbreviate(s string) string {
	const enough = 60 // characters: two or three words more than a name
	if r := []rune(s); len(r) > enough {
		return string(r[:enough]) + "…"
	}
	return s
}

// String returns the text as it was written.
func (in *Interpolate) String() string { return in.format }

// MarshalText returns the text as it was written.
func (in *Interpolate) MarshalText() ([]byte, error) { return []byte(in.format), nil }

// Names returns, sorted, the names that are used with a selector anywhere in
// the text, but not those in its arguments.
func (in *Interpolate) Names(selector string) []string {
	var names []string
	in.collect(selector, &names)
	slices.Sort(names)
	return slices.Compact(names)
}

// Bare returns, sorted, the names that are used with a selector and have nothing in
// their place where there is no such value.
func (in *Interpolate) Bare(selector string) []string {
	var names []string
	in.collectBare(selector, &names)
	slices.Sort(names)
	return slices.Compact(names)
}

func (in *Interpolate) collectBare(selector string, names *[]string) {
	if in == nil {
		return
	}
	for _, p := range in.pieces {
		if p.sel == nil {
			continue
		}
		if p.sel.selector == selector && p.sel.yes == nil && p.sel.no == nil {
			*names = append(*names, p.sel.name)
		}
		p.sel.yes.collectBare(selector, names)
		p.sel.no.collectBare(selector, names)
	}
}

func (in *Interpolate) collect(selector string, names *[]string) {
	if in == nil {
		return
	}
	for _, p := range in.pieces {
		if p.sel == nil {
			continue
		}
		if p.sel.selector == selector {
			*names = append(*names, p.sel.name)
		}
		p.sel.yes.collect(selector, names)
		p.sel.no.collect(selector, names)
	}
}

// Render returns the text with everything filled in, a string.
func (in *Interpolate) Render(scope Scope) (any, error) {
	var b strings.Builder
	for _, p := range in.pieces {
		if p.verb == 0 {
			b.WriteString(p.text)
			continue
		}
		var v any
		var err error
		secret := false
		scope := scope
		if find := scope.Secret; find != nil && p.alters() {
			scope.Secret = func(name string) (string, error) {
				secret = true
				return find(name)
			}
		}
		if p.sel != nil {
			v, err = p.sel.render(in.kw, scope)
		} else {
			v, err = Render(in.args[p.arg], scope)
		}
		if err != nil {
			return nil, err
		}
		text, err := p.conversion.text(v)
		if secret {
			err = errAltersSecret
		}
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "%q: %w", abbreviate(in.format), err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (sel *selection) render(kw map[string]any, scope Scope) (any, error) {
	v, there, err := sel.lookup(kw, scope)
	if err == nil && there {
		v, err = Render(v, scope)
	}
	if err != nil {
		return nil, err
	}
	choice := sel.no
	if there && (!sel.truthy || Truthy(v)) {
		if sel.yes == nil {
			if v == nil {
				return "", nil // None is nothing, though it is there
			}
			return v, nil
		}
		choice = sel.yes
	}
	if choice == nil {
		return "", nil
	}
	return choice.Render(scope)
}

func (sel *selection) lookup(kw map[string]any, scope Scope) (v any, there bool, err error) {
	switch sel.selector {
	case "prop":
		p, ok := scope.Properties[sel.name]
		return p.Value, ok, nil
	case "worker":
		w, ok := scope.Worker[sel.name]
		return w, ok, nil
	case "kw":
		v, there = kw[sel.name]
		return v, there, nil
	case "secret":
		v, err = SecretRef{sel.name}.Render(scope)
		return v, true, err
	}
	for _, s := range scope.Sources {
		if s.Codebase == sel.codebase {
			return map[string]string{
				"branch": s.Branch, "revision": s.Revision, "repository": s.Repository,
				"project": s.Project, "codebase": s.Codebase,
			}[sel.name], true, nil
		}
	}
	return nil, false, nil
}

// Arguments returns the positional arguments, or the values of the keyword
// arguments in the order of their names.
func (in *Interpolate) Arguments() []any {
	if len(in.args) > 0 {
		return slices.Clone(in.args)
	}
	out := make([]any, 0, len(in.kw))
	for _, name := range slices.Sorted(maps.Keys(in.kw)) {
		out = append(out, in.kw[name])
	}
	return out
}

// Equal reports whether both have the same text and the same arguments.
func (in *Interpolate) Equal(other *Interpolate) bool {
	if in == nil || other == nil {
		return in == other
	}
	return in.format == other.format && reflect.DeepEqual(in.args, other.args) && reflect.DeepEqual(in.kw, other.kw)
}
