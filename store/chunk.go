package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
	"github.com/klauspost/compress/zstd"
)

// A chunk's data is one zstd frame. Its payload holds, for each line:
//
//	stream   1 byte    'o', 'e' or 'h'
//	time     varint    milliseconds since 1970, as the difference to the line
//	                   before (to 0 for the first), zigzag
//	text     bytes     UTF-8 without a newline
//	'\n'     1 byte
//
// How many lines and bytes of text (newlines counted) those are stands in the
// row, not in the data, and bounds what reading the data may allocate.
type chunk struct {
	firstLine, lines int64
	firstByte, bytes int64
	data             []byte
}

const (
	// chunkSize is the text that a chunk aims to hold: what is decompressed to
	// show a line, against a compression that improves little beyond it.
	chunkSize = 64 << 10
	// MaxLine is the longest line a log can hold, in bytes. Workers cut lines
	// long before; this bounds the memory that one line can take.
	MaxLine = 16 << 20
	// maxLines bounds the lines of a chunk: each has at least its newline.
	maxLines = chunkSize
	// lineOverhead is the most a line takes in the payload beside its text and
	// newline: its stream and its time.
	lineOverhead = 1 + binary.MaxVarintLen64
)

// The encoder and decoder are shared: EncodeAll and DecodeAll may run at the
// same time and keep their buffers. Every frame is a single segment, so that
// its header says how long its content is.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(2))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxMemory(maxPayload(maxLines, chunkSize+MaxLine)))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	})
)

// maxPayload is the longest payload that so many lines and bytes of text make.
func maxPayload(lines, bytes int64) uint64 { return uint64(bytes + lines*lineOverhead) }

var errCorrupt = errors.New("the stored log is corrupt")

// checkLines refuses lines that a chunk could not give back as they are.
func checkLines(what string, lines []dormouse.LogLine) error {
	for i := range lines {
		text := lines[i].Text
		switch {
		case len(text) > MaxLine:
			return dormouse.Errorf(dormouse.Invalid, "%s: line %d is %d bytes long; the most is %d", what, i, len(text), MaxLine)
		case strings.IndexByte(text, '\n') >= 0:
			return dormouse.Errorf(dormouse.Invalid, "%s: line %d holds a newline", what, i)
		case !utf8.ValidString(text):
			return dormouse.Errorf(dormouse.Invalid, "%s: line %d is not valid UTF-8", what, i)
		}
	}
	return nil
}

// encodeLines makes chunks of about chunkSize; a longer line has one of its own.
func encodeLines(lines []dormouse.LogLine) []chunk {
	var chunks []chunk
	for len(lines) > 0 {
		n, size := 0, 0
		for n < len(lines) && (n == 0 || size+len(lines[n].Text)+1 <= chunkSize) {
			size += len(lines[n].Text) + 1
			n++
		}
		chunks = append(chunks, encodeChunk(lines[:n], size))
		lines = lines[n:]
	}
	return chunks
}

func encodeChunk(lines []dormouse.LogLine, size int) chunk {
	payload := make([]byte, 0, size+len(lines)*4) // times are close, so most take two bytes
	var last int64
	for i := range lines {
		at := lines[i].Time.UnixMilli()
		payload = append(payload, byte(lines[i].Stream))
		payload = binary.AppendVarint(payload, at-last)
		payload = append(payload, lines[i].Text...)
		payload = append(payload, '\n')
		last = at
	}
	return chunk{
		lines: int64(len(lines)), bytes: int64(size),
		data: encoder().EncodeAll(payload, nil),
	}
}

// decode returns the chunk's lines. Data that does not hold exactly what the
// row says is errCorrupt.
func (c chunk) decode() ([]dormouse.LogLine, error) {
	if c.lines < 1 || c.lines > maxLines || c.bytes < c.lines || c.bytes > chunkSize+MaxLine {
		return nil, fmt.Errorf("%w: %d lines of %d bytes", errCorrupt, c.lines, c.bytes)
	}
	var header zstd.Header
	if err := header.Decode(c.data); err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	limit := maxPayload(c.lines, c.bytes)
	if !header.HasFCS || header.FrameContentSize > limit {
		return nil, fmt.Errorf("%w: more data than lines", errCorrupt)
	}
	payload, err := decoder().DecodeAll(c.data, make([]byte, 0, header.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return c.parse(string(payload))
}

// parse reads the payload. The texts share its memory.
func (c chunk) parse(payload string) ([]dormouse.LogLine, error) {
	lines := make([]dormouse.LogLine, 0, c.lines)
	var at, size int64
	for payload != "" {
		stream := dormouse.Stream(payload[0])
		head := []byte(payload[1:min(len(payload), lineOverhead)])
		delta, n := binary.Varint(head)
		if n <= 0 || int64(len(lines)) == c.lines {
			return nil, errCorrupt
		}
		text, rest, ended := strings.Cut(payload[1+n:], "\n")
		if !ended || !utf8.ValidString(text) {
			return nil, errCorrupt
		}
		at += delta
		size += int64(len(text)) + 1
		lines = append(lines, dormouse.LogLine{Stream: stream, Time: time.UnixMilli(at).UTC(), Text: text})
		payload = rest
	}
	if int64(len(lines)) != c.lines || size != c.bytes {
		return nil, errCorrupt
	}
	return lines, nil
}
