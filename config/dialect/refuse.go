package dialect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Refused are the words and operators of Python that the dialect refuses, sorted.
func Refused() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, words := range []map[string]string{notStatements, notWords, notOperators} {
			for word := range words {
				if !yield(word) {
					return
				}
			}
		}
	})
}

// notStatements are words of Python that begin a statement Starlark does not
// have.
var notStatements = map[string]string{
	"class":    "write a function that returns a dictionary",
	"try":      "there are no exceptions: a mistake ends the reading, with its position",
	"except":   "there are no exceptions: a mistake ends the reading, with its position",
	"finally":  "there are no exceptions: a mistake ends the reading, with its position",
	"raise":    "fail('message') ends the reading with a message",
	"with":     "there is nothing to open and to close",
	"while":    "use a for loop over a range or a list",
	"global":   "put the value into a dictionary, which functions can change, or return it",
	"nonlocal": "put the value into a dictionary, which functions can change, or return it",
	"del":      "dictionaries have pop(key), lists have pop(index) and remove(value)",
	"async":    "functions return their value at once: leave the word out",
	"assert":   "if not …: fail('message')",
}

// notWords are words of Python that can stand inside an expression.
var notWords = map[string]string{
	"await": "functions return their value at once",
	"yield": "functions return their value at once: write return, or return a list",
}

// notOperators are Python's operators that Starlark does not have.
var notOperators = map[string]string{
	":=":  "assign in a statement of its own",
	"<>":  "write !=",
	"**=": "multiply, or write the number",
	"@=":  "there are no matrices here",
	"->":  "leave types out",
	"...": "write pass for an empty function",
}

// refuse finds the first form in a statement that is Python's but not
// understood here.
func (v *Vocabulary) refuse(s []token) *mistake {
	first := s[0]
	if hint, ok := notStatements[first.text]; ok && first.kind == tokName && !(first.text == "assert" && !isStatement(s)) {
		return mistakef(first.at(), v.hint(first.text, hint), "%q is not part of Starlark", first.text)
	}
	if first.word("load") {
		return mistakef(first.at(), "put everything into one file", "a configuration cannot load another file")
	}
	if first.is("@") {
		return v.refuseDecorator(s)
	}
	if first.word("print") && len(s) > 1 && s[1].startsOperand() {
		return mistakef(first.at(), "write print(…)", "print is a function")
	}
	lambdas := 0
	block := first.kind == tokName && blockWords[first.text]
	for i, t := range s {
		if t.word("lambda") {
			lambdas++
		}
		switch {
		case t.kind == tokName && notWords[t.text] != "":
			return mistakef(t.at(), notWords[t.text], "%q is not part of Starlark", t.text)
		case t.kind == tokOp && notOperators[t.text] != "":
			return mistakef(t.at(), notOperators[t.text], "%q is not part of Starlark", t.text)
		case t.is("**") && i > 0 && s[i-1].endsOperand():
			return mistakef(t.at(), "multiply, or write the number", "** is not an operator of Starlark")
		case t.is("@"):
			return mistakef(t.at(), "", "@ is not an operator of Starlark")
		case t.is(":") && t.depth == 0 && lambdas > 0:
			lambdas--
		case t.is(":") && t.depth == 0 && !block:
			return mistakef(t.at(), "leave types out", "type annotations are not part of Starlark")
		case t.kind == tokNumber && strings.Contains(t.text, "_"):
			return mistakef(t.at(), "write "+strings.ReplaceAll(t.text, "_", ""), "numbers have no underscores in Starlark")
		case t.kind == tokNumber && strings.ContainsAny(t.text, "jJ"):
			return mistakef(t.at(), "", "there are no complex numbers in Starlark")
		}
	}
	return nil
}

