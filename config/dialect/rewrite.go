package dialect

import (
	"slices"
	"strings"
)

// rewritten is a configuration as Starlark's parser can read it: the same
// lines and columns, with a placeholder where a form of Python stood, and what
// the placeholders mean.
type rewritten struct {
	text []byte
	// imports are the names that an import binds, by the place of the pass
	// statement that was put there.
	imports map[position][]binding
	// chained are the places where all targets of a chained assignment but
	// the last begin. There, "a = b = value" became "a ; b = value".
	chained map[position]bool
	// decorators are what functions are decorated with, by the place of the pass
	// statement that was put there.
	decorators map[position]decorator
	// identities are the places where "is" became "==".
	identities map[position]bool
	tokens     []token
	vocabulary *Vocabulary
}

// decorator is what stands behind an @: the words of its name.
type decorator struct {
	words []string
	at    Place
}

type position struct{ line, col int }

func (p Place) position() position { return position{p.Line, p.Col} }

// rewrite turns the forms of Python that are understood into Starlark, in
// place, and refuses the others. It stops at the first.
func rewrite(src []byte, v *Vocabulary) (*rewritten, *mistake) {
	text := slices.Clone(src)
	if strings.HasPrefix(string(text), "\ufeff") {
		text = text[len("\ufeff"):] // a byte order mark has no column
	}
	tokens, failed := lex(text)
	w := &rewritten{
		text:    text,
		imports: make(map[position][]binding),
		chained: make(map[position]bool),
		tokens:  tokens,

		decorators: make(map[position]decorator),
		identities: make(map[position]bool),
		vocabulary: v,
	}
	if m := w.adjacent(); m != nil {
		return nil, m
	}
	if failed != nil {
		return nil, failed
	}
	if m := limitOperators(tokens); m != nil {
		return nil, m
	}
	for start := 0; start < len(tokens); {
		end := start + 1
		if tokens[start].kind != tokNewline && tokens[start].kind != tokEOF && !tokens[start].is(";") {
			end = statementEnd(tokens, start)
			if m := w.statement(tokens[start:end]); m != nil {
				return nil, m
			}
			if m := decorated(tokens[start:]); m != nil {
				return nil, m
			}
		}
		start = end
	}
	return w, nil
}

// blockWords begin statements whose colon may be followed by another statement
// on the same line.
var blockWords = wordSet("if elif else for while def class try except finally with")

// statementEnd is the index behind the statement that begins at start: a
// newline's, a semicolon's, or behind a block's colon.
func statementEnd(tokens []token, start int) int {
	block := tokens[start].kind == tokName && blockWords[tokens[start].text]
	lambdas := 0
	for i := start; i < len(tokens); i++ {
		t := tokens[i]
		switch {
		case t.kind == tokNewline || t.kind == tokEOF:
			return i
		case t.depth > 0:
		case t.is(";"):
			return i
		case t.word("lambda"):
			lambdas++
		case t.is(":") && lambdas > 0:
			lambdas--
		case t.is(":") && block:
			return i + 1
		}
	}
	return len(tokens)
}

func (w *rewritten) statement(s []token) *mistake {
	if m := w.vocabulary.refuse(s); m != nil {
		return m
	}
	w.identity(s)
	switch {
	case s[0].is("@"):
		d := decorator{at: s[0].at()}
		for _, t := range s[1:] {
			if t.kind == tokName {
				d.words = append(d.words, t.text)
			}
		}
		w.blank(s)
		w.decorators[s[0].at().position()] = d
		return nil
	case s[0].word("import") || s[0].word("from"):
		bindings, m := w.vocabulary.parseImport(s)
		if m != nil {
			return m
		}
		w.blank(s)
		w.imports[s[0].at().position()] = bindings
		return nil
	default:
		w.stringPrefixes(s)
		return w.chain(s)
	}
}

// decorated refuses a decorator that stands before anything but a function.
func decorated(tokens []token) *mistake {
	if !tokens[0].is("@") {
		return nil
	}
	next := tokens[statementEnd(tokens, 0):]
	for len(next) > 0 && next[0].kind == tokNewline {
		next = next[1:]
	}
	if len(next) == 0 || !next[0].word("def") && !next[0].is("@") || next[0].col != tokens[0].col {
		return mistakef(tokens[0].at(), "put it right above a def", "there is no function here to decorate")
	}
	return nil
}

// identity rewrites "is" and "is not", which configurations use with None, True
// and False: there == and != mean the same.
func (w *rewritten) identity(s []token) {
	for i, t := range s {
		if !t.word("is") {
			continue
		}
		copy(w.text[t.off:], "==")
		w.identities[t.at().position()] = true
		if i+1 < len(s) && s[i+1].word("not") {
			copy(w.text[t.off:], "!=")
			copy(w.text[s[i+1].off:], "   ")
		}
	}
}

// blank puts a pass statement where s stands.
func (w *rewritten) blank(s []token) {
	start, end := s[0].off, s[len(s)-1].end()
	for i := start; i < end; i++ {
		if c := w.text[i]; c != '\n' && c != '\r' {
			w.text[i] = ' '
		}
	}
	copy(w.text[start:], "pass") // "from" and "import" are not shorter
}

// stringPrefixes rewrites what Python allows before a string and Starlark does
// not: capitals, br for rb, and u, which means nothing.
func (w *rewritten) stringPrefixes(s []token) {
	for _, t := range s {
		if t.kind != tokString {
			continue
		}
		n := strings.IndexAny(t.text, `'"`)
		switch prefix := strings.ToLower(t.text[:n]); prefix {
		case "":
		case "br":
			copy(w.text[t.off:], "rb")
		default:
			copy(w.text[t.off:], strings.ReplaceAll(prefix, "u", " "))
		}
	}
}

var assignments = wordSet("= += -= *= /= //= %= &= |= ^= <<= >>=")

// chain rewrites a = b = value.
func (w *rewritten) chain(s []token) *mistake {
	var ops []int
	lambdas := 0
	for i, t := range s {
		switch {
		case t.depth > 0:
		case t.word("lambda"):
			lambdas++
		case t.is(":") && lambdas > 0:
			lambdas--
		case t.kind == tokOp && assignments[t.text] && lambdas == 0:
			ops = append(ops, i)
		}
	}
	if len(ops) < 2 {
		return nil
	}
	for _, i := range ops {
		if !s[i].is("=") {
			return mistakef(s[i].at(), "write two statements", "%q cannot be part of a chained assignment", s[i].text)
		}
	}
	start := 0
	for n, i := range ops {
		if start == i {
			return mistakef(s[i].at(), "", "there is nothing before this %q to assign to", "=")
		}
		if n == len(ops)-1 {
			break
		}
		w.chained[s[start].at().position()] = true
		w.text[s[i].off] = ';'
		start = i + 1
	}
	return nil
}
