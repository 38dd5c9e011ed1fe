package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Logs, names and reasons are other people's text. On a terminal, escape
// sequences in them could rename its window, write to the clipboard, hide what
// was printed before, or make the terminal type. Of all sequences only those
// that set colours and the like are of use to a reader, so only those pass.

// plain makes text fit for one line of a table or a message: no control
// characters, no escape sequences.
func plain(s string) string { return filterText(s, false) }

// colored makes a line of a log fit for a terminal. Colour sequences pass, and
// are ended with the line; of what a carriage return writes over, the last
// remains.
func colored(s string) string {
	s = strings.TrimRight(s, "\r")
	if i := strings.LastIndexByte(s, '\r'); i >= 0 {
		s = s[i+1:]
	}
	out := filterText(s, true)
	if strings.Contains(out, "\x1b[") {
		out += "\x1b[0m"
	}
	return out
}

func filterText(s string, colors bool) string {
	if !strings.ContainsFunc(s, unsafeRune) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		i := strings.IndexFunc(s, unsafeRune)
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		n, sgr := escape(s)
		if sgr && colors {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unsafeRune reports what a terminal acts on: control characters, but for the
// tab, and those that turn the direction of writing, by which a line can be
// made to read as another.
func unsafeRune(r rune) bool {
	return r != '\t' && unicode.IsControl(r) || (r >= '\u202a' && r <= '\u202e') || (r >= '\u2066' && r <= '\u2069')
}

// escape measures the control character or sequence at the start of s, and says
// whether it is one that sets graphic rendition (ECMA-48 SGR).
func escape(s string) (n int, sgr bool) {
	first, size := utf8.DecodeRuneInString(s)
	if first == '\u009b' {
		n, _ = controlSequence(s, size)
		return n, false // as eight bits: only some terminals know it
	}
	if strings.ContainsRune("\u0090\u0098\u009d\u009e\u009f", first) {
		return controlString(s, size), false
	}
	if first != '\x1b' || len(s) < 2 {
		return size, false
	}
	switch s[1] {
	case '[':
		return controlSequence(s, 2)
	case ']', 'P', 'X', '^', '_':
		return controlString(s, 2), false
	}
	// ESC, intermediate bytes, one final byte.
	n = 1
	for n < len(s) && s[n] >= 0x20 && s[n] <= 0x2f {
		n++
	}
	if n < len(s) && s[n] >= 0x30 && s[n] <= 0x7e {
		n++
	}
	return n, false
}

// controlSequence measures a CSI sequence whose introducer has n bytes.
func controlSequence(s string, n int) (int, bool) {
	start := n
	for n < len(s) && s[n] >= 0x30 && s[n] <= 0x3f {
		n++
	}
	numeric := strings.Trim(s[start:n], "0123456789;:") == ""
	end := n
	for n < len(s) && s[n] >= 0x20 && s[n] <= 0x2f {
		n++
	}
	if n >= len(s) || s[n] < 0x40 || s[n] > 0x7e {
		return n, false // cut short, or broken off by something else
	}
	return n + 1, s[n] == 'm' && numeric && n == end
}

// controlString measures an OSC, DCS, SOS, PM or APC string whose introducer
// has n bytes: up to its terminator, or all there is.
func controlString(s string, n int) int {
	for i, r := range s[n:] {
		switch r {
		case '\a', '\u009c':
			return n + i + len(string(r))
		case '\x1b':
			if strings.HasPrefix(s[n+i:], "\x1b\\") {
				return n + i + 2
			}
			return n + i // another sequence begins
		}
	}
	return len(s)
}
