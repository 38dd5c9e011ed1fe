package wire

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/tinylib/msgp/msgp"

	"github.com/dormouse-ci/dormouse"
)

var now = time.UnixMilli(1_800_000_000_000)

// encode returns the encoding of v, which must have one.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := appendValue(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncodeOutput compares with what a stock worker sends, and so a stock
// master expects: positions in characters.
func TestEncodeOutput(t *testing.T) {
	at := time.UnixMilli(1500)
	tests := []struct {
		name  string
		lines []dormouse.LogLine
		want  []any
	}{
		{"none", nil, []any{"", []any{}, []any{}}},
		{"one", []dormouse.LogLine{{Text: "hello", Time: at}}, []any{"hello\n", []any{int64(5)}, []any{1.5}}},
		{"empty line", []dormouse.LogLine{{Time: at}}, []any{"\n", []any{int64(0)}, []any{1.5}}},
		{"characters", []dormouse.LogLine{{Text: "h\u00e9\U0001F600", Time: at}, {Text: "x"}}, []any{"h\u00e9\U0001F600\nx\n", []any{int64(3), int64(5)}, []any{1.5, 0.0}}},
		{"newline within", []dormouse.LogLine{{Text: "a\nb\n", Time: at}}, []any{"a\nb\n\n", []any{int64(1), int64(3), int64(4)}, []any{1.5, 1.5, 1.5}}},
		{"not UTF-8", []dormouse.LogLine{{Text: "a\xff\xfeb", Time: at}}, []any{"a\uFFFDb\n", []any{int64(3)}, []any{1.5}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, rest, err := decodeValue(encode(t, EncodeOutput(test.lines)))
			if err != nil || len(rest) != 0 {
				t.Fatal(err, rest)
			}
			if diff := cmp.Diff(any(test.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDecodeOutput reads output as honest, odd and hostile workers send it.
func TestDecodeOutput(t *testing.T) {
	at := time.UnixMilli
	line := func(text string, t time.Time) dormouse.LogLine {
		return dormouse.LogLine{Stream: dormouse.Stdout, Time: t, Text: text}
	}
	tests := []struct {
		name  string
		value any
		want  []dormouse.LogLine
	}{
		{"two lines", []any{"a\nb\n", []int{1, 3}, []float64{1, 2.5}}, []dormouse.LogLine{line("a", at(1000)), line("b", at(2500))}},
		{"no final newline", []any{"a\nb", []int{1}, []float64{1, 2}}, []dormouse.LogLine{line("a", at(1000)), line("b", at(2000))}},
		{"fewer times than lines", []any{"a\nb\nc\n", []int{1, 3, 5}, []float64{1}}, []dormouse.LogLine{line("a", at(1000)), line("b", at(1000)), line("c", at(1000))}},
		{"hostile positions", []any{"a\nb\n", []any{-1, math.MaxInt64, "x", nil, 1.5}, []float64{1, 2}}, []dormouse.LogLine{line("a", at(1000)), line("b", at(2000))}},
		{"positions no list", []any{"a\n", "x", []float64{1}}, []dormouse.LogLine{line("a", at(1000))}},
		{
			"hostile times",
			[]any{"a\nb\nc\nd\ne\nf\ng\n", []any{}, []any{math.NaN(), math.Inf(1), -1.0, 1e300, "x", 7, nil}},
			[]dormouse.LogLine{line("a", now), line("b", now), line("c", now), line("d", now), line("e", now), line("f", at(7000)), line("g", at(7000))},
		},
		{"no times", []any{"a\n", []any{}}, []dormouse.LogLine{line("a", now)}},
		{"times no list", []any{"a\n", []any{}, "x"}, []dormouse.LogLine{line("a", now)}},
		{"bare text", "a\nb", []dormouse.LogLine{line("a", now), line("b", now)}},
		{"bytes", []any{[]byte("a\xffb\n"), []any{}, []any{}}, []dormouse.LogLine{line("a\uFFFDb", now)}},
		{"carriage returns stay", []any{"10%\r20%\rdone\r\n", []any{}, []any{1}}, []dormouse.LogLine{line("10%\r20%\rdone\r", at(1000))}},
		{"nothing", []any{"", []any{}, []any{}}, nil},
		{"longest line", strings.Repeat("x", maxLine) + "\ny\n", []dormouse.LogLine{line(strings.Repeat("x", maxLine), now), line("y", now)}},
		{
			"too long a line",
			[]any{strings.Repeat("x", 2*maxLine+1) + "\ny\n", []any{}, []any{1, 2}},
			[]dormouse.LogLine{line(strings.Repeat("x", maxLine), at(1000)), line(strings.Repeat("x", maxLine), at(1000)), line("x", at(1000)), line("y", at(2000))},
		},
		{
			"cut between characters", "a" + strings.Repeat("\u20ac", maxLine/3) + "b",
			[]dormouse.LogLine{line("a"+strings.Repeat("\u20ac", (maxLine-1)/3), now), line(strings.Repeat("\u20ac", maxLine/3-(maxLine-1)/3)+"b", now)},
		},
		{"long line after short", "s\n" + strings.Repeat("x", 2*chunkBytes), []dormouse.LogLine{line("s", now), line(strings.Repeat("x", 2*chunkBytes), now)}},
		{"many newlines", strings.Repeat("\n", chunkBytes+10), func() (l []dormouse.LogLine) {
			for range chunkBytes + 10 {
				l = append(l, line("", now))
			}
			return l
		}()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := readOutput(encode(t, test.value))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(test.want, got) { // a diff of a hundred thousand lines takes long
				t.Error(shorten(cmp.Diff(test.want, got), 2000))
			}
		})
	}
	for _, bad := range []any{nil, 3, []any{}, []any{nil}, map[string]any{}} {
		if _, err := readOutput(encode(t, bad)); err == nil {
			t.Errorf("%v is output", bad)
		}
	}
}

// readOutput reads all of an output, and checks each chunk's limits.
func readOutput(b []byte) ([]dormouse.LogLine, error) {
	r, err := newOutputReader(b, dormouse.Stdout, now)
	if err != nil {
		return nil, err
	}
	var all []dormouse.LogLine
	for lines := r.next(); lines != nil; lines = r.next() {
		size := 0
		for _, l := range lines {
			if strings.Contains(l.Text, "\n") || !utf8.ValidString(l.Text) {
				return nil, fmt.Errorf("not a line: %q", l.Text)
			}
			if len(l.Text) > 3*maxLine { // a byte that is not UTF-8 becomes three
				return nil, fmt.Errorf("a line of %d bytes", len(l.Text))
			}
			size += len(l.Text)
		}
		if len(lines) == 0 || len(lines) > chunkLines || size > 3*maxLine {
			return nil, fmt.Errorf("a chunk of %d lines, %d bytes", len(lines), size)
		}
		all = append(all, lines...)
	}
	return all, nil
}

func TestValues(t *testing.T) {
	tests := []struct{ in, want any }{
		{nil, nil},
		{true, true},
		{7, int64(7)},
		{-7, int64(-7)},
		{int32(5), int64(5)},
		{uint32(5), int64(5)},
		{int64(math.MinInt64), int64(math.MinInt64)},
		{uint64(math.MaxUint64), uint64(math.MaxUint64)},
		{uint64(7), int64(7)},
		{1.5, 1.5},
		{"a\xff", "a\uFFFD"},
		{[]byte{0xff}, []byte{0xff}},
		{[]string{"a"}, []any{"a"}},
		{[]int{1}, []any{int64(1)}},
		{[]int64{1}, []any{int64(1)}},
		{[]float64{1}, []any{1.0}},
		{map[string]string{"k\xff": "v"}, map[string]any{"k\uFFFD": "v"}},
		{map[string]int{"k": 1}, map[string]any{"k": int64(1)}},
		{map[string]any{"a": []any{nil, map[string]any{}}}, map[string]any{"a": []any{nil, map[string]any{}}}},
	}
	for _, test := range tests {
		b := encode(t, test.in)
		n := 0
		if rest, err := skipValue(b, 0, &n); err != nil || len(rest) != 0 {
			t.Errorf("%v: %v", test.in, err)
		}
		got, _, err := decodeValue(b)
		if err != nil || !cmp.Equal(test.want, got) {
			t.Errorf("%v: got %v, %v", test.in, got, err)
		}
	}
	if _, err := appendValue(nil, []any{struct{}{}}); err == nil {
		t.Error("a struct was encoded")
	}
	// Keys that are numbers, and single precision, as other libraries send.
	b := msgp.AppendFloat32(msgp.AppendInt(msgp.AppendMapHeader(nil, 1), 5), 0.5)
	if got, _, err := decodeValue(b); err != nil || !cmp.Equal(any(map[string]any{"5": 0.5}), got) {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestPath joins as the worker's system does.
func TestPath(t *testing.T) {
	posix := &Worker{info: Info{BaseDir: "/home/bot/", System: "posix"}}
	if got := posix.Path("b1", "build/sub", ""); got != "/home/bot/b1/build/sub" {
		t.Error(got)
	}
	windows := &Worker{info: Info{BaseDir: `C:\bot`, System: "nt"}}
	if got := windows.Path("b1", "build/sub", ""); got != `C:\bot\b1\build\sub` {
		t.Error(got)
	}
}

func FuzzParseFrame(f *testing.F) {
	req, _ := appendRequest(nil, 3, "update", []field{{"command_id", "1"}, {"args", updateArgs{{"stdout", EncodeOutput([]dormouse.LogLine{{Text: "x"}})}, {"rc", 0}}}})
	f.Add(req)
	resp, _ := appendResponse(nil, 3, map[string]any{"a": []any{1.5, nil}}, true)
	f.Add(resp)
	f.Add([]byte{0x81, 0xa1, 'x', 0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0})
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := parseFrame(b)
		if err != nil {
			return
		}
		// What was accepted decodes, and encodes to what decodes the same.
		for _, raw := range fr.fields {
			v, rest, err := decodeValue(raw.value)
			if err != nil || len(rest) != 0 {
				t.Fatalf("%s: %v, %d bytes left", raw.key, err, len(rest))
			}
			again, rest, err := decodeValue(encode(t, v))
			if err != nil || len(rest) != 0 || fmt.Sprint(again) != fmt.Sprint(v) {
				t.Fatalf("%s: %v became %v, %v", raw.key, v, again, err)
			}
		}
		if args, ok := fr.raw("args"); ok {
			_ = decodeUpdates(args, now, func(Update) error { return nil })
		}
	})
}

func FuzzDecodeUpdates(f *testing.F) {
	f.Add(encode(f, updateArgs{{"stdout", EncodeOutput([]dormouse.LogLine{{Text: "x\ny", Time: now}})}, EncodeLog("l", nil), {"rc", 0}}))
	f.Add(encode(f, []any{[]any{"stderr", []any{strings.Repeat("\xffx\n", 100), []int{-5}, []any{1e300, "x"}}}}))
	f.Add(encode(f, []any{[]any{"stdout", []any{strings.Repeat("\u20ac", 30_000)}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if rest, err := skipValue(b, 0, &n); err != nil || len(rest) != 0 {
			return
		}
		bytes := 0
		_ = decodeUpdates(b, now, func(u Update) error {
			if !utf8.ValidString(u.Kind) || !utf8.ValidString(u.LogName) || len(u.Lines) > chunkLines {
				t.Fatalf("%q %q, %d lines", u.Kind, u.LogName, len(u.Lines))
			}
			for _, l := range u.Lines {
				if !utf8.ValidString(l.Text) || strings.Contains(l.Text, "\n") || len(l.Text) > 3*maxLine || l.Time.Year() < 1970 || l.Time.Year() > 9999 {
					t.Fatalf("line %.100q at %v", l.Text, l.Time)
				}
				bytes += len(l.Text)
			}
			return nil
		})
		if bytes > 3*len(b) {
			t.Fatalf("%d bytes of text out of %d", bytes, len(b))
		}
	})
}

// FuzzOutputRoundTrip: lines that are encoded come back as they were, cut at
// newlines and with what is not UTF-8 replaced.
func FuzzOutputRoundTrip(f *testing.F) {
	f.Add("hello", "w\u00f6rld\n\xff\xfe", int64(1_700_000_000_123))
	f.Add("", "\n\n", int64(0))
	f.Fuzz(func(t *testing.T, a, b string, ms int64) {
		if ms <= 0 || ms >= maxSeconds*1000 || len(a)+len(b) > maxLine {
			t.Skip()
		}
		lines := []dormouse.LogLine{{Time: time.UnixMilli(ms), Text: a}, {Time: time.UnixMilli(ms).Add(time.Millisecond), Text: b}}
		value := encode(t, EncodeOutput(lines))
		var want []dormouse.LogLine
		for _, l := range lines {
			for text := range strings.SplitSeq(l.Text, "\n") {
				want = append(want, dormouse.LogLine{Stream: dormouse.Stdout, Time: l.Time, Text: strings.ToValidUTF8(text, "\uFFFD")})
			}
		}
		got, err := readOutput(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		// Positions are where the newlines are, counted in characters.
		v, _, _ := decodeValue(value)
		parts := v.([]any)
		var positions []any
		at := int64(0)
		for _, r := range parts[0].(string) {
			if r == '\n' {
				positions = append(positions, at)
			}
			at++
		}
		if diff := cmp.Diff(positions, parts[1]); diff != "" {
			t.Fatal(diff)
		}
	})
}
