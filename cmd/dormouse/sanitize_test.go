package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextFromElsewhereIsHarmless(t *testing.T) {
	for _, c := range []struct{ in, plain, colored string }{
		{"", "", ""},
		{"a\tb ☃ é", "a\tb ☃ é", "a\tb ☃ é"},
		{"\x1b[1;31mred\x1b[m", "red", "\x1b[1;31mred\x1b[m\x1b[0m"},
		{"\x1b[38:2:1:2:3mred", "red", "\x1b[38:2:1:2:3mred\x1b[0m"},
		{"a\x1b[2Jb\x1b[Hc\x1b[1Ad", "abcd", "abcd"},
		{"\x1b[?25lhidden", "hidden", "hidden"},
		{"\x1b[>4;2mkeys", "keys", "keys"}, // xterm's modifyOtherKeys also ends in m
		{"\x1b[1 mnot colours", "not colours", "not colours"},
		{"\x1b]0;title\abell", "bell", "bell"},
		{"\x1b]52;c;cGFzdGU=\x1b\\clipboard", "clipboard", "clipboard"},
		{"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", "link"},
		{"\x1bPdevice\x1b\\x", "x", "x"},
		{"\x1b]never ended", "", ""},
		{"\x1b]broken off\x1b[31mred", "red", "\x1b[31mred\x1b[0m"},
		{"\x1bcreset \x1b(0charset", "reset charset", "reset charset"},
		{"\u009b31mred \u009d0;title\u009cend", "red end", "red end"},
		{"bell\a back\b\b\b\b null\x00 del\x7f", "bell back null del", "bell back null del"},
		{"10%\r50%\r100%\r", "10%50%100%", "100%"},
		{"line\nbreak", "linebreak", "linebreak"},
		{"\u202egnp.exe", "gnp.exe", "gnp.exe"},
		{"end\x1b", "end", "end"},
		{"end\x1b[", "end", "end"},
		{"end\x1b[3", "end", "end"},
	} {
		if got := plain(c.in); got != c.plain {
			t.Errorf("plain(%q) is %q, want %q", c.in, got, c.plain)
		}
		if got := colored(c.in); got != c.colored {
			t.Errorf("colored(%q) is %q, want %q", c.in, got, c.colored)
		}
	}
}

func FuzzTextFromElsewhere(f *testing.F) {
	for _, s := range []string{"\x1b[31mx", "\x1b]0;t\a", "\u009b1m", "a\x1b\x1b[m", "\x1b[\x1b[31m", "\xff\x1b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip("lines are valid UTF-8")
		}
		if got := plain(s); strings.ContainsFunc(got, unsafeRune) {
			t.Errorf("plain(%q) is %q", s, got)
		}
		// Without the sequences that set colours nothing unsafe is left.
		out := colored(s)
		for {
			i := strings.IndexFunc(out, unsafeRune)
			if i < 0 {
				break
			}
			n, sgr := escape(out[i:])
			if !sgr {
				t.Fatalf("colored(%q) is %q", s, out)
			}
			out = out[i+n:]
		}
	})
}
