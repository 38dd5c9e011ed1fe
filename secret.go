package dormouse

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ShortestSecret is the length, in characters, below which a part of a secret is
// not hidden in logs: shorter texts are everywhere, so that hiding them would
// spoil the log and tell what they are.
const ShortestSecret = 4

// SecretParts returns what is hidden of a secret where it is shown. Output comes
// in lines, so these are its lines, without the space around them. Those that
// are too short to be hidden, but hold a letter or a digit, are in short.
func SecretParts(secret string) (parts, short []string) {
	for line := range strings.Lines(secret) {
		line = strings.TrimSpace(line)
		switch {
		case utf8.RuneCountInString(line) >= ShortestSecret:
			parts = append(parts, line)
		case strings.ContainsFunc(line, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }):
			short = append(short, line)
		}
	}
	return parts, short
}