// refuseDecorator admits those of the vocabulary alone.
func (v *Vocabulary) refuseDecorator(s []token) *mistake {
	var name strings.Builder
	for _, t := range s[1:] {
		name.WriteString(t.text)
	}
	switch n := name.String(); {
	case slices.Contains(v.Decorators, n):
		return nil
	case strings.Contains(n, "inlineCallbacks"):
		return mistakef(s[0].at(), "leave it out, and write return for defer.returnValue: functions return their value at once", "there is nothing to wait for here")
	case len(v.Decorators) == 0:
		return mistakef(s[0].at(), "call the function on what it decorates", "there are no decorators")
	}
	return mistakef(s[0].at(), "call the function on what it decorates", "of decorators only %s is understood", v.Decorators[0])
}

// isStatement tells "assert x" from an expression that begins with a name.
func isStatement(s []token) bool {
	return len(s) > 1 && (s[1].startsOperand() || s[1].word("not") || s[1].is("("))
}

// adjacent finds the first place where two values follow each other with
// nothing between them: a missing comma, or a bracket that was not closed.
func (w *rewritten) adjacent() *mistake {
	for i := 1; i < len(w.tokens); i++ {
		prev, t := w.tokens[i-1], w.tokens[i]
		if !prev.endsOperand() {
			continue
		}
		end := Place{Line: prev.endLine, Col: prev.endCol}
		switch {
		case prev.kind == tokString && t.kind == tokString:
			return mistakef(end, "put a comma between them, or + to join them",
				"two strings follow each other")
		case prev.kind == tokString && t.kind == tokName && t.off == prev.end() && !t.keyword():
			return mistakef(end, `a quote inside a string is written \' or \", or the string has the other kind of quotes`,
				"the string ends here, and %s follows", clip(t.text))
		case t.open < 0:
			continue
		}
		if open := w.tokens[t.open]; w.looksUnclosed(open, i) {
			return mistakef(open.at(), fmt.Sprintf("a new statement seems to begin on line %d", t.line),
				"this %q is never closed", open.text)
		}
		if t.startsOperand() {
			return mistakef(end, fmt.Sprintf("put a comma between %s and %s%s", clip(prev.text), clip(t.text), onLine(prev, t)),
				"a comma is missing here")
		}
	}
	return nil
}

func onLine(prev, t token) string {
	if prev.endLine == t.line {
		return ""
	}
	return fmt.Sprintf(" of line %d", t.line)
}

// clip keeps a token that is quoted in a message short, and does not show a
// string's content: it may be a password.
func clip(text string) string {
	const enough = 40 // characters: longer than any keyword argument's name
	if strings.ContainsAny(text[:1], `'"`) || strings.HasSuffix(text, "'") || strings.HasSuffix(text, `"`) {
		return "the string"
	}
	if r := []rune(text); len(r) > enough {
		return string(r[:enough]) + "…"
	}
	return text
}

// statementWords never stand inside brackets.
var statementWords = wordSet("import from def class return pass break continue try with while global del raise load")

// looksUnclosed reports whether token i, which follows a complete value inside
// the bracket open, rather begins a new statement: it stands at the beginning
// of a line, no deeper than the line with the bracket, and is a statement's
// word, or what follows is an assignment or a block.
func (w *rewritten) looksUnclosed(open token, i int) bool {
	t := w.tokens[i]
	if t.kind != tokName || !t.firstOnLine || t.line == open.line || t.col > w.indent(open) {
		return false
	}
	if statementWords[t.text] {
		return true
	}
	block := blockWords[t.text]
	if !t.startsOperand() && !block {
		return false
	}
	for j := i + 1; j < len(w.tokens) && w.tokens[j].line == t.line; j++ {
		u := w.tokens[j]
		if u.depth > t.depth || u.kind != tokOp {
			continue
		}
		if j == i+1 && u.is("=") && open.is("(") {
			return false // a keyword argument, with the comma before it missing
		}
		if block && u.is(":") || !block && assignments[u.text] {
			return true
		}
	}
	return false
}

// indent is the column where the line of t begins.
func (w *rewritten) indent(t token) int {
	i, _ := slices.BinarySearchFunc(w.tokens, t.line, func(u token, line int) int { return cmp.Compare(u.line, line) })
	return w.tokens[i].col
}
