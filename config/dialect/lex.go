package dialect

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind byte

const (
	tokName tokenKind = iota // identifiers and keywords
	tokNumber
	tokString
	tokOp      // operators, brackets, punctuation
	tokNewline // the end of a logical line
	tokEOF
)

// token is a word of the configuration's text. Lines and columns count from 1,
// columns in characters, as Starlark's own scanner counts them.
type token struct {
	kind            tokenKind
	text            string
	off             int // in bytes
	line, col       int
	endLine, endCol int // just behind its last character
	firstOnLine     bool
	open            int // for what stands inside brackets: index of the innermost open one, else -1
	depth           int // how many brackets are open around it
}

func (t token) is(op string) bool   { return t.kind == tokOp && t.text == op }
func (t token) word(w string) bool  { return t.kind == tokName && t.text == w }
func (t token) at() Place           { return Place{Line: t.line, Col: t.col} }
func (t token) end() int            { return t.off + len(t.text) }
func (t token) keyword() bool       { return t.kind == tokName && pythonKeywords[t.text] }
func (t token) opensBracket() bool  { return t.is("(") || t.is("[") || t.is("{") }
func (t token) closesBracket() bool { return t.is(")") || t.is("]") || t.is("}") }

// endsOperand reports whether a value can end with t, and startsOperand
// whether one can begin with it: where the one follows the other directly,
// something is missing between them.
func (t token) endsOperand() bool {
	switch t.kind {
	case tokNumber, tokString:
		return true
	case tokName:
		return !t.keyword()
	}
	return t.closesBracket()
}

func (t token) startsOperand() bool {
	switch t.kind {
	case tokNumber, tokString:
		return true
	case tokName:
		return !t.keyword() || t.text == "lambda"
	}
	return t.is("{")
}

// pythonKeywords are the words that cannot be a name: Starlark's keywords and
// those of Python's that Starlark reserves.
var pythonKeywords = wordSet(`and as async await break class continue def del elif else except
	finally for from global if import in is lambda load nonlocal not or pass raise return try
	while with yield`)

func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// maxDepth of brackets is also Starlark's own limit.
const maxDepth = 1000

// lexer cuts the text into tokens. It agrees with Starlark's scanner about
// lines, columns and where a logical line ends, and knows Python's tokens
// besides, so as to say what they are.
type lexer struct {
	src       []byte
	off       int
	line, col int
	tokens    []token
	brackets  []int // indexes of the tokens that opened them
	lineHas   bool  // a token was seen on this line
}

// lex returns the tokens of src, up to the first mistake if there is one.
func lex(src []byte) (tokens []token, failed *mistake) {
	l := &lexer{src: src, line: 1, col: 1}
	defer func() {
		switch m := recover().(type) {
		case nil:
		case *mistake:
			tokens = l.tokens
			failed = m
		default:
			panic(m)
		}
	}()
	for l.next() {
	}
	return l.tokens, nil
}

func (l *lexer) fail(at Place, hint, format string, args ...any) {
	panic(mistakef(at, hint, format, args...))
}

func (l *lexer) here() Place { return Place{Line: l.line, Col: l.col} }

// peek returns the byte n places ahead, 0 behind the end.
func (l *lexer) peek(n int) byte {
	if l.off+n < len(l.src) {
		return l.src[l.off+n]
	}
	return 0
}

// advance passes over one character; any kind of line end is one.
func (l *lexer) advance() {
	c := l.src[l.off]
	switch {
	case c == '\r' && l.peek(1) == '\n':
		l.off += 2
	case c < utf8.RuneSelf:
		if c == 0 {
			l.fail(l.here(), "", "a NUL character cannot be part of a configuration")
		}
		l.off++
	default:
		r, size := utf8.DecodeRune(l.src[l.off:])
		if r == utf8.RuneError && size == 1 {
			l.fail(l.here(), "save the file as UTF-8", "the text is not UTF-8")
		}
		l.off += size
	}
	if c == '\n' || c == '\r' {
		l.line, l.col, l.lineHas = l.line+1, 1, false
	} else {
		l.col++
	}
}

func (l *lexer) atLineEnd() bool {
	return l.off >= len(l.src) || l.src[l.off] == '\n' || l.src[l.off] == '\r'
}

func (l *lexer) next() bool {
	for {
		switch c := l.peek(0); {
		case l.off >= len(l.src):
			l.finish()
			return false
		case c == ' ' || c == '\t':
			l.advance()
		case c == '#':
			for !l.atLineEnd() {
				l.advance()
			}
		case l.atLineEnd():
			if l.lineEnds() {
				return true
			}
		case c == '\\' && (l.peek(1) == '\n' || l.peek(1) == '\r'):
			had := l.lineHas
			l.advance()
			l.advance()
			l.lineHas = had // a continued line has no new beginning
		default:
			l.scan()
			return true
		}
	}
}

// lineEnds passes a line end, and makes a token of it where it ends a logical
// line that is not blank.
func (l *lexer) lineEnds() bool {
	n := len(l.tokens)
	ends := len(l.brackets) == 0 && n > 0 && l.tokens[n-1].kind != tokNewline
	if ends {
		l.tokens = append(l.tokens, token{
			kind: tokNewline, text: "", off: l.off, line: l.line, col: l.col,
			endLine: l.line, endCol: l.col, open: -1,
		})
	}
	l.advance()
	return ends
}

func (l *lexer) finish() {
	if n := len(l.brackets); n > 0 {
		t := l.tokens[l.brackets[n-1]]
		l.fail(t.at(), "", "this %q is never closed", t.text)
	}
	l.tokens = append(l.tokens,
		token{kind: tokNewline, off: l.off, line: l.line, col: l.col, endLine: l.line, endCol: l.col, open: -1},
		token{kind: tokEOF, off: l.off, line: l.line, col: l.col, endLine: l.line, endCol: l.col, open: -1})
}

