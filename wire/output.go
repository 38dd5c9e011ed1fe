package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/dormouse-ci/dormouse"
)

// How output is cut for whoever handles it, whatever the peer sent in one
// frame: a frame of nothing but newlines would else be fifty times as large
// once it is lines.
const (
	// maxLine is the longest line that is passed on, in bytes; a longer one is
	// split. It is above what a worker that keeps our settings sends.
	maxLine = 4 * maxLineLength
	// chunkLines and chunkBytes bound one [Update]: about 100 KiB of
	// headers, and the size at which workers flush.
	chunkLines = 2048
	chunkBytes = 64 << 10
	// maxSeconds is the last second of the year 9999, as far as JSON can write
	// a time.
	maxSeconds = 253402300799
)

var errOutput = errors.New("output that is not [text, newline positions, times]")

// output is the encoding of lines as [text, newline positions, times]:
// positions count characters, not bytes, and times are seconds since 1970.
type output []dormouse.LogLine

// EncodeOutput returns the value of a stdout, stderr or header update: the
// lines' text with a newline after each, where the newlines are, and when each
// line was seen. The lines' streams are not looked at; see [EncodeStreams].
func EncodeOutput(lines []dormouse.LogLine) any { return output(lines) }

// EncodeLog returns the update that adds lines to the log of this name.
func EncodeLog(name string, lines []dormouse.LogLine) UpdatePair {
	return UpdatePair{Key: "log", Value: []any{name, output(lines)}}
}

// EncodeStreams returns the updates of a stdio log: one per run of lines of
// the same stream, in order.
func EncodeStreams(lines []dormouse.LogLine) []UpdatePair {
	var pairs []UpdatePair
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && lines[n].Stream == lines[0].Stream {
			n++
		}
		pairs = append(pairs, UpdatePair{Key: streamKey(lines[0].Stream), Value: output(lines[:n])})
		lines = lines[n:]
	}
	return pairs
}

func streamKey(s dormouse.Stream) string {
	switch s {
	case dormouse.Stderr:
		return "stderr"
	case dormouse.Header:
		return "header"
	default:
		return "stdout"
	}
}

// count returns how many newlines the encoding has, and its text's bytes. A
// text that holds newlines of its own is that many lines.
func (o output) count() (lines, size int) {
	for i := range o {
		lines += 1 + strings.Count(o[i].Text, "\n")
		size += len(o[i].Text) + 1
	}
	return lines, size
}

func (o output) appendTo(b []byte) []byte {
	lines, size := o.count()
	b = msgp.AppendArrayHeader(b, 3)
	if o.valid() {
		b = appendTextHeader(b, size)
		for i := range o {
			b = append(append(b, o[i].Text...), '\n')
		}
	} else {
		var text strings.Builder
		text.Grow(size)
		for i := range o {
			text.WriteString(o[i].Text)
			text.WriteByte('\n')
		}
		b = appendText(b, text.String())
	}
	b = msgp.AppendArrayHeader(b, uint32(lines))
	at := 0
	for i := range o {
		text := o[i].Text
		for text != "" {
			cut := strings.IndexByte(text, '\n')
			if cut < 0 {
				break
			}
			at += characters(text[:cut])
			b = msgp.AppendInt(b, at)
			at++
			text = text[cut+1:]
		}
		at += characters(text)
		b = msgp.AppendInt(b, at)
		at++
	}
	b = msgp.AppendArrayHeader(b, uint32(lines))
	for i := range o {
		seconds := 0.0
		if !o[i].Time.IsZero() {
			seconds = float64(o[i].Time.UnixMilli()) / 1000
		}
		for range 1 + strings.Count(o[i].Text, "\n") {
			b = msgp.AppendFloat64(b, seconds)
		}
	}
	return b
}

func (o output) valid() bool {
	for i := range o {
		if !utf8.ValidString(o[i].Text) {
			return false
		}
	}
	return true
}

// characters counts what the peer will see in s, where a run of bytes that are
// not UTF-8 is one U+FFFD.
func characters(s string) int {
	return utf8.RuneCountInString(strings.ToValidUTF8(s, "\uFFFD"))
}

