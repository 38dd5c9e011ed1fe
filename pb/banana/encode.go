package banana

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
)

// Encoder appends items to a buffer in their canonical form. An item that cannot
// be sent is left out, and [Encoder.Bytes] says so.
type Encoder struct {
	dialect Dialect
	b       []byte
	err     error
}

// NewEncoder returns an Encoder of this dialect that appends to b.
func NewEncoder(b []byte, dialect Dialect) *Encoder {
	return &Encoder{dialect: dialect, b: b}
}

// Bytes returns the buffer, or what was wrong with the first item that could not
// be sent.
func (e *Encoder) Bytes() ([]byte, error) { return e.b, e.err }

// Fail records an error that Bytes returns, unless there is one already.
func (e *Encoder) Fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// List begins a list: the next n items are in it.
func (e *Encoder) List(n int) {
	if n > MaxLength {
		e.Fail(fmt.Errorf("a list of %d items is longer than PB can send (%d)", n, MaxLength))
		return
	}
	e.prefix(uint64(n), typeList)
}

// Int appends an integer.
func (e *Encoder) Int(n int64) {
	switch {
	case n > math.MaxInt32:
		e.prefix(uint64(n), typeLongInt)
	case n >= 0:
		e.prefix(uint64(n), typeInt)
	case n >= math.MinInt32:
		e.prefix(-uint64(n), typeNeg)
	default:
		e.prefix(-uint64(n), typeLongNeg)
	}
}

// Big appends an integer of up to 448 bits.
func (e *Encoder) Big(n *big.Int) {
	if n.IsInt64() {
		e.Int(n.Int64())
		return
	}
	if n.BitLen() > 7*maxPrefix {
		e.Fail(fmt.Errorf("a number of %d bits is longer than PB can send (%d)", n.BitLen(), 7*maxPrefix))
		return
	}
	rest, digit, mask := new(big.Int).Abs(n), new(big.Int), big.NewInt(0x7f)
	for rest.Sign() > 0 {
		e.b = append(e.b, byte(digit.And(rest, mask).Uint64()))
		rest.Rsh(rest, 7)
	}
	if n.Sign() < 0 {
		e.b = append(e.b, typeLongNeg)
	} else {
		e.b = append(e.b, typeLongInt)
	}
}

// Float appends a float.
func (e *Encoder) Float(f float64) {
	e.b = binary.BigEndian.AppendUint64(append(e.b, typeFloat), math.Float64bits(f))
}

// String appends a byte string, as a word if it is one.
func (e *Encoder) String(s string) {
	if e.begin(len(s), numbers[s]) {
		e.b = append(e.b, s...)
	}
}

// ByteString appends a byte string, as a word if it is one.
func (e *Encoder) ByteString(s []byte) {
	if e.begin(len(s), numbers[string(s)]) {
		e.b = append(e.b, s...)
	}
}

// begin appends a word, or what stands before a string's bytes: true is that
// they follow.
func (e *Encoder) begin(n int, word int64) bool {
	switch {
	case word != 0 && e.dialect == PB:
		e.prefix(uint64(word), typeVocab)
		return false
	case n > MaxLength:
		e.Fail(fmt.Errorf("%d bytes are more than PB can send in one piece (%d)", n, MaxLength))
		return false
	}
	e.prefix(uint64(n), typeString)
	return true
}

// Item appends an item of the forms that a [Decoder] returns.
func (e *Encoder) Item(item any) {
	switch item := item.(type) {
	case int64:
		e.Int(item)
	case *big.Int:
		e.Big(item)
	case float64:
		e.Float(item)
	case []byte:
		e.ByteString(item)
	case []any:
		e.List(len(item))
		for _, i := range item {
			e.Item(i)
		}
	default:
		e.Fail(fmt.Errorf("a %T is no item", item))
	}
}

// prefix appends n in base 128, and the type.
func (e *Encoder) prefix(n uint64, kind byte) {
	for n >= 0x80 {
		e.b = append(e.b, byte(n&0x7f))
		n >>= 7
	}
	e.b = append(e.b, byte(n), kind)
}
