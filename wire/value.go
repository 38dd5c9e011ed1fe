package wire

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tinylib/msgp/msgp"
)

// Limits of one frame. They are ours: the protocol has none.
const (
	// MaxFrame is the largest frame that is read or written, in bytes. A stock
	// worker collects output up to 64 KiB and sends a longer line or listing
	// whole, and an upload's block is as large as its step says; 16 MiB holds
	// any of these, and is what one connection can cost in memory at most.
	MaxFrame = 16 << 20
	// maxDepth bounds nesting; the deepest honest frame (an update of a custom
	// log) nests six levels.
	maxDepth = 32
	// maxValues bounds what a frame may hold, so that a frame of one-byte
	// values cannot become a hundred times its size in memory. The most that
	// an honest frame holds is one name per file of a listed directory.
	maxValues = 1 << 20
)

var (
	errTruncated = errors.New("truncated MessagePack")
	errDeep      = fmt.Errorf("MessagePack nested more than %d levels", maxDepth)
	errValues    = fmt.Errorf("MessagePack of more than %d values", maxValues)
	errMapKey    = errors.New("MessagePack map key that is neither text nor a number")
	errExtension = errors.New("MessagePack extension types are not part of the protocol")
)

// skipValue returns what follows the first value of b. It is the only function
// here that reads bytes nobody has looked at: what it accepts is well formed,
// within the limits, and of types the protocol knows.
func skipValue(b []byte, depth int, values *int) ([]byte, error) {
	if len(b) == 0 {
		return nil, errTruncated
	}
	if depth > maxDepth {
		return nil, errDeep
	}
	if *values++; *values > maxValues {
		return nil, errValues
	}
	var err error
	switch msgp.NextType(b) {
	case msgp.ArrayType:
		var n uint32
		if n, b, err = msgp.ReadArrayHeaderBytes(b); err != nil {
			return nil, errTruncated
		}
		if uint64(n) > uint64(len(b)) {
			return nil, errTruncated
		}
		for range n {
			if b, err = skipValue(b, depth+1, values); err != nil {
				return nil, err
			}
		}
		return b, nil
	case msgp.MapType:
		var n uint32
		if n, b, err = msgp.ReadMapHeaderBytes(b); err != nil {
			return nil, errTruncated
		}
		if 2*uint64(n) > uint64(len(b)) {
			return nil, errTruncated
		}
		for range n {
			switch msgp.NextType(b) {
			case msgp.StrType, msgp.BinType, msgp.IntType, msgp.UintType:
			case msgp.InvalidType:
				return nil, errTruncated
			default:
				return nil, errMapKey
			}
			if b, err = skipValue(b, depth+1, values); err != nil {
				return nil, err
			}
			if b, err = skipValue(b, depth+1, values); err != nil {
				return nil, err
			}
		}
		return b, nil
	case msgp.StrType, msgp.BinType, msgp.IntType, msgp.UintType,
		msgp.Float32Type, msgp.Float64Type, msgp.BoolType, msgp.NilType:
		if b, err = msgp.Skip(b); err != nil {
			return nil, errTruncated
		}
		return b, nil
	case msgp.InvalidType:
		return nil, errors.New("invalid MessagePack")
	default:
		return nil, errExtension
	}
}

// decodeValue reads the first value of b, which [skipValue] has accepted, as
// nil, bool, int64, uint64 (only above the range of int64), float64, string
// (valid UTF-8), []byte, []any or map[string]any. Nothing of b is kept.
func decodeValue(b []byte) (any, []byte, error) {
	switch msgp.NextType(b) {
	case msgp.NilType:
		b, err := msgp.ReadNilBytes(b)
		return nil, b, err
	case msgp.BoolType:
		return msgp.ReadBoolBytes(b)
	case msgp.IntType:
		return msgp.ReadInt64Bytes(b)
	case msgp.UintType:
		n, b, err := msgp.ReadUint64Bytes(b)
		if n <= math.MaxInt64 {
			return int64(n), b, err
		}
		return n, b, err
	case msgp.Float32Type:
		f, b, err := msgp.ReadFloat32Bytes(b)
		return float64(f), b, err
	case msgp.Float64Type:
		return msgp.ReadFloat64Bytes(b)
	case msgp.StrType:
		s, b, err := msgp.ReadStringZC(b)
		return validText(s), b, err
	case msgp.BinType:
		return msgp.ReadBytesBytes(b, nil)
	case msgp.ArrayType:
		n, b, err := msgp.ReadArrayHeaderBytes(b)
		if err != nil {
			return nil, b, err
		}
		out := make([]any, n)
		for i := range out {
			if out[i], b, err = decodeValue(b); err != nil {
				return nil, b, err
			}
		}
		return out, b, nil
	case msgp.MapType:
		n, b, err := msgp.ReadMapHeaderBytes(b)
		if err != nil {
			return nil, b, err
		}
		out := make(map[string]any, n)
		for range n {
			var key string
			if key, b, err = decodeKey(b); err != nil {
				return nil, b, err
			}
			if out[key], b, err = decodeValue(b); err != nil {
				return nil, b, err
			}
		}
		return out, b, nil
	}
	return nil, b, errExtension
}

