package wire

import (
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// maxFields bounds the top-level keys of a frame; the protocol's largest
// request has six.
const maxFields = 32

// field is one top-level key of a frame that goes out.
type field struct {
	key   string
	value any
}

// frame is a frame that came in: a request or a response. Its fields alias the
// bytes it was parsed from.
type frame struct {
	op     string
	seq    int64
	fields []rawField
}

type rawField struct {
	key   string
	value []byte // one well-formed value
}

var errNoSeq = errors.New("a frame without an integer seq_number")

// parseFrame checks all of b and finds its fields. A frame that has no
// seq_number cannot be answered and is an error; one without op is not.
func parseFrame(b []byte) (frame, error) {
	var f frame
	if len(b) == 0 {
		return f, errors.New("an empty frame")
	}
	if msgp.NextType(b) != msgp.MapType {
		return f, errors.New("a frame that is not a map")
	}
	n, rest, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return f, errTruncated
	}
	if n > maxFields {
		return f, fmt.Errorf("a frame of %d keys", n)
	}
	f.fields = make([]rawField, 0, n)
	values, hasSeq := 0, false
	for range n {
		keyBytes := rest
		if rest, err = skipValue(rest, 1, &values); err != nil {
			return f, err
		}
		switch msgp.NextType(keyBytes) {
		case msgp.StrType, msgp.BinType:
		default:
			return f, errMapKey
		}
		key, _, err := decodeKey(keyBytes)
		if err != nil {
			return f, err
		}
		value := rest
		if rest, err = skipValue(rest, 1, &values); err != nil {
			return f, err
		}
		value = value[:len(value)-len(rest)]
		switch key {
		case "seq_number":
			v, _, _ := decodeValue(value)
			if f.seq, hasSeq = v.(int64); !hasSeq {
				return f, errNoSeq
			}
		case "op":
			v, _, _ := decodeValue(value)
			f.op, _ = v.(string)
		default:
			f.fields = append(f.fields, rawField{key, value})
		}
	}
	if len(rest) != 0 {
		return f, fmt.Errorf("%d bytes after the end of a frame", len(rest))
	}
	if !hasSeq {
		return f, errNoSeq
	}
	return f, nil
}

// raw returns the undecoded value of a field; of a key that came twice, the
// last.
func (f *frame) raw(key string) ([]byte, bool) {
	for i := len(f.fields) - 1; i >= 0; i-- {
		if f.fields[i].key == key {
			return f.fields[i].value, true
		}
	}
	return nil, false
}

// value returns a decoded field, nil when it is absent.
func (f *frame) value(key string) any {
	b, ok := f.raw(key)
	if !ok {
		return nil
	}
	v, _, err := decodeValue(b)
	if err != nil {
		return nil
	}
	return v
}

// missing names the first of keys that the frame lacks, "" when it has all.
func (f *frame) missing(keys ...string) string {
	for _, key := range keys {
		if _, ok := f.raw(key); !ok {
			return key
		}
	}
	return ""
}

// text returns a text field, "" when it is absent or something else.
func (f *frame) text(key string) string {
	s, _ := f.value(key).(string)
	return s
}

// appendRequest appends a request's frame.
func appendRequest(b []byte, seq int64, op string, fields []field) ([]byte, error) {
	b = msgp.AppendMapHeader(b, uint32(2+len(fields)))
	b = msgp.AppendString(b, "op")
	b = msgp.AppendString(b, op)
	b = msgp.AppendString(b, "seq_number")
	b = msgp.AppendInt64(b, seq)
	var err error
	for _, f := range fields {
		b = msgp.AppendString(b, f.key)
		if b, err = appendValue(b, f.value); err != nil {
			return b, fmt.Errorf("%s: %w", f.key, err)
		}
	}
	return b, nil
}

// appendResponse appends the answer to request seq: its result, or, as an
// exception, what went wrong.
func appendResponse(b []byte, seq int64, result any, exception bool) ([]byte, error) {
	n := uint32(3)
	if exception {
		n++
	}
	b = msgp.AppendMapHeader(b, n)
	b = msgp.AppendString(b, "op")
	b = msgp.AppendString(b, "response")
	b = msgp.AppendString(b, "seq_number")
	b = msgp.AppendInt64(b, seq)
	if exception {
		b = msgp.AppendString(b, "is_exception")
		b = msgp.AppendBool(b, true)
	}
	b = msgp.AppendString(b, "result")
	return appendValue(b, result)
}
