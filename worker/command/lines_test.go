package command

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

func stockNL(t testing.TB) newline {
	t.Helper()
	nl, exact := parseNewline(stockNewline)
	if !exact || !nl.stock {
		t.Fatal("the stock expression is not recognised")
	}
	return nl
}

// splitAll gives the texts of all lines of data, read in pieces that end at
// the cuts.
func splitAll(nl newline, limit int, data []byte, cuts ...int) []string {
	s := newLineSplitter(dormouse.Stdout, nl, limit)
	var lines []dormouse.LogLine
	begin := 0
	for _, cut := range append(cuts, len(data)) {
		lines = s.Append(lines, data[begin:cut], time.Unix(1, 0))
		begin = cut
	}
	lines = s.Flush(lines, time.Unix(2, 0))
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.Text)
	}
	return texts
}

func TestLines(t *testing.T) {
	stock := stockNL(t)
	plain, _ := parseNewline(`\n`)
	words, _ := parseNewline(`\|+`)
	long := strings.Repeat("x", 10)
	for _, tt := range []struct {
		name  string
		nl    newline
		limit int
		in    string
		want  []string
	}{
		{"nothing", stock, 0, "", nil},
		{"line", stock, 0, "a\n", []string{"a"}},
		{"no newline at the end", stock, 0, "a\nb", []string{"a", "b"}},
		{"empty lines", stock, 0, "\n\na\n", []string{"", "", "a"}},
		{"carriage return and line feed", stock, 0, "a\r\nb\r\n", []string{"a", "b"}},
		{"carriage return alone", stock, 0, "10%\r20%\r30%\n", []string{"10%", "20%", "30%"}},
		{"carriage return at the end", stock, 0, "a\r", []string{"a"}},
		{"two carriage returns", stock, 0, "a\r\r\nb", []string{"a", "", "b"}},
		{"backspaces", stock, 0, "1\b2\b\b\b3", []string{"1", "2", "3"}},
		{"cursor moves", stock, 0, "a\x1b[ub\x1b[2Jc\x1b[10;20Hd\x1b[1;1fe", []string{"a", "b", "c", "d", "e"}},
		{"colours stay", stock, 0, "\x1b[1;31mred\x1b[0m\n", []string{"\x1b[1;31mred\x1b[0m"}},
		{"not quite cursor moves", stock, 0, "\x1b[22J\x1b[;1H\x1b[1;H\x1b[1;2\x1b[uX\x1b", []string{"\x1b[22J\x1b[;1H\x1b[1;H\x1b[1;2", "X\x1b"}},
		{"endless sequence is text", stock, 0, "\x1b[" + strings.Repeat("1", 40) + ";1H", []string{"\x1b[" + strings.Repeat("1", 40) + ";1H"}},
		{"only line feeds", plain, 0, "a\rb\bc\n", []string{"a\rb\bc"}},
		{"another expression", words, 0, "a||b|c\nd", []string{"a", "b", "c", "d"}},
		{"another expression, long line", words, 5, "abcdefgh|i", []string{"abcd", "efgh", "i"}},
		{"line of just the limit", stock, 11, long + "\n", []string{long}},
		{"line over the limit", stock, 11, long + "y\n", []string{long, "y"}},
		{"limit counts characters", stock, 4, "äöüß\n", []string{"äöü", "ß"}},
		{"much too long", stock, 4, strings.Repeat("abc", 4), []string{"abc", "abc", "abc", "abc"}},
		{"bytes that are no text", stock, 0, "a\xff\xfeb\xe2\x82\n", []string{"a\uFFFD\uFFFDb\uFFFD\uFFFD"}},
		{"text cut off at the end", stock, 0, "a\xe2\x82", []string{"a\uFFFD\uFFFD"}},
		{"NUL stays", stock, 0, "a\x00b\n", []string{"a\x00b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := []byte(tt.in)
			if diff := cmp.Diff(tt.want, splitAll(tt.nl, tt.limit, data)); diff != "" {
				t.Errorf("in one read (-want +got):\n%s", diff)
			}
			if tt.nl.re != nil {
				return // what an expression matches may depend on what it sees at once
			}
			var cuts []int
			for i := range data {
				cuts = append(cuts, i)
			}
			if diff := cmp.Diff(tt.want, splitAll(tt.nl, tt.limit, data, cuts...)); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNewlineFallback(t *testing.T) {
	nl, exact := parseNewline(`(?<=x)y`)
	if exact || nl.re != nil || nl.stock {
		t.Errorf("a lookbehind is taken for possible: %+v, exact %v", nl, exact)
	}
}

func TestLineTimes(t *testing.T) {
	s := newLineSplitter(dormouse.Stderr, stockNL(t), 0)
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	lines := s.Append(nil, []byte("a\nb"), at(1))
	lines = s.Append(lines, []byte("b\nc\nd"), at(2))
	lines = s.Append(lines, []byte("d"), at(3))
	lines = s.Flush(lines, at(9))
	want := []dormouse.LogLine{
		{Stream: dormouse.Stderr, Time: at(1), Text: "a"},
		{Stream: dormouse.Stderr, Time: at(1), Text: "bb"}, // when it began
		{Stream: dormouse.Stderr, Time: at(2), Text: "c"},
		{Stream: dormouse.Stderr, Time: at(2), Text: "dd"},
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

// FuzzLines holds that lines do not depend on the cuts, are valid and short
// enough, and are what the stock expression itself would make of the text.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\bc\x1b[2Jd\x1b[1;2Hé\xffend"), uint8(8), 3, 7)
	f.Add([]byte("\r\r\n\b\b\n\x1b[u\n"), uint8(2), 1, 2)
	f.Add([]byte("\x1b[1;\xe2\x82\xac"), uint8(3), 4, 5)
	// RE2 has no lookahead; a \r before anything, or at the end where Flush's
	// newline follows, ends a line just the same.
	stock := regexp.MustCompile(`\r\n|\r|\x1b\[u|\x1b\[[0-9]+;[0-9]+[Hf]|\x1b\[2J|\x08+`)
	f.Fuzz(func(t *testing.T, data []byte, limit uint8, cut1, cut2 int) {
		nl := newline{stock: true}
		most := 2 + int(limit)
		whole := splitAll(nl, most, data)
		n := len(data) + 1
		a, b := ((cut1%n)+n)%n, ((cut2%n)+n)%n
		if diff := cmp.Diff(whole, splitAll(nl, most, data, min(a, b), max(a, b))); diff != "" {
			t.Errorf("cuts at %d and %d change the lines:\n%s", a, b, diff)
		}
		for _, line := range whole {
			if !utf8.ValidString(line) || strings.Contains(line, "\n") || utf8.RuneCountInString(line) >= most {
				t.Errorf("line %q with limit %d", line, most)
			}
		}
		// A sequence with more digits than any terminal's is text to us.
		text := stock.ReplaceAllString(decodeBytes(data), "\n")
		want := strings.Split(text, "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		if got := splitAll(nl, 1<<20, data); longestDigits(data) < 10 && !slices.Equal(want, got) {
			t.Errorf("lines %q, the expression gives %q", got, want)
		}
	})
}

func decodeBytes(data []byte) string {
	var b strings.Builder
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		b.WriteRune(r)
		data = data[n:]
	}
	return b.String()
}

func longestDigits(data []byte) int {
	longest := 0
	for i := range data {
		longest = max(longest, digits(string(data[i:])))
	}
	return longest
}

func BenchmarkLines(b *testing.B) {
	for _, bm := range []struct{ name, text string }{
		{"short", strings.Repeat("one line of eighty characters or so, as compilers print them, with a file: 1234\n", 800)},
		{"long", strings.Repeat("x", 64<<10)},
		{"binary", strings.Repeat("\x00\xff\xfe\x80\n\x1b[1;2Hé", 5000)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := newLineSplitter(dormouse.Stdout, stockNL(b), 0)
			data := []byte(bm.text)
			var lines []dormouse.LogLine
			now := time.Now()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				lines = s.Append(lines[:0], data, now)
			}
		})
	}
}