// appendTextHeader appends the header of a string of size bytes.
func appendTextHeader(b []byte, size int) []byte {
	switch {
	case size < 32:
		return append(b, 0xa0|byte(size))
	case size <= math.MaxUint8:
		return append(b, 0xd9, byte(size))
	case size <= math.MaxUint16:
		return append(b, 0xda, byte(size>>8), byte(size))
	default:
		return append(b, 0xdb, byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
	}
}

// outputReader reads the lines of one encoded output, a chunk at a time. It
// trusts the text alone: lines are what stands between newlines. Times are
// taken in order for as long as there are any that make sense, and the
// positions, which say nothing that the text does not, are ignored.
type outputReader struct {
	stream dormouse.Stream
	text   []byte
	times  []byte // encoded, what is left
	nTimes uint32
	last   time.Time
}

// newOutputReader reads the shape of a value that [skipValue] has accepted:
// the triple, a shorter list, or bare text. Lines without a time get now.
func newOutputReader(b []byte, stream dormouse.Stream, now time.Time) (*outputReader, error) {
	r := &outputReader{stream: stream, last: now.Truncate(time.Millisecond)}
	n := uint32(1)
	var err error
	if msgp.NextType(b) == msgp.ArrayType {
		if n, b, err = msgp.ReadArrayHeaderBytes(b); err != nil || n == 0 {
			return nil, errOutput
		}
	}
	if r.text, b, err = readText(b); err != nil {
		return nil, errOutput
	}
	if n < 3 {
		return r, nil
	}
	if b, err = msgp.Skip(b); err != nil {
		return nil, errOutput
	}
	if msgp.NextType(b) == msgp.ArrayType {
		if r.nTimes, r.times, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return nil, errOutput
		}
	}
	return r, nil
}

// next returns the next lines, nil at the end. The lines share one copy of
// their text and nothing with the frame.
func (r *outputReader) next() []dormouse.LogLine {
	if len(r.text) == 0 {
		return nil
	}
	part := r.text
	if len(part) > chunkBytes {
		// Whole lines where that can be; else what one line may hold.
		part = part[:chunkBytes]
		if cut := bytes.LastIndexByte(part, '\n'); cut >= 0 {
			part = part[:cut+1]
		} else if cut := bytes.IndexByte(r.text[:min(len(r.text), maxLine+1)], '\n'); cut >= 0 {
			part = r.text[:cut+1]
		} else {
			part = r.text[:min(len(r.text), maxLine)]
		}
	}
	lines := make([]dormouse.LogLine, 0, min(1+bytes.Count(part, []byte{'\n'}), chunkLines))
	text := string(part)
	used := 0
	for used < len(text) && len(lines) < chunkLines {
		line, _, ended := strings.Cut(text[used:], "\n")
		size := len(line)
		if ended {
			size++
		}
		if len(line) > maxLine || !ended && used+size < len(r.text) {
			line = line[:cutRune(line, maxLine)]
			size, ended = len(line), false
		}
		lines = append(lines, dormouse.LogLine{
			Stream: r.stream,
			Time:   r.lineTime(ended),
			Text:   strings.ToValidUTF8(line, "\uFFFD"),
		})
		used += size
	}
	r.text = r.text[used:]
	return lines
}

// cutRune returns where to cut s, at most limit, without cutting a character.
func cutRune(s string, limit int) int {
	if len(s) < limit {
		limit = len(s)
	}
	for back := limit; back > 0 && limit-back < utf8.UTFMax; back-- {
		if r, size := utf8.DecodeLastRuneInString(s[:back]); r != utf8.RuneError || size > 1 {
			return back
		}
	}
	return limit
}

// lineTime returns the time of the line at hand, and goes to the next time
// where a line ended: the pieces of a line that was split have one time.
func (r *outputReader) lineTime(ended bool) time.Time {
	if r.nTimes == 0 {
		return r.last
	}
	seconds, rest, ok := readSeconds(r.times)
	if rest == nil {
		r.nTimes = 0
		return r.last
	}
	if ended {
		r.times = rest
		r.nTimes--
	}
	if ok && seconds > 0 && seconds <= maxSeconds {
		r.last = time.UnixMilli(int64(math.Round(seconds * 1000)))
	}
	return r.last
}

// readSeconds reads a number, and reports whether it was one; rest is nil if
// there is nothing to read.
func readSeconds(b []byte) (seconds float64, rest []byte, ok bool) {
	if msgp.NextType(b) == msgp.Float64Type {
		if f, rest, err := msgp.ReadFloat64Bytes(b); err == nil {
			return f, rest, true
		}
		return 0, nil, false
	}
	v, rest, err := decodeValue(b)
	if err != nil {
		return 0, nil, false
	}
	switch v := v.(type) {
	case float64:
		return v, rest, true
	case int64:
		return float64(v), rest, true
	}
	return 0, rest, false
}
