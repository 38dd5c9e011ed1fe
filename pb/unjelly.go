package pb

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// unjelly makes values of the items of one message. It recurses as deep as these
// nest, which is bounded.
type unjelly struct {
	refs references
	// left is what more the values may cost, as [banana.Limits.Cost] has it. One
	// that is mentioned again costs as much again, with all that is in it:
	// otherwise a short message could stand for more than anyone can walk through.
	left int
	// again is what was mentioned again costs.
	again int
	// shared are the values that the message may mention again.
	shared map[int64]shared
	// received are the objects of the other side, as often as they came.
	received []*Remote
}

// references knows the objects that a message mentions.
type references interface {
	receive(id int64) (*Remote, error) // an object of the other side
	own(id int64) (*Local, error)      // one of ours
}

var errTooMuch = errors.New("the values of a message are too many, or too long")

type shared struct {
	value        any
	cost, height int
}

// value makes one value, and says how deep what is in it nests.
func (u *unjelly) value(item any, depth int) (v any, height int, err error) {
	u.left -= banana.ItemCost
	if b, ok := item.([]byte); ok {
		u.left -= len(b)
	}
	if u.left < 0 {
		return nil, 0, errTooMuch
	}
	if depth > maxDepth {
		return nil, 0, fmt.Errorf("values nest more than %d deep", maxDepth)
	}
	list, ok := item.([]any)
	if !ok {
		return item, 0, nil // a number or a byte string
	}
	if len(list) == 0 {
		return nil, 0, errors.New("an empty list is no value")
	}
	word, _ := list[0].([]byte)
	list = list[1:]
	switch string(word) {
	case "list":
		v, height, err = u.all(list, depth)
		return v, height, err
	case "tuple":
		items, height, err := u.all(list, depth)
		return Tuple(items), height, err
	case "dictionary":
		return u.dictionary(list, depth)
	case "reference":
		return u.reference(list, depth)
	case "dereference":
		return u.dereference(list, depth)
	case copyableFailure:
		return u.failure(list, depth)
	}
	v, err = u.scalar(string(word), list)
	return v, 0, err
}

// scalar makes a value that has no others in it.
func (u *unjelly) scalar(word string, list []any) (any, error) {
	switch {
	case word == "None" && len(list) == 0:
		return nil, nil
	case word == "boolean" && len(list) == 1:
		b, _ := list[0].([]byte)
		switch string(b) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errors.New("a boolean that is neither true nor false")
	case word == "unicode" && len(list) == 1:
		b, ok := list[0].([]byte)
		if !ok || !utf8.Valid(b) {
			return nil, errors.New("text that is not UTF-8")
		}
		if u.left -= len(b); u.left < 0 {
			return nil, errTooMuch
		}
		return string(b), nil
	case word == "remote" && len(list) == 1:
		id, err := objectID(list[0])
		if err != nil {
			return nil, err
		}
		r, err := u.refs.receive(id)
		if err == nil {
			u.received = append(u.received, r)
		}
		return r, err
	case word == "local" && len(list) == 1:
		id, err := objectID(list[0])
		if err != nil {
			return nil, err
		}
		return u.refs.own(id)
	}
	// Most of all, an instance of a class: none but failures are taken.
	return nil, fmt.Errorf("no value that is known here begins with %.80q", word)
}

func (u *unjelly) all(list []any, depth int) (values []any, height int, err error) {
	values = make([]any, len(list))
	for i, item := range list {
		v, h, err := u.value(item, depth+1)
		if err != nil {
			return nil, 0, err
		}
		values[i], height = v, max(height, h+1)
	}
	return values, height, nil
}

func (u *unjelly) dictionary(list []any, depth int) (d Dict, height int, err error) {
	d = make(Dict, len(list))
	for i, item := range list {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			return nil, 0, errors.New("a dictionary with an entry that is not a pair")
		}
		both, h, err := u.all(pair, depth)
		if err != nil {
			return nil, 0, err
		}
		d[i], height = Entry{both[0], both[1]}, max(height, h)
	}
	return d, height, nil
}

// reference makes a value that the message may mention again by its number.
func (u *unjelly) reference(list []any, depth int) (any, int, error) {
	if len(list) != 2 {
		return nil, 0, errors.New("a reference has a number and a value")
	}
	n, ok := list[0].(int64)
	if _, twice := u.shared[n]; !ok || twice {
		return nil, 0, errors.New("a reference has a number of its own")
	}
	before := u.left
	v, height, err := u.value(list[1], depth+1)
	if err != nil {
		return nil, 0, err
	}
	if u.shared == nil {
		u.shared = make(map[int64]shared)
	}
	u.shared[n] = shared{v, before - u.left, height + 1}
	return v, height + 1, nil
}

// dereference mentions a value again. It must be complete: nothing holds itself.
func (u *unjelly) dereference(list []any, depth int) (any, int, error) {
	if len(list) != 1 {
		return nil, 0, errors.New("a dereference has one number")
	}
	n, ok := list[0].(int64)
	s, known := u.shared[n]
	switch {
	case !ok || !known:
		return nil, 0, errors.New("a dereference of what did not come before it")
	case depth+s.height > maxDepth:
		return nil, 0, fmt.Errorf("values nest more than %d deep", maxDepth)
	case s.cost > u.left:
		return nil, 0, errTooMuch
	}
	u.left -= s.cost
	u.again += s.cost
	return s.value, s.height, nil
}

func (u *unjelly) failure(list []any, depth int) (any, int, error) {
	if len(list) != 1 {
		return nil, 0, errors.New("a failure has one dictionary")
	}
	state, height, err := u.value(list[0], depth+1)
	if err != nil {
		return nil, 0, err
	}
	d, ok := state.(Dict)
	if !ok {
		return nil, 0, errors.New("a failure has one dictionary")
	}
	return failureOf(d), height + 1, nil
}

// objectID is the number of an object.
func objectID(item any) (int64, error) {
	if id, ok := item.(int64); ok && id > 0 {
		return id, nil
	}
	return 0, errors.New("an object whose number is not one from 1")
}
