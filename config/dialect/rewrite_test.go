package dialect

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"go.starlark.net/syntax"
)

// TestRewriteKeepsPositions checks, for every configuration of config's tests that
// can be rewritten, that what was not rewritten stands where it stood.
func TestRewriteKeepsPositions(t *testing.T) {
	t.Parallel()
	kept := 0
	for name, src := range configurations(t) {
		w, m := rewrite(src, testVocabulary)
		if m != nil {
			continue
		}
		kept++
		for _, tok := range w.tokens {
			if tok.kind != tokName || tok.off >= len(w.text) {
				continue
			}
			line := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(w.text)), "\n")[tok.line-1]
			before, after := split(line, tok.col-1)
			if !strings.HasPrefix(after, tok.text) && !rewrittenWord(w, tok) {
				t.Errorf("%s:%d:%d: %q is not behind %q but %q", name, tok.line, tok.col, tok.text, before, after)
			}
		}
	}
	if kept < 20 {
		t.Errorf("only %d configurations can be rewritten", kept)
	}
}

func split(line string, runes int) (before, after string) {
	i := 0
	for range runes {
		if i >= len(line) {
			break
		}
		_, n := utf8.DecodeRuneInString(line[i:])
		i += n
	}
	return line[:i], line[i:]
}

// rewrittenWord reports whether tok was part of an import, a decorator, or "is".
func rewrittenWord(w *rewritten, tok token) bool {
	if text := string(w.text[tok.off:tok.end()]); tok.text == "is" && (text == "==" || text == "!=") {
		return true
	}
	return strings.TrimRight(string(w.text[tok.off:tok.end()]), " ") != tok.text &&
		strings.Trim(string(w.text[tok.off:tok.end()]), " pas") == ""
}

// TestLexAgrees compares positions with Starlark's own parser on a text in
// which everything that moves columns and lines occurs.
func TestLexAgrees(t *testing.T) {
	t.Parallel()
	texts := []string{
		"a = 'é' + b\n",
		"if 1:\r\n\tc = 'x'\r\n\r\n\td = r'\\d'\r\ne = 2\r\n",
		"a = [1, # one\n     2,\n]; b = '''x\ny''' ; c = a\\\n  + b\n",
		"f(a, *b, **c)[1:2].d\n",
		"x = 1e+5 + 0x1F + .5 + 1.\n",
		"日本 = lambda x=1: x\n",
		"a = 1\rb = 2\r",
		"x = \"\\\\\" + '\\''\n",
	}
	for _, text := range texts {
		tokens, m := lex([]byte(text))
		if m != nil {
			t.Errorf("%q: %v", text, m)
			continue
		}
		byPos := make(map[string]string)
		for _, tok := range tokens {
			byPos[fmt.Sprintf("%d:%d", tok.line, tok.col)] = tok.text
		}
		f, err := fileOptions.Parse("x", text, 0)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		syntax.Walk(f, func(n syntax.Node) bool {
			if id, ok := n.(*syntax.Ident); ok {
				if got := byPos[fmt.Sprintf("%d:%d", id.NamePos.Line, id.NamePos.Col)]; got != id.Name {
					t.Errorf("%q: at %v is %q, Starlark has %q", text, id.NamePos, got, id.Name)
				}
			}
			return true
		})
	}
}
