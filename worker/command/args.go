package command

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// maxSeconds is the longest time a command argument can ask for: a century,
// so that it never overflows a time.Duration.
const maxSeconds = 100 * 365 * 24 * 3600

// arguments reads a command's arguments, which are whatever MessagePack
// holds, and collects what is wrong with them.
type arguments struct {
	command string
	args    map[string]any
	wrong   []string
}

// err returns all that is wrong as one error.
func (a *arguments) err() error {
	if len(a.wrong) == 0 {
		return nil
	}
	slices.Sort(a.wrong)
	return dormouse.Errorf(dormouse.Invalid, "command %q: %s", a.command, strings.Join(a.wrong, "; "))
}

func (a *arguments) fail(name, format string, args ...any) {
	a.wrong = append(a.wrong, "argument "+name+" "+fmt.Sprintf(format, args...))
}

// get returns an argument; ok is false where it is absent or None.
func (a *arguments) get(name string) (v any, ok bool) {
	v = a.args[name]
	return v, v != nil
}

// require is get for an argument that must be there.
func (a *arguments) require(name string) (v any, ok bool) {
	if v, ok = a.get(name); !ok {
		a.fail(name, "is missing")
	}
	return v, ok
}

func (a *arguments) path(name string) string {
	v, ok := a.require(name)
	if !ok {
		return ""
	}
	s, ok := text(v)
	if !ok || s == "" || strings.ContainsRune(s, 0) {
		a.fail(name, "is not a path")
		return ""
	}
	return s
}

func (a *arguments) paths(name string) []string {
	v, ok := a.require(name)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		a.fail(name, "is not a list of paths")
		return nil
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := text(v)
		if !ok || s == "" || strings.ContainsRune(s, 0) {
			a.fail(name, "holds something that is not a path")
			return nil
		}
		out = append(out, s)
	}
	return out
}

// bool reads a truth value; old masters send 0 and 1.
func (a *arguments) bool(name string, def bool) bool {
	v, ok := a.get(name)
	if !ok {
		return def
	}
	if b, ok := v.(bool); ok {
		return b
	}
	if n, ok := number(v); ok {
		return n != 0
	}
	a.fail(name, "is neither true nor false")
	return def
}

// seconds reads a time in seconds. set is false where it is absent or None,
// which differs from 0 for some arguments.
func (a *arguments) seconds(name string) (d time.Duration, set bool) {
	v, ok := a.get(name)
	if !ok {
		return 0, false
	}
	n, ok := number(v)
	if !ok || math.IsNaN(n) || n < 0 {
		a.fail(name, "is not a number of seconds")
		return 0, false
	}
	return time.Duration(min(n, maxSeconds) * float64(time.Second)), true
}

func (a *arguments) count(name string) int {
	v, ok := a.get(name)
	if !ok {
		return 0
	}
	n, ok := number(v)
	if !ok || n != math.Trunc(n) || n < 0 || n > math.MaxInt32 {
		a.fail(name, "is not a count")
		return 0
	}
	return int(n)
}

func (a *arguments) text(name string) string {
	v, ok := a.get(name)
	if !ok {
		return ""
	}
	s, ok := text(v)
	if !ok {
		a.fail(name, "is not a string")
	}
	return s
}

// text returns a string or bytes as a string.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// number returns any of MessagePack's numbers.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case int32:
		return float64(v), true
	case int16:
		return float64(v), true
	case int8:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint8:
		return float64(v), true
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	return 0, false
}

// size reads a number of bytes. set is false where it is absent or None.
func (a *arguments) size(name string) (n int64, set bool) {
	v, ok := a.get(name)
	if !ok {
		return 0, false
	}
	f, ok := number(v)
	if !ok || f != math.Trunc(f) || f < 0 {
		a.fail(name, "is not a number of bytes")
		return 0, false
	}
	return int64(min(f, maxSize)), true
}

// maxSize is more than any file has, and within a float64's exact integers.
const maxSize = 1 << 53

// mode reads the permissions of a file. set is false where it is absent or None.
func (a *arguments) mode(name string) (mode os.FileMode, set bool) {
	n, set := a.size(name)
	if n > 0o7777 {
		a.fail(name, "is not the mode of a file")
		return 0, false
	}
	return fileMode(uint32(n)), set
}

// fileMode is a mode as the system has it, in Go's terms.
func fileMode(n uint32) os.FileMode {
	mode := os.FileMode(n & 0o777)
	for bit, flag := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return mode
}
