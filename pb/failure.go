package pb

import (
	"slices"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// copyableFailure is the one class whose instances are sent.
const copyableFailure = "twisted.spread.pb.CopyableFailure"

// The classes of exceptions that we send. What a stock worker does depends on
// the first: see [Login.Refuse].
const (
	classUnauthorizedLogin = "twisted.cred.error.UnauthorizedLogin"
	classError             = "twisted.spread.pb.Error"
	classNoSuchMethod      = "twisted.spread.flavors.NoSuchMethod"
	classException         = "builtins.Exception"
)

// maxFailureText bounds what is kept of each text of a failure that came in. A
// Python traceback fits.
const maxFailureText = 8 << 10

// maxParents bounds how many classes of a failure are kept; honest ones have six.
const maxParents = 32

// Failure is an exception that one side tells the other.
type Failure struct {
	Type      string   // the exception's class, such as "builtins.OSError"
	Value     string   // its text
	Parents   []string // the class and those that it derives from
	Traceback string
}

// failure is one of ours.
func failure(text, class string, parents ...string) *Failure {
	parents = append([]string{class}, parents...)
	return &Failure{Type: class, Value: text, Parents: append(parents, classException), Traceback: "Traceback unavailable\n"}
}

// Error returns the class and the text.
func (f *Failure) Error() string {
	switch {
	case f.Value == "":
		return f.Type
	case f.Type == "":
		return f.Value
	}
	return f.Type + ": " + f.Value
}

// Is says whether the exception is of a class, or of one derived from it.
func (f *Failure) Is(class error) bool {
	c, ok := class.(Class)
	return ok && (f.Type == string(c) || slices.Contains(f.Parents, string(c)))
}

// Class is the name of a class of exceptions, for errors.Is. The name of a class
// that Python has itself begins with "builtins" in Python 3, and with "exceptions"
// in Python 2.
type Class string

// NoSuchMethod is the class of what answers a call of a method that an object
// does not have.
const NoSuchMethod Class = classNoSuchMethod

// Error returns the name.
func (c Class) Error() string { return string(c) }

// encode appends the failure, with those of its many fields that a peer looks at.
func (f *Failure) encode(e *banana.Encoder) {
	text := func(s string) {
		e.List(2)
		e.String("unicode")
		e.String(validText(s))
	}
	field := func(name string) {
		e.List(2)
		text(name)
	}
	e.List(2)
	e.String(copyableFailure)
	e.List(5)
	e.String("dictionary")
	field("type")
	e.String(f.Type)
	field("value")
	text(f.Value)
	field("traceback")
	text(f.Traceback)
	field("parents")
	e.List(1 + len(f.Parents))
	e.String("list")
	for _, p := range f.Parents {
		text(p)
	}
}

// failureOf is the failure with these fields. What is missing, or is not what it
// should be, is empty.
func failureOf(state Dict) *Failure {
	text := func(key string) string {
		v, _ := state.Get(key)
		s, _ := Text(v)
		return shorten(s)
	}
	f := &Failure{Type: text("type"), Value: text("value"), Traceback: text("traceback")}
	v, _ := state.Get("parents")
	parents, _ := Items(v)
	for _, p := range parents[:min(len(parents), maxParents)] {
		if s, ok := Text(p); ok {
			f.Parents = append(f.Parents, shorten(s))
		}
	}
	return f
}

// shorten cuts s to at most maxFailureText bytes, between characters.
func shorten(s string) string {
	n := maxFailureText
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
