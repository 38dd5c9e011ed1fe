package banana

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// generous limits refuse nothing that the format has.
var generous = Limits{Depth: 100, Items: 1 << 20, Bytes: 1 << 20}

// codecCase is one of testdata/codec.json: what Twisted's own classes made of an
// item, or of bytes.
type codecCase struct {
	Encode, Decode string // what it is about
	Dialect        string
	Item           any
	Hex            string
	Items          []any
	More           bool // the bytes are the beginning of an item
	Error          bool
}

func (c *codecCase) dialect() Dialect { return Dialect(c.Dialect == "pb") }

func codecCases(t testing.TB) []codecCase {
	t.Helper()
	b, err := os.ReadFile("testdata/codec.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []codecCase
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// itemOf reads an item of a case: a list, or an object whose key says what it is.
func itemOf(t testing.TB, v any) any {
	t.Helper()
	if list, ok := v.([]any); ok {
		items := []any{}
		for _, v := range list {
			items = append(items, itemOf(t, v))
		}
		return items
	}
	for kind, text := range v.(map[string]any) {
		switch s, _ := text.(string); kind {
		case "int":
			n, ok := new(big.Int).SetString(s, 10)
			if !ok {
				t.Fatal(s)
			}
			if n.IsInt64() {
				return n.Int64()
			}
			return n
		case "float":
			f, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		case "hex":
			b, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			return b
		case "text":
			return s
		case "none":
			return nil
		}
	}
	t.Fatalf("%v", v)
	return nil
}

// TestCodec: what Twisted encodes, decodes and refuses.
func TestCodec(t *testing.T) {
	t.Parallel()
	cases := codecCases(t)
	if len(cases) < 82 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		bytesOf, err := hex.DecodeString(c.Hex)
		if err != nil {
			t.Fatal(err)
		}
		if c.Encode != "" {
			item := itemOf(t, c.Item)
			e := NewEncoder(nil, c.dialect())
			e.Item(item)
			got, err := e.Bytes()
			if (err != nil) != c.Error || err == nil && !bytes.Equal(got, bytesOf) {
				t.Errorf("encode %s: %v is %x, %v", c.Encode, c.Item, got, err)
			}
			if !c.Error {
				checkDecode(t, c.Encode, c.dialect(), bytesOf, []any{item}, io.EOF)
			}
			continue
		}
		items, end := []any{}, io.EOF
		for _, v := range c.Items {
			items = append(items, itemOf(t, v))
		}
		switch {
		case c.More:
			end = io.ErrUnexpectedEOF
		case c.Error:
			end = nil
		}
		checkDecode(t, c.Decode, c.dialect(), bytesOf, items, end)
	}
}

// checkDecode decodes bytes, at once and one by one. end is the error after the
// items; nil is one about the bytes.
func checkDecode(t *testing.T, about string, dialect Dialect, b []byte, want []any, end error) {
	t.Helper()
	for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
		d := NewDecoder(r, generous)
		d.Speak(dialect)
		got := []any{}
		var err error
		for {
			var item any
			if item, err = d.Next(); err != nil {
				break
			}
			got = append(got, item)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %x is %v, want %v", about, b, got, want)
		}
		if end != nil && !errors.Is(err, end) || end == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
			t.Errorf("%s: then comes %v, want %v", about, err, end)
		}
	}
}

// TestLongest: a string and a list of the greatest length pass, longer ones are
// refused before they are sent, and when they are announced.
func TestLongest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{MaxLength, MaxLength + 1} {
		for _, item := range []any{bytes.Repeat([]byte("x"), n), slicesOfZero(n)} {
			e := NewEncoder(nil, None)
			e.Item(item)
			b, err := e.Bytes()
			if (err == nil) != (n == MaxLength) {
				t.Errorf("%T of %d: %v", item, n, err)
			}
			if err == nil {
				d := NewDecoder(bytes.NewReader(b), Limits{Depth: 1, Items: n + 1, Bytes: len(b)})
				got, err := d.Next()
				if err != nil || !bytes.Equal(encoded(t, got, None), b) {
					t.Errorf("%T of %d: decoded: %v", item, n, err)
				}
			}
		}
	}
}

func slicesOfZero(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = int64(0)
	}
	return list
}

// TestLimits: what is within the limits passes, and one more is refused.
func TestLimits(t *testing.T) {
	t.Parallel()
	limits := Limits{Depth: 3, Items: 6, Bytes: 20}
	for _, c := range []struct{ about, hex, refusal string }{
		{"depth", "018001800180", ""},
		{"one deeper", "01800180018001800181", "nest"},
		{"empty list too deep", "0180018001800080", "nest"},
		{"items", "05800081008100810081" + "0081", ""},
		{"one item more, announced", "0680", "items"},
		{"one item more, in lists", "04800180008101800081" + "0081", "items"},
		{"bytes", "1282" + strings.Repeat("78", 18), ""},
		{"one byte more, announced", "1382", "bytes"},
		{"bytes in a long prefix", "0180" + strings.Repeat("00", 19), "bytes"},
		{"a list that cannot fit", "1380", "items"},
		{"two messages", strings.Repeat("1082"+strings.Repeat("78", 16), 2), ""},
	} {
		b, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		d := NewDecoder(bytes.NewReader(b), limits)
		d.Speak(PB)
		for err == nil {
			_, err = d.Next()
		}
		got := ""
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			got = err.Error()
		}
		if (got == "") != (c.refusal == "") || !strings.Contains(got, c.refusal) {
			t.Errorf("%s: %v", c.about, err)
		}
	}
}

