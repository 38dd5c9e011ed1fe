package command

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

// maxHeldEscape bounds how much of an unfinished cursor sequence is held back
// to see its end. Terminals have five-digit rows at most, so nothing real is
// longer; what is, is text.
const maxHeldEscape = 32

// lineSplitter turns one stream's bytes into lines: it makes the bytes valid
// UTF-8, finds the line ends, and breaks lines that are too long. What it
// yields does not depend on how the bytes were cut into reads, save for the
// times. It holds back less than a line, so its memory is bounded.
//
// The zero value is not ready: use [newLineSplitter].
type lineSplitter struct {
	stream dormouse.Stream
	nl     newline
	limit  int // characters in a line, its newline not counted

	// raw is the unfinished UTF-8 sequence at the end of the last read.
	raw []byte
	// held is text whose meaning the next bytes decide: the beginning of a
	// cursor sequence, or, where the expression is not the stock one, the
	// whole unfinished line.
	held string
	// line is the unfinished line, since when, and its characters.
	line  strings.Builder
	since time.Time
	chars int
	// swallow is a byte that belongs to the line end before it: the \n of a
	// \r\n, or another backspace of a run.
	swallow byte

	out []dormouse.LogLine
}

// newLineSplitter makes a splitter for one stream. maxLength counts
// characters, the newline included, as Buildbot's max_line_length does.
func newLineSplitter(stream dormouse.Stream, nl newline, maxLength int) *lineSplitter {
	if maxLength < 2 {
		maxLength = defaultMaxLineLength
	}
	return &lineSplitter{stream: stream, nl: nl, limit: maxLength - 1}
}

// Append takes the next bytes of the stream, received at now, and appends the
// lines they complete to dst.
func (s *lineSplitter) Append(dst []dormouse.LogLine, data []byte, now time.Time) []dormouse.LogLine {
	s.out = dst
	if text := s.decode(data); text != "" {
		s.split(text, now)
	}
	dst, s.out = s.out, nil
	return dst
}

// Flush ends the stream: what was held back comes out as its last line.
func (s *lineSplitter) Flush(dst []dormouse.LogLine, now time.Time) []dormouse.LogLine {
	s.out = dst
	text := s.held
	s.held = ""
	for range s.raw {
		text += string(utf8.RuneError)
	}
	s.raw = nil
	if text != "" {
		s.touch(now)
		if s.nl.re != nil {
			// Unfinished lines are held whole there; nothing can follow
			// that would change where this one ends.
			s.addLines(s.nl.re.ReplaceAllString(text, "\n"), now)
		} else {
			s.add(text, now)
		}
	}
	if s.line.Len() > 0 {
		s.end(now)
	}
	dst, s.out = s.out, nil
	return dst
}

// decode returns data as valid UTF-8, each byte that cannot be part of it
// replaced, and keeps back a sequence that the next read may complete.
func (s *lineSplitter) decode(data []byte) string {
	if len(s.raw) > 0 {
		data = append(s.raw, data...)
		s.raw = nil
	}
	if n := unfinishedRune(data); n > 0 {
		s.raw = append([]byte(nil), data[len(data)-n:]...)
		data = data[:len(data)-n]
	}
	if utf8.Valid(data) {
		return string(data)
	}
	var b strings.Builder
	b.Grow(len(data) + len(data)/4)
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			b.WriteRune(utf8.RuneError)
		} else {
			b.Write(data[:n])
		}
		data = data[n:]
	}
	return b.String()
}

// unfinishedRune returns how many bytes at the end of data are the beginning
// of a character that more bytes may complete.
func unfinishedRune(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if tail := data[len(data)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

func (s *lineSplitter) split(text string, now time.Time) {
	if s.nl.re != nil {
		s.splitExpr(text, now)
		return
	}
	if s.held != "" {
		text = s.held + text
		s.held = ""
	}
	for text != "" {
		if s.swallow != 0 {
			if text[0] == s.swallow {
				if s.swallow == '\n' {
					s.swallow = 0
				}
				text = text[1:]
				continue
			}
			s.swallow = 0
		}
		i := s.nl.next(text)
		if i < 0 {
			s.add(text, now)
			return
		}
		if text[i] == '\n' {
			s.endWith(text[:i], now)
			text = text[i+1:]
			continue
		}
		if i > 0 {
			s.add(text[:i], now)
			text = text[i:]
		}
		switch text[0] {
		case '\r':
			s.end(now)
			s.swallow = '\n'
			text = text[1:]
		case '\b':
			s.end(now)
			s.swallow = '\b'
			text = text[1:]
		default:
			n, more := cursorSequence(text)
			switch {
			case more:
				s.touch(now)
				s.held = text
				return
			case n > 0:
				s.end(now)
				text = text[n:]
			default:
				s.add(text[:1], now)
				text = text[1:]
			}
		}
	}
}

// splitExpr is split for an expression that is not the stock one. As in
// Buildbot, the expression meets the unfinished line again with each read, so
// that a match may reach over the cut.
func (s *lineSplitter) splitExpr(text string, now time.Time) {
	s.touch(now)
	text = s.nl.re.ReplaceAllString(s.held+text, "\n")
	s.held = ""
	i := strings.LastIndexByte(text, '\n')
	if i >= 0 {
		s.addLines(text[:i+1], now)
		text = text[i+1:]
	}
	if len(text) > s.limit {
		s.add(text, now) // its beginning is broken off, and is past matching
		text = s.line.String()
		s.line.Reset()
		s.chars = 0
	}
	if text != "" {
		s.touch(now)
		s.held = text
	}
}

// addLines adds text in which line feeds alone end lines.
func (s *lineSplitter) addLines(text string, now time.Time) {
	for text != "" {
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			s.add(text, now)
			return
		}
		s.endWith(text[:i], now)
		text = text[i+1:]
	}
}

// touch notes when the unfinished line began.
func (s *lineSplitter) touch(now time.Time) {
	if s.since.IsZero() {
		s.since = now
	}
}

// add adds text without a line end to the unfinished line, breaking it where
// it grows too long.
func (s *lineSplitter) add(text string, now time.Time) {
	if text == "" {
		return
	}
	s.touch(now)
	for {
		if s.chars+len(text) <= s.limit { // bytes are at least characters
			s.chars += utf8.RuneCountInString(text)
			s.line.WriteString(text)
			return
		}
		fits, chars := prefix(text, s.limit-s.chars)
		s.chars += chars
		s.line.WriteString(text[:fits])
		text = text[fits:]
		if text == "" {
			return
		}
		s.end(now)
		s.touch(now)
	}
}

// prefix returns the bytes of the first n characters of text, and how many
// characters that are, if there are fewer.
func prefix(text string, n int) (bytes, chars int) {
	for i := range text {
		if chars == n {
			return i, chars
		}
		chars++
	}
	return len(text), chars
}

// endWith ends the unfinished line with text.
func (s *lineSplitter) endWith(text string, now time.Time) {
	if s.line.Len() == 0 && len(text) <= s.limit {
		// The common case: a whole line in one read is not copied again.
		s.touch(now)
		s.emit(text)
		return
	}
	s.add(text, now)
	s.end(now)
}

// end ends the unfinished line.
func (s *lineSplitter) end(now time.Time) {
	s.touch(now)
	text := s.line.String()
	s.line.Reset()
	s.chars = 0
	s.emit(text)
}

func (s *lineSplitter) emit(text string) {
	s.out = append(s.out, dormouse.LogLine{Stream: s.stream, Time: s.since, Text: text})
	s.since = time.Time{}
}
