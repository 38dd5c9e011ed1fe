package command

import (
	"regexp"
	"strings"
)

// stockNewline is the expression that Buildbot's masters send: besides \n, a
// line ends at \r\n, at \r, where a program moves the cursor or clears the
// screen, and at a run of backspaces, so that progress displays become lines.
const stockNewline = `(\r\n|\r(?=.)|\033\[u|\033\[[0-9]+;[0-9]+[Hf]|\033\[2J|\x08+)`

// newline says where lines end.
type newline struct {
	// re is nil for the stock expression and for plain \n, which need no
	// expression.
	re *regexp.Regexp
	// stock adds the stock expression's line ends to \n.
	stock bool
}

// parseNewline reads the newline_re setting; exact is false for an
// expression that Go's RE2 cannot do, where lines end at \n alone.
func parseNewline(expr string) (nl newline, exact bool) {
	switch expr {
	case stockNewline:
		return newline{stock: true}, true
	case "", `\n`:
		return newline{}, true
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return newline{}, false
	}
	return newline{re: re}, true
}

// next returns the index of the first byte that may end a line, or -1.
func (n newline) next(text string) int {
	if !n.stock {
		return strings.IndexByte(text, '\n')
	}
	for i := range len(text) {
		switch text[i] {
		case '\n', '\r', '\b', 0x1b:
			return i
		}
	}
	return -1
}

// cursorSequence looks at text, which begins with ESC, for one of the stock
// expression's sequences: \033[u, \033[2J, \033[R;CH, \033[R;Cf. It returns
// the sequence's length, or 0, or whether more text is needed to tell.
func cursorSequence(text string) (n int, more bool) {
	undecided := len(text) < maxHeldEscape
	if len(text) > maxHeldEscape {
		text = text[:maxHeldEscape]
	}
	if len(text) == 1 {
		return 0, undecided
	}
	if text[1] != '[' {
		return 0, false
	}
	rest := text[2:]
	if rest == "" {
		return 0, undecided
	}
	if rest[0] == 'u' {
		return 3, false
	}
	row := digits(rest)
	if row == 0 {
		return 0, false
	}
	after := rest[row:]
	switch {
	case after == "":
		return 0, undecided
	case after[0] == 'J' && rest[:row] == "2":
		return 4, false
	case after[0] != ';':
		return 0, false
	}
	column := digits(after[1:])
	end := after[1+column:]
	switch {
	case end == "":
		return 0, undecided
	case column > 0 && (end[0] == 'H' || end[0] == 'f'):
		return 2 + row + 1 + column + 1, false
	}
	return 0, false
}

func digits(s string) int {
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return i
}
