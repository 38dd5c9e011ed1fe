package banana

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
)

// Limits of the format: what a Twisted peer drops the connection over.
const (
	// MaxLength is the longest string, in bytes, and the longest list, in items.
	MaxLength = 640 * 1024
	// maxPrefix is the longest prefix, in bytes: 448 bits.
	maxPrefix = 64
)

// The type bytes.
const (
	typeList    = 0x80
	typeInt     = 0x81
	typeString  = 0x82
	typeNeg     = 0x83
	typeFloat   = 0x84
	typeLongInt = 0x85
	typeLongNeg = 0x86
	typeVocab   = 0x87
)

// ItemCost is what an item costs in memory besides its bytes, at most: a slot in
// a list that has grown by doubling, and the header of a slice. Package pb makes
// a value of about the same size of it.
const ItemCost = 64

// Limits bound one message, which is an item that is not in a list.
type Limits struct {
	Depth int // how deep its lists may nest; 0 admits no list
	Items int // how many items it may have, itself and its lists included
	Bytes int // how long it may be on the wire
}

// Cost bounds the memory that a message within the limits and what is made of it
// take, in bytes.
func (l Limits) Cost() int { return l.Bytes + ItemCost*l.Items }

// Decoder reads items from a stream.
type Decoder struct {
	r       *bufio.Reader
	dialect Dialect
	limits  Limits

	bytes, items int // of the message that is being read, or was read last
	open         []list
}

// emptyList is shared by all empty lists. It has no room to append to.
var emptyList any = []any{}

// list is one that has items to come.
type list struct {
	items []any
	left  int
}

// NewDecoder returns a Decoder of dialect none. It reads ahead, by 4 KiB at most.
func NewDecoder(r io.Reader, l Limits) *Decoder {
	return &Decoder{r: bufio.NewReader(r), limits: l}
}

// Speak changes the dialect of what follows.
func (d *Decoder) Speak(dialect Dialect) { d.dialect = dialect }

// Limit changes the limits of what follows.
func (d *Decoder) Limit(l Limits) { d.limits = l }

// Cost is the part of [Limits.Cost] that the last message has taken.
func (d *Decoder) Cost() int { return d.bytes + ItemCost*d.items }

// Next reads one message. The error is io.EOF where the stream ends before it,
// io.ErrUnexpectedEOF where it ends within, the reader's own, or says what is
// wrong with the bytes; nothing can be read after an error. What a byte string
// holds must not be changed.
func (d *Decoder) Next() (any, error) {
	d.bytes, d.items = 0, 0
	item, err := d.message()
	clear(d.open)
	d.open = d.open[:0]
	if errors.Is(err, io.EOF) && d.bytes > 0 {
		err = io.ErrUnexpectedEOF
	}
	return item, err
}

// message reads items until the outermost is complete.
func (d *Decoder) message() (any, error) {
	for {
		item, length, err := d.item()
		if err != nil {
			return nil, err
		}
		if length > 0 {
			// What grows it beyond a few is what has arrived.
			d.open = append(d.open, list{items: make([]any, 0, min(length, 4)), left: length})
			continue
		}
		for {
			if len(d.open) == 0 {
				return item, nil
			}
			in := &d.open[len(d.open)-1]
			in.items = append(in.items, item)
			if in.left--; in.left > 0 {
				break
			}
			item, in.items = in.items, nil
			d.open = d.open[:len(d.open)-1]
		}
	}
}

// item reads one item; of a list that is not empty only how long it is.
func (d *Decoder) item() (item any, length int, err error) {
	if d.items++; d.items > d.limits.Items {
		return nil, 0, fmt.Errorf("banana: more than %d items in a message", d.limits.Items)
	}
	var digits [maxPrefix]byte
	n, kind, err := d.prefix(&digits)
	if err != nil {
		return nil, 0, err
	}
	prefix := digits[:n]
	switch kind {
	case typeList:
		length, err = d.list(prefix)
		return emptyList, length, err
	case typeString:
		item, err = d.string(prefix)
		return item, 0, err
	case typeInt, typeLongInt:
		return integer(prefix, false), 0, nil
	case typeNeg, typeLongNeg:
		return integer(prefix, true), 0, nil
	case typeFloat:
		var b [8]byte
		if err := d.full(b[:]); err != nil {
			return nil, 0, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b[:])), 0, nil
	case typeVocab:
		item, err = d.word(prefix)
		return item, 0, err
	}
	return nil, 0, fmt.Errorf("banana: there is no type 0x%02x", kind)
}

