package pb

import "strings"

// Tuple is a tuple. A list is an []any.
type Tuple []any

// Dict is a dictionary, in the order in which it came or is to be sent. Its keys
// may be any values.
type Dict []Entry

// Entry is a key of a dictionary with its value.
type Entry struct{ Key, Value any }

// Get returns the value of a key that is text, or a byte string with its bytes:
// workers on Python 2 send those. The last one counts, as it does in Python.
func (d Dict) Get(key string) (value any, found bool) {
	for i := len(d) - 1; i >= 0; i-- {
		switch k := d[i].Key.(type) {
		case string:
			found = k == key
		case []byte:
			found = string(k) == key
		}
		if found {
			return d[i].Value, true
		}
	}
	return nil, false
}

// Text returns what is text, or a byte string that stands for text: bytes that
// are not UTF-8 become U+FFFD.
func Text(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return strings.ToValidUTF8(string(v), "\uFFFD"), true
	}
	return "", false
}

// Truth returns what is a truth value, or a number that stands for one.
func Truth(v any) (truth, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case int64:
		return v != 0, true
	}
	return false, false
}

// Items returns what is in a list or a tuple.
func Items(v any) (items []any, ok bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case Tuple:
		return v, true
	}
	return nil, false
}
