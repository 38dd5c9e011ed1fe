package config

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"go.starlark.net/syntax"
)

// TestRewriteKeepsPositions checks, for every configuration in testdata that
// can be rewritten, that what was not rewritten stands where it stood.
func TestRewriteKeepsPositions(t *testing.T) {
	for _, dir := range []string{"good", "bad", "page"} {
		for name, src := range sources(t, dir) {
			w, m := rewrite(src)
			if m != nil {
				continue
			}
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

// TestPositions puts one mistake behind everything that could move it.
func TestPositions(t *testing.T) {
	const mistake = "worker.Worker('w', 'pw', max_builds=-1)"
	for _, tt := range []struct {
		name, before string
	}{
		{"plain", ""},
		{"indented with tabs", "x = [\n\t\t1]; y = ["},
		{"behind an import on the line", "import os; from buildbot.plugins import steps as s; y = ["},
		{"behind a chained assignment", "a = b = e = ["},
		{"behind wide characters", "a = ['日本語', \"é\", "},
		{"in a call of several lines", "a = dict(\n  b = [1,\n\n  # comment\n  2], c = "},
		{"behind a text of several lines", "a = ['''one\ntwo\nthree''', "},
		{"after a continued line", "a = 1 + \\\n  2; b = ["},
		{"after a raw string", "a = [R'\\d', u'x', "},
		{"multiplied", "a = ['x' * 3, "},
	} {
		for _, end := range []string{"\n", "\r\n"} {
			t.Run(fmt.Sprintf("%s %q", tt.name, end), func(t *testing.T) {
				head := "from buildbot.plugins import worker\nc = BuildmasterConfig = {}\n" + tt.before
				closing := map[bool]string{true: "]\n", false: "\n"}[strings.Count(tt.before, "[") > strings.Count(tt.before, "]")]
				if strings.Contains(tt.before, "dict(") {
					closing = ")\n"
				}
				src := head + mistake + closing + "c['workers'] = [worker.Worker('v', 'pw')]\n"
				last := head[strings.LastIndex(head, "\n")+1:]
				want := fmt.Sprintf("m.star:%d:%d: ", strings.Count(head, "\n")+1,
					utf8.RuneCountInString(last)+strings.Index(mistake, "max_builds")+1)
				_, err := Parse("m.star", []byte(strings.ReplaceAll(src, "\n", end)), testOptions())
				if err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("error is %v, want one at %s\n%s", err, want, src)
				}
			})
		}
	}
}