// prefix reads up to the type byte.
func (d *Decoder) prefix(digits *[maxPrefix]byte) (n int, kind byte, err error) {
	for {
		b, err := d.r.ReadByte()
		if err != nil {
			return 0, 0, err
		}
		if err := d.count(1); err != nil {
			return 0, 0, err
		}
		if b >= 0x80 {
			return n, b, nil
		}
		if n == maxPrefix {
			return 0, 0, fmt.Errorf("banana: a number of more than %d digits", maxPrefix)
		}
		digits[n] = b
		n++
	}
}

// count adds n bytes to the message.
func (d *Decoder) count(n int) error {
	if n > d.limits.Bytes-d.bytes {
		return fmt.Errorf("banana: a message of more than %d bytes", d.limits.Bytes)
	}
	d.bytes += n
	return nil
}

// full reads all of b.
func (d *Decoder) full(b []byte) error {
	if err := d.count(len(b)); err != nil {
		return err
	}
	_, err := io.ReadFull(d.r, b)
	return err
}

// list returns the length of a list that begins.
func (d *Decoder) list(prefix []byte) (int, error) {
	n, err := length("list", prefix)
	switch {
	case err != nil:
		return 0, err
	case len(d.open) >= d.limits.Depth:
		return 0, fmt.Errorf("banana: lists nest more than %d deep", d.limits.Depth)
	case n > d.limits.Items-d.items:
		return 0, fmt.Errorf("banana: more than %d items in a message", d.limits.Items)
	case n > d.limits.Bytes-d.bytes: // an item has one byte at least
		return 0, fmt.Errorf("banana: a message of more than %d bytes", d.limits.Bytes)
	}
	return n, nil
}

// firstPart is what is allocated for a string before any of it has arrived.
const firstPart = 4096

// string reads a string's bytes. Each time that it needs more room, as much as it
// has has arrived.
func (d *Decoder) string(prefix []byte) (any, error) {
	n, err := length("string", prefix)
	if err != nil {
		return nil, err
	}
	if n > d.limits.Bytes-d.bytes {
		return nil, fmt.Errorf("banana: a message of more than %d bytes", d.limits.Bytes)
	}
	b := make([]byte, min(n, firstPart))
	for at := 0; ; {
		if err := d.full(b[at:]); err != nil {
			return nil, err
		}
		if len(b) == n {
			return b, nil
		}
		at = len(b)
		more := make([]byte, min(n, 2*at))
		copy(more, b)
		b = more
	}
}

func (d *Decoder) word(prefix []byte) (any, error) {
	n, ok := integer(prefix, false).(int64)
	if d.dialect == None {
		return nil, errors.New("banana: a word of a vocabulary, in dialect none")
	}
	if !ok || n < 1 || n >= int64(len(words)) {
		return nil, errors.New("banana: a word that is not in the vocabulary")
	}
	return words[n], nil
}

// length is a number that says how long something is.
func length(of string, prefix []byte) (int, error) {
	n, ok := integer(prefix, false).(int64)
	if !ok || n > MaxLength {
		return 0, fmt.Errorf("banana: a %s longer than %d", of, MaxLength)
	}
	return int(n), nil
}

// integer is the number with these digits, as an int64 if it is one.
func integer(digits []byte, negative bool) any {
	for len(digits) > 0 && digits[len(digits)-1] == 0 {
		digits = digits[:len(digits)-1]
	}
	if len(digits) > 9 { // 63 bits
		return bigInteger(digits, negative)
	}
	var n int64
	for i, d := range digits {
		n |= int64(d) << (7 * i)
	}
	if negative {
		n = -n
	}
	return n
}

func bigInteger(digits []byte, negative bool) any {
	var b [maxPrefix * 7 / 8]byte // the most significant first
	for i, d := range digits {
		bit := 7 * i
		at, both := len(b)-1-bit/8, uint(d)<<(bit%8)
		b[at] |= byte(both)
		if both > 0xff {
			b[at-1] |= byte(both >> 8)
		}
	}
	n := new(big.Int).SetBytes(b[:])
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}