func (l *lexer) scan() {
	t := token{off: l.off, line: l.line, col: l.col, firstOnLine: !l.lineHas, open: -1, depth: len(l.brackets)}
	if t.depth > 0 {
		t.open = l.brackets[t.depth-1]
	}
	l.lineHas = true
	r, _ := utf8.DecodeRune(l.src[l.off:])
	switch {
	case r == '"' || r == '\'':
		t.kind = tokString
		l.scanString(t, false)
	case isNameStart(r):
		l.scanWord(&t)
	case r < utf8.RuneSelf && isDigit(byte(r)) || r == '.' && isDigit(l.peek(1)):
		t.kind = tokNumber
		l.scanNumber()
	default:
		t.kind = tokOp
		l.scanOperator(t)
	}
	t.text = string(l.src[t.off:l.off])
	t.endLine, t.endCol = l.line, l.col
	l.lineHas = true
	if t.is(")") || t.is("]") || t.is("}") {
		t.depth--
	}
	l.tokens = append(l.tokens, t)
	if t.opensBracket() {
		l.brackets = append(l.brackets, len(l.tokens)-1)
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) }

func isNamePart(r rune) bool { return isNameStart(r) || unicode.IsDigit(r) }

// scanWord reads a name, or the letters before a string and the string.
func (l *lexer) scanWord(t *token) {
	t.kind = tokName
	for l.off < len(l.src) {
		r, _ := utf8.DecodeRune(l.src[l.off:])
		if !isNamePart(r) {
			break
		}
		l.advance()
	}
	prefix := strings.ToLower(string(l.src[t.off:l.off]))
	if c := l.peek(0); c != '"' && c != '\'' || len(prefix) > 2 || strings.Trim(prefix, "rbuf") != "" {
		return
	}
	if strings.Contains(prefix, "f") {
		l.fail(t.at(), "write '…%s…' % value, or '{}'.format(value)", "f-strings are not part of Starlark")
	}
	t.kind = tokString
	l.scanString(*t, strings.Contains(prefix, "r"))
}

func (l *lexer) scanString(t token, raw bool) {
	quote := l.peek(0)
	triple := l.peek(1) == quote && l.peek(2) == quote
	for range 1 + 2*btoi(triple) {
		l.advance()
	}
	for {
		switch c := l.peek(0); {
		case l.off >= len(l.src):
			l.fail(t.at(), "", "this string is never closed")
		case c == '\\' && l.off+1 < len(l.src):
			l.advance()
			l.advance()
		case !triple && (c == '\n' || c == '\r'):
			hint := "put the closing quote at the end, or three quotes around a text of several lines"
			if !raw && l.off > t.off+1 && l.src[l.off-1] == quote && l.src[l.off-2] == '\\' {
				hint = `the backslash before the last quote escapes it: write \\`
			}
			l.fail(t.at(), hint, "this string is not closed on its line")
		case c == quote && !triple:
			l.advance()
			return
		case c == quote && l.peek(1) == quote && l.peek(2) == quote:
			l.advance()
			l.advance()
			l.advance()
			return
		default:
			l.advance()
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// scanNumber passes over anything that begins like a number; Starlark's
// parser judges it.
func (l *lexer) scanNumber() {
	for l.off < len(l.src) {
		c := l.peek(0)
		exponent := (c == '+' || c == '-') && l.off > 0 && (l.src[l.off-1] == 'e' || l.src[l.off-1] == 'E')
		hex := exponent && strings.HasPrefix(strings.ToLower(l.tokenStart()), "0x")
		r, _ := utf8.DecodeRune(l.src[l.off:])
		if c != '.' && !isNamePart(r) && (!exponent || hex) {
			return
		}
		l.advance()
	}
}

// tokenStart returns the text from the beginning of the run of number
// characters before the current one.
func (l *lexer) tokenStart() string {
	i := l.off
	for i > 0 && (isNamePart(rune(l.src[i-1])) || l.src[i-1] == '.') {
		i--
	}
	return string(l.src[i:l.off])
}

// operators of more than one character, longest first. Some are Python's
// alone, read as one so that they can be named.
var operators = []string{
	"...", "**=", "//=", "<<=", ">>=",
	"**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", ":=", "<>",
	"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=",
}

func (l *lexer) scanOperator(t token) {
	rest := l.src[l.off:]
	for _, op := range operators {
		if len(rest) >= len(op) && string(rest[:len(op)]) == op {
			for range len(op) {
				l.advance()
			}
			return
		}
	}
	c := l.peek(0)
	switch {
	case strings.IndexByte("()[]{}", c) >= 0:
		l.bracket(t, c)
	case c == '\\':
		l.fail(t.at(), "nothing, not even a space, may follow a backslash that continues a line", "stray backslash")
	case strings.IndexByte("+-*/%&|^~<>=.,:;@", c) < 0:
		r, _ := utf8.DecodeRune(rest)
		l.advance() // names characters that cannot be in any text
		l.fail(t.at(), "", "unexpected character %q", r)
	}
	l.advance()
}

func (l *lexer) bracket(t token, c byte) {
	n := len(l.brackets)
	closes := map[byte]string{')': "(", ']': "[", '}': "{"}[c]
	switch {
	case closes == "":
		if n == maxDepth {
			l.fail(t.at(), "", "brackets are nested more than %d deep", maxDepth)
		}
	case n == 0:
		l.fail(t.at(), "", "%q closes nothing", c)
	default:
		open := l.tokens[l.brackets[n-1]]
		if open.text != closes {
			l.fail(t.at(), "", "%q does not close the %q of line %d", c, open.text, open.line)
		}
		l.brackets = l.brackets[:n-1]
	}
}