func decodeKey(b []byte) (string, []byte, error) {
	switch msgp.NextType(b) {
	case msgp.IntType, msgp.UintType:
		v, b, err := decodeValue(b)
		switch v := v.(type) {
		case int64:
			return strconv.FormatInt(v, 10), b, err
		case uint64:
			return strconv.FormatUint(v, 10), b, err
		}
		return "", b, err
	default:
		s, b, err := readText(b)
		return validText(s), b, err
	}
}

// readText reads text or bytes without copying them.
func readText(b []byte) (text, rest []byte, err error) {
	if msgp.NextType(b) == msgp.BinType {
		return msgp.ReadBytesZC(b)
	}
	return msgp.ReadStringZC(b)
}

// validText makes a string of b: what is not UTF-8 becomes U+FFFD.
func validText(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// appender is a value that knows its own encoding.
type appender interface{ appendTo(b []byte) []byte }

// appendValue appends v's encoding. Text goes out as valid UTF-8, since a
// stock peer drops the connection over anything else.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(b), nil
	case appender:
		return v.appendTo(b), nil
	case bool:
		return msgp.AppendBool(b, v), nil
	case int:
		return msgp.AppendInt64(b, int64(v)), nil
	case int32:
		return msgp.AppendInt64(b, int64(v)), nil
	case int64:
		return msgp.AppendInt64(b, v), nil
	case uint32:
		return msgp.AppendUint64(b, uint64(v)), nil
	case uint64:
		return msgp.AppendUint64(b, v), nil
	case float64:
		return msgp.AppendFloat64(b, v), nil
	case string:
		return appendText(b, v), nil
	case []byte:
		return msgp.AppendBytes(b, v), nil
	case Updates:
		return append(b, v...), nil
	case updateArgs:
		b = msgp.AppendArrayHeader(b, uint32(len(v)))
		var err error
		for _, u := range v {
			b = appendText(msgp.AppendArrayHeader(b, 2), u.Key)
			if b, err = appendValue(b, u.Value); err != nil {
				return b, fmt.Errorf("%s: %w", u.Key, err)
			}
		}
		return b, nil
	case []any:
		return appendList(b, v)
	case []string:
		return appendList(b, v)
	case []int:
		return appendList(b, v)
	case []int64:
		return appendList(b, v)
	case []float64:
		return appendList(b, v)
	case map[string]any:
		return appendMap(b, v)
	case map[string]string:
		return appendMap(b, v)
	case map[string]int:
		return appendMap(b, v)
	default:
		return b, fmt.Errorf("a %T cannot be sent", v)
	}
}

func appendText(b []byte, s string) []byte {
	return msgp.AppendString(b, strings.ToValidUTF8(s, "\uFFFD"))
}

func appendList[T any](b []byte, list []T) ([]byte, error) {
	b = msgp.AppendArrayHeader(b, uint32(len(list)))
	var err error
	for _, v := range list {
		if b, err = appendValue(b, v); err != nil {
			return b, err
		}
	}
	return b, nil
}

// appendMap appends the entries sorted by key, so that equal maps are equal
// bytes.
func appendMap[T any](b []byte, m map[string]T) ([]byte, error) {
	b = msgp.AppendMapHeader(b, uint32(len(m)))
	var err error
	for _, key := range slices.Sorted(maps.Keys(m)) {
		b = appendText(b, key)
		if b, err = appendValue(b, m[key]); err != nil {
			return b, fmt.Errorf("%s: %w", key, err)
		}
	}
	return b, nil
}
