package dialect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake in a text, or one doubt about it.
type Error struct {
	File    string
	Line    int // from 1; 0 when the mistake is of the whole file
	Column  int // from 1, in characters
	Message string
	Hint    string // what to do about it; may be empty
}

// NewError is a mistake at a place. The hint also says from where the function
// was called that the place is in. A message is cut off when it quotes a whole file.
func NewError(file string, at Place, hint, message string) Error {
	if at.via != "" {
		hint = strings.TrimPrefix(hint+"; "+at.via, "; ")
	}
	const enough = 2000 // bytes: some lines
	if len(message) > enough {
		message = strings.ToValidUTF8(message[:enough], "") + "…"
	}
	return Error{File: file, Line: at.Line, Column: at.Col, Message: message, Hint: hint}
}

// Error returns "file:line:column: message (hint)".
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Hint != "" {
		b.WriteString(" (")
		b.WriteString(e.Hint)
		b.WriteString(")")
	}
	return b.String()
}

// Errors are all mistakes of a text, sorted by position.
type Errors []Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Sorted sorts errors by position and drops repetitions.
func Sorted(errs []Error) []Error {
	slices.SortStableFunc(errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(errs)
}

// mistake is an error that does not know its file yet.
type mistake struct {
	at            Place
	message, hint string
}

func mistakef(at Place, hint, format string, args ...any) *mistake {
	return &mistake{at, fmt.Sprintf(format, args...), hint}
}
