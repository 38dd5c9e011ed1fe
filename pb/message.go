package pb

import (
	"errors"
	"fmt"
)

// version is the one of PB that all of its peers speak.
const version = 6

// rootName is the object that a master has from the beginning.
const rootName = "root"

// message is one that came in. Its values are items yet.
type message struct {
	kind   string // version, message, answer, error, decref
	number int64  // the version, the request's, or the object's

	// Of a call.
	object         int64 // 0: the root
	method         string
	wanted         bool // whether it is to be answered
	args, keywords any

	value any // of an answer or error
}

// parse reads a message. A peer that sends something else has lost its way, and
// nothing can be answered: the connection ends.
func parse(item any) (message, error) {
	list, _ := item.([]any)
	if len(list) < 2 {
		return message{}, errors.New("what came is no message of PB")
	}
	word, _ := list[0].([]byte)
	m := message{kind: string(word)}
	number, isNumber := list[1].(int64)
	m.number = number
	var ok bool
	switch m.kind {
	case "version", "decref":
		ok = len(list) == 2 && isNumber
	case "answer", "error":
		if ok = len(list) == 3 && isNumber; ok {
			m.value = list[2]
		}
	case "message":
		ok = len(list) == 7 && isNumber && m.call(list[2:])
	default:
		return message{}, fmt.Errorf("a message of PB does not begin with %.80q", word)
	}
	if !ok {
		return message{}, fmt.Errorf("a %s of PB has another form", m.kind)
	}
	return m, nil
}

// call reads (OBJECT METHOD WANTED ARGS KEYWORDS).
func (m *message) call(list []any) bool {
	switch id := list[0].(type) {
	case int64:
		if m.object = id; id <= 0 {
			return false
		}
	case []byte:
		if string(id) != rootName {
			return false
		}
	default:
		return false
	}
	method, isText := list[1].([]byte)
	wanted, known := Truth(list[2])
	m.method, m.wanted, m.args, m.keywords = string(method), wanted, list[3], list[4]
	return isText && known
}
