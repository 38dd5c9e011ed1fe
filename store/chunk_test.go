package store

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

func logLine(ms int64, text string) dormouse.LogLine {
	return dormouse.LogLine{Stream: dormouse.Stdout, Time: time.UnixMilli(ms).UTC(), Text: text}
}

func TestChunkRoundTrip(t *testing.T) {
	for name, lines := range map[string][]dormouse.LogLine{
		"one empty line":  {logLine(0, "")},
		"times that jump": {logLine(math.MaxInt64/1_000_000, "a"), logLine(-5, "b"), logLine(7, "c")},
		"any text":        {logLine(1, "\x00\r\t☃"), {Stream: '?', Time: time.UnixMilli(2).UTC(), Text: "x"}},
		"a full chunk":    slices.Repeat([]dormouse.LogLine{logLine(9, "")}, chunkSize),
		"a long line":     {logLine(1, strings.Repeat("long", chunkSize))},
		"the longest":     {logLine(1, strings.Repeat("x", MaxLine))},
	} {
		chunks := encodeLines(lines)
		if len(chunks) != 1 {
			t.Fatalf("%s: %d chunks, want 1", name, len(chunks))
		}
		got, err := chunks[0].decode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Equal(got, lines) {
			t.Errorf("%s: differs", name)
		}
	}
}

func TestEncodeLinesCutsIntoChunks(t *testing.T) {
	var lines []dormouse.LogLine
	for i, size := range []int{10, chunkSize - 11 - 1, 0, chunkSize * 3, 5, 5} {
		lines = append(lines, logLine(int64(i), strings.Repeat("x", size)))
	}
	var got []int64
	var all []dormouse.LogLine
	for _, c := range encodeLines(lines) {
		got = append(got, c.lines)
		decoded, err := c.decode()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, decoded...)
	}
	if diff := cmp.Diff([]int64{2, 1, 1, 2}, got); diff != "" {
		t.Errorf("lines per chunk (-want +got):\n%s", diff)
	}
	if !slices.Equal(all, lines) {
		t.Error("the chunks do not hold the lines")
	}
}

func TestChunkRefusesCorruptData(t *testing.T) {
	good := encodeLines([]dormouse.LogLine{logLine(1000, "first"), logLine(1001, "second")})[0]
	frame := func(payload string) []byte { return encoder().EncodeAll([]byte(payload), nil) }
	noSize, err := zstd.NewWriter(nil, zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]chunk{
		"nothing":                {lines: 1, bytes: 1},
		"not zstd":               {lines: 1, bytes: 1, data: []byte("plain text, not a frame")},
		"cut short":              {lines: 2, bytes: good.bytes, data: good.data[:len(good.data)-1]},
		"fewer lines":            {lines: 3, bytes: good.bytes, data: good.data},
		"more lines":             {lines: 1, bytes: good.bytes, data: good.data},
		"other bytes":            {lines: 2, bytes: good.bytes + 1, data: good.data},
		"no lines":               {lines: 0, bytes: 0, data: good.data},
		"more lines than bytes":  {lines: 5, bytes: 4, data: good.data},
		"lines beyond the limit": {lines: math.MaxInt64, bytes: math.MaxInt64, data: good.data},
		"a bomb":                 {lines: 1, bytes: 1, data: frame(strings.Repeat("\x00", 10<<20))},
		"a frame without size":   {lines: 1, bytes: 1, data: noSize.EncodeAll([]byte("o\x00\n"), nil)},
		"no newline":             {lines: 1, bytes: 2, data: frame("o\x00x")},
		"only a stream":          {lines: 1, bytes: 1, data: frame("o")},
		"a time without end":     {lines: 1, bytes: 1, data: frame("o\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\n")},
		"invalid UTF-8":          {lines: 1, bytes: 2, data: frame("o\x00\xff\n")},
	} {
		if lines, err := c.decode(); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: %d lines, error %v", name, len(lines), err)
		}
	}
	flipped := slices.Clone(good.data)
	flipped[len(flipped)-6] ^= 1
	if _, err := (chunk{lines: 2, bytes: good.bytes, data: flipped}).decode(); !errors.Is(err, errCorrupt) {
		t.Errorf("a flipped bit: %v", err)
	}
}

func FuzzChunkDecode(f *testing.F) {
	for _, lines := range [][]dormouse.LogLine{
		{logLine(0, "")},
		{logLine(1700000000000, "hello"), logLine(1700000000001, "world")},
		slices.Repeat([]dormouse.LogLine{logLine(5, "again and again")}, 50),
	} {
		c := encodeLines(lines)[0]
		f.Add(c.lines, c.bytes, c.data)
	}
	f.Fuzz(func(t *testing.T, lines, bytes int64, data []byte) {
		got, err := chunk{lines: lines, bytes: bytes, data: data}.decode()
		if err != nil {
			return
		}
		var size int64
		for _, l := range got {
			size += int64(len(l.Text)) + 1
		}
		if int64(len(got)) != lines || size != bytes {
			t.Fatalf("%d lines of %d bytes, want %d of %d", len(got), size, lines, bytes)
		}
		if err := checkLines("fuzz", got); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzChunkParse(f *testing.F) {
	f.Add(int64(1), int64(6), "o\x00hello\n")
	f.Add(int64(2), int64(3), "o\x80\x01x\ne\x01\n")
	f.Fuzz(func(t *testing.T, lines, bytes int64, payload string) {
		if lines < 1 || lines > 1000 || len(payload) > 1<<16 {
			return
		}
		c := chunk{lines: lines, bytes: bytes}
		got, err := c.parse(payload)
		if err != nil {
			return
		}
		// What was accepted is what encoding it again gives back.
		again, err := encodeChunk(got, int(bytes)).decode()
		if err != nil || !slices.Equal(again, got) {
			t.Fatalf("%q: %v", payload, err)
		}
	})
}

func BenchmarkChunk(b *testing.B) {
	var lines []dormouse.LogLine
	size := 0
	for i := int64(0); size < chunkSize-100; i++ {
		l := logLine(1700000000000+i*3, "src/module/file_"+strings.Repeat("x", int(i%40))+".c: compiled without warnings")
		lines, size = append(lines, l), size+len(l.Text)+1
	}
	b.Run("encode", func(b *testing.B) {
		b.SetBytes(int64(size))
		for b.Loop() {
			encodeLines(lines)
		}
	})
	c := encodeLines(lines)[0]
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportMetric(float64(size)/float64(len(c.data)), "ratio")
		for b.Loop() {
			if _, err := c.decode(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