// TestMemory: what is only announced costs nothing, and what has come costs no
// more than a constant times its bytes. It is not parallel, since it measures.
func TestMemory(t *testing.T) {
	const begin = 16 << 10 // the decoder, its buffer, and the first part of a string
	big := Limits{Depth: 32, Items: 1 << 18, Bytes: 4 << 20}
	for about, c := range map[string]struct {
		b      []byte
		factor int // allocated, per byte
	}{
		"an announced string":       {mustHex("00002882"), 1},
		"half a string":             {append(mustHex("00002882"), bytes.Repeat([]byte("x"), 300_000)...), 4},
		"announced lists":           {bytes.Repeat(mustHex("7f7f0780"), 32), 100},
		"empty lists":               {append(mustHex("00000280"), bytes.Repeat([]byte{0x80}, 20_000)...), 128},
		"empty strings":             {append(mustHex("00000280"), bytes.Repeat([]byte{0x82}, 20_000)...), 128},
		"zeros":                     {append(mustHex("00000280"), bytes.Repeat([]byte{0x81}, 20_000)...), 128},
		"words":                     {append(mustHex("00000280"), bytes.Repeat([]byte{1, 0x87}, 20_000)...), 64},
		"lists of one":              {append(mustHex("00000280"), bytes.Repeat([]byte{1, 0x80, 0x81}, 20_000)...), 64},
		"lists of four, one inside": {append(mustHex("00000280"), bytes.Repeat([]byte{4, 0x80, 0x81, 0x81, 0x81, 0x81}, 10_000)...), 64},
		"big numbers":               {append(mustHex("00000280"), bytes.Repeat(append(bytes.Repeat([]byte{0x7f}, 64), 0x85), 10_000)...), 8},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d := NewDecoder(bytes.NewReader(c.b), big)
		d.Speak(PB)
		item, _ := d.Next()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(item)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(begin+c.factor*len(c.b)); got > most {
			t.Errorf("%s: %d bytes came, and %d were allocated", about, len(c.b), got)
		}
		if kept := d.Cost(); kept > 4<<20+64<<18 {
			t.Errorf("%s: costs %d", about, kept)
		}
	}
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzDecode: no bytes make the decoder fail but by an error; what it returns is
// within its limits, and is the same when it is encoded and decoded again.
func FuzzDecode(f *testing.F) {
	for _, c := range codecCases(f) {
		b, _ := hex.DecodeString(c.Hex)
		f.Add(b, c.Dialect == "pb")
	}
	f.Add([]byte(strings.Repeat("\x01\x80", 2000)+"\x01\x81"), true)
	f.Add([]byte("\x00\x00\x28\x82xx"), true)
	limits := Limits{Depth: 8, Items: 1000, Bytes: 10_000}
	f.Fuzz(func(t *testing.T, b []byte, pb bool) {
		d := NewDecoder(bytes.NewReader(b), limits)
		d.Speak(Dialect(pb))
		read := 0
		for {
			item, err := d.Next()
			if err != nil {
				return
			}
			read += d.bytes
			if read > len(b) || d.bytes > limits.Bytes || size(item) > d.Cost() {
				t.Fatalf("an item of %d bytes, costs %d, has %d", d.bytes, d.Cost(), size(item))
			}
			if depth(item) > limits.Depth {
				t.Fatalf("%d deep", depth(item))
			}
			first := encoded(t, item, Dialect(pb))
			again := NewDecoder(bytes.NewReader(first), limits)
			again.Speak(Dialect(pb))
			second, err := again.Next()
			if err != nil {
				// The canonical form is longer only where a 0 had no digit.
				if len(first) <= limits.Bytes {
					t.Fatalf("%x: %v", first, err)
				}
				continue
			}
			if !bytes.Equal(encoded(t, second, Dialect(pb)), first) {
				t.Fatalf("%v is %v after it was encoded", item, second)
			}
		}
	})
}

func encoded(t *testing.T, item any, dialect Dialect) []byte {
	e := NewEncoder(nil, dialect)
	e.Item(item)
	b, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// size is about what an item takes in memory.
func size(item any) int {
	switch item := item.(type) {
	case []any:
		n := 24
		for _, i := range item {
			n += 16 + size(i)
		}
		return n
	case []byte:
		return 24 + len(item)
	case *big.Int:
		return 24 + len(item.Bits())*8
	}
	return 8
}

func depth(item any) int {
	list, ok := item.([]any)
	if !ok {
		return 0
	}
	most := 0
	for _, i := range list {
		most = max(most, depth(i))
	}
	return most + 1
}
