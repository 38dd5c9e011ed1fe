package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// micros is a time as it is stored: microseconds since 1970, 0 for the zero
// time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// stored is a time as reading it back gives it.
func stored(t time.Time) time.Time { return fromMicros(micros(t)) }

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// timeColumn reads a stored time.
type timeColumn struct{ t *time.Time }

// Scan reads microseconds.
func (c timeColumn) Scan(v any) error {
	us, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T, not as an integer", v)
	}
	*c.t = fromMicros(us)
	return nil
}

// jsonColumn reads a stored JSON value.
type jsonColumn struct{ v any }

// Scan reads JSON text.
func (c jsonColumn) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), c.v)
	case []byte:
		return json.Unmarshal(v, c.v)
	}
	return fmt.Errorf("JSON is stored as %T, not as text", v)
}

// propertiesColumn reads stored properties. An empty set is nil.
type propertiesColumn struct{ p *dormouse.Properties }

// Scan reads JSON text.
func (c propertiesColumn) Scan(v any) error {
	var stored map[string]struct {
		Value  json.RawMessage
		Source string
	}
	if err := (jsonColumn{&stored}).Scan(v); err != nil || len(stored) == 0 {
		return err
	}
	*c.p = make(dormouse.Properties, len(stored))
	for name, p := range stored {
		value, err := decodeValue(p.Value)
		if err != nil {
			return fmt.Errorf("property %s: %w", name, err)
		}
		c.p.Set(name, value, p.Source)
	}
	return nil
}

func encodeJSON(what string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", dormouse.Errorf(dormouse.Invalid, "%s cannot be stored: %w", what, err)
	}
	return string(text), nil
}

// decodeValue reads a property's value. Integers stay what they are: an int64
// where they fit, so that 1000000 is not rendered as 1e+06, else a
// [json.Number] with all digits.
func decodeValue(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return plainNumbers(v), nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if bytes.ContainsAny([]byte(v), ".eE") {
			if f, err := v.Float64(); err == nil {
				return f
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plainNumbers(v[k])
		}
	}
	return v
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// pageSize is how many rows a listing returns: what was asked for, but never so
// many that one call could fill the memory.
func pageSize(limit int) int {
	const most, usual = 1000, 100
	if limit <= 0 {
		return usual
	}
	return min(limit, most)
}
