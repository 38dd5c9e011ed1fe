package bootstrap

import (
	"strings"
	"unicode"
)

// What the script says on the machine's console begins with consoleMark; and what
// no waiting helps against, after which the machine powers itself off, goes on with
// hopeless.
const (
	consoleMark = "dormouse: "
	hopeless    = "this machine cannot become a worker: "
)

// maxSaid bounds a line of the console's, which a person reads.
const maxSaid = 500

// ReadConsole finds in a console's output what the installation said last, "" where
// it has said nothing; and whether the machine has given up, for that reason.
func ReadConsole(console string) (said string, gaveUp bool) {
	for line := range strings.Lines(console) {
		// cloud-init and the kernel put their own before it.
		_, text, marked := strings.Cut(line, consoleMark)
		if text = printed(text); !marked || text == "" {
			continue
		}
		if why, gives := strings.CutPrefix(text, hopeless); gives {
			return why, true
		}
		said = text
	}
	return said, false
}

// printed is a line as a person is to see it.
func printed(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	return strings.ToValidUTF8(text[:min(len(text), maxSaid)], "")
}
