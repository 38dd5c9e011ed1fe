package dialect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// Stopped is how an error begins that tells why a reading was cancelled.
const Stopped = "reading the configuration was stopped: "

// failure words the error that ended the reading.
func (p *Program) failure(err error) Errors {
	var syn syntax.Error
	var unresolved resolve.ErrorList
	var eval *starlark.EvalError
	switch {
	case errors.As(err, &syn):
		return Errors{NewError(p.file, p.syntaxPlace(syn), syntaxHint(syn.Msg), strings.TrimSuffix(syn.Msg, " (use parens)"))}
	case errors.As(err, &unresolved):
		var errs []Error
		for _, e := range unresolved {
			errs = append(errs, NewError(p.file, placeAt(e.Pos), p.undefinedHint(e.Msg), e.Msg))
		}
		return Sorted(errs)
	case errors.As(err, &eval):
		return Errors{p.evalFailure(eval)}
	}
	return Errors{NewError(p.file, Place{}, "", err.Error())}
}

// evalFailure is where the innermost line of the text failed, and from where it
// was called.
func (p *Program) evalFailure(eval *starlark.EvalError) Error {
	var where Place
	var calls []string
	const enough = 5 // frames: who needs more has the error in the innermost
	for _, frame := range slices.Backward(eval.CallStack) {
		if frame.Pos.Filename() != p.file || frame.Pos.Line == 0 {
			continue
		}
		if where.Line == 0 {
			where = placeAt(frame.Pos)
		} else if len(calls) < enough {
			calls = append(calls, fmt.Sprintf("called from line %d", frame.Pos.Line))
		}
	}
	msg := strings.Replace(eval.Msg, "Starlark computation cancelled: ", Stopped, 1)
	return NewError(p.file, where, strings.Join(calls, ", "), msg)
}

// undefinedHint says how a name comes to be defined.
func (p *Program) undefinedHint(message string) string {
	_, name, ok := strings.Cut(message, "undefined: ")
	name, _, _ = strings.Cut(name, " ")
	if !ok {
		return ""
	}
	if hint, ok := p.vocabulary.Hints[name]; ok {
		return hint
	}
	if name == "isinstance" {
		return "compare type(x) with a name, such as 'string' or 'list'"
	}
	return p.vocabulary.Undefined(name)
}

// syntaxPlace is where the token begins that the parser did not expect. The
// parser itself reports where it ends, but for missing expressions and
// indentation.
func (p *Program) syntaxPlace(e syntax.Error) Place {
	end := placeAt(e.Pos)
	for _, exact := range []string{"want primary expression", "got indent", "got outdent", "without else", "unparenthesized tuple", "escape sequence"} {
		if strings.Contains(e.Msg, exact) {
			return end
		}
	}
	for _, t := range p.tokens {
		newline := t.kind == tokNewline && t.line == end.Line-1 && end.Col == 1
		if newline || t.kind != tokNewline && t.endLine == end.Line && t.endCol == end.Col {
			return t.at()
		}
	}
	return end
}

// syntaxHint explains the parser's words where Python's habits meet Starlark's
// rules.
func syntaxHint(message string) string {
	for part, hint := range map[string]string{
		"invalid escape sequence": "write r'…' for a text with backslashes, or double them",
		"does not associate with": "write a < b and b < c",
		"obsolete form of octal":  "write 0o755",
		"unparenthesized tuple":   "put parentheses around it",
		"got '}', want ':'":       "write set([…])",
		"got ',', want ':'":       "write set([…])",
	} {
		if strings.Contains(message, part) {
			return hint
		}
	}
	return ""
}
