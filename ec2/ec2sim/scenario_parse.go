package ec2sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

const (
	// maxScenario, in bytes, and maxRules are far more than a person writes;
	// every call goes through all rules.
	maxScenario = 1 << 20
	maxRules    = 1000
	// maxNesting is more than a scenario's deepest element has above it.
	maxNesting = 8
	// maxProblems is how many mistakes are shown: more than a screen.
	maxProblems = 100
)

// ParseScenario reads a scenario; the package comment describes the format. The
// error names everything that is wrong with it, each with the path of its
// element, and is [dormouse.Invalid].
func ParseScenario(text []byte) (*Scenario, error) {
	if len(text) > maxScenario {
		return nil, dormouse.Errorf(dormouse.Invalid, "the scenario is larger than %d bytes", maxScenario)
	}
	r := &scenarioReader{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	root, err := r.tree(dec, "", 0)
	if err == nil {
		if _, extra := dec.Token(); !errors.Is(extra, io.EOF) {
			err = errors.New("there is more after its end")
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it ends too early")
		}
		line := 1 + bytes.Count(text[:min(int(dec.InputOffset()), len(text))], []byte("\n"))
		return nil, dormouse.Errorf(dormouse.Invalid, "the scenario is not JSON, at line %d: %w", line, err)
	}
	sc := &Scenario{source: bytes.Clone(text)}
	r.scenario(root, sc)
	if more := len(r.problems) - maxProblems; more > 0 {
		r.problems = append(r.problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	if len(r.problems) > 0 {
		return nil, &dormouse.Error{Code: dormouse.Invalid, Message: "the scenario is wrong:\n  " + strings.Join(r.problems, "\n  ")}
	}
	return sc, nil
}

// member is one of a JSON object's, in the order that they were written.
type member struct {
	name  string
	value any
}

// scenarioReader goes through a scenario and notes what is wrong with it.
type scenarioReader struct {
	problems []string
}

func (r *scenarioReader) wrong(path, format string, args ...any) {
	if path == "" {
		path = "scenario"
	}
	r.problems = append(r.problems, path+": "+fmt.Sprintf(format, args...))
}

// tree reads a value: an object becomes a []member, a list a []any.
func (r *scenarioReader) tree(dec *json.Decoder, path string, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxNesting {
		return nil, errors.New("it is nested too deeply")
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := r.tree(dec, fmt.Sprintf("%s[%d]", path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	case json.Delim('{'):
		object, seen := []member{}, map[string]bool{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			name, _ := key.(string) // JSON has no other
			if seen[name] {
				r.wrong(below(path, name), "is there twice")
			}
			seen[name] = true
			v, err := r.tree(dec, below(path, name), depth+1)
			if err != nil {
				return nil, err
			}
			object = append(object, member{name, v})
		}
		_, err := dec.Token()
		return object, err
	}
	return token, nil
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// members lets each member of an object be read by the function of its name.
func (r *scenarioReader) members(path string, v any, read map[string]func(path string, v any), names ...string) {
	object, ok := v.([]member)
	if !ok {
		r.wrong(path, "expecting an object with %s", strings.Join(names, ", "))
		return
	}
	for _, m := range object {
		if f := read[m.name]; f != nil {
			f(below(path, m.name), m.value)
		} else {
			r.wrong(below(path, m.name), "no such key here; expecting %s", strings.Join(names, ", "))
		}
	}
}

func (r *scenarioReader) list(path string, v any, most int, read func(path string, v any)) {
	list, ok := v.([]any)
	switch {
	case !ok:
		r.wrong(path, "expecting a list")
	case len(list) > most:
		r.wrong(path, "has %d elements; at most %d", len(list), most)
	default:
		for i, v := range list {
			read(fmt.Sprintf("%s[%d]", path, i), v)
		}
	}
}

// text returns a reader of a text that must be of some form.
func (r *scenarioReader) text(into *string, form *regexp.Regexp, expecting string) func(string, any) {
	return func(path string, v any) {
		s, ok := v.(string)
		if !ok || !form.MatchString(s) {
			r.wrong(path, "%s: expecting %s", shown(v), expecting)
			return
		}
		*into = s
	}
}

func (r *scenarioReader) whole(into *int, least int) func(string, any) {
	return func(path string, v any) {
		n, err := strconv.ParseInt(numberText(v), 10, 32)
		if err != nil || int(n) < least {
			r.wrong(path, "%s: expecting a whole number, %d at least", shown(v), least)
			return
		}
		*into = int(n)
	}
}

// decimal returns a reader of a number that is above 0.
func (r *scenarioReader) decimal(into *float64, most float64) func(string, any) {
	return func(path string, v any) {
		f, err := strconv.ParseFloat(numberText(v), 64)
		if err != nil || f <= 0 || f > most {
			r.wrong(path, "%s: expecting a number above 0, %v at most", shown(v), most)
			return
		}
		*into = f
	}
}

// longest is how long anything in a scenario may take: more than an endpoint
// lives.
const longest = 365 * 24 * time.Hour

func (r *scenarioReader) duration(into *time.Duration) func(string, any) {
	return func(path string, v any) {
		text, _ := v.(string)
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > longest {
			r.wrong(path, `%s: expecting a time such as "1.5s" or "2m"`, shown(v))
			return
		}
		*into = d
	}
}

func (r *scenarioReader) yes(path string, v any) {
	if v != true {
		r.wrong(path, "%s: expecting true", shown(v))
	}
}

func numberText(v any) string {
	n, _ := v.(json.Number)
	return n.String()
}

// shown is a value as an error shows it.
func shown(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 64 {
			v = strings.ToValidUTF8(v[:64], "") + "…"
		}
		return strconv.Quote(v)
	case []any:
		return "a list"
	case []member:
		return "an object"
	case nil:
		return "null"
	default:
		return fmt.Sprint(v)
	}
}

// anyText matches what has no form of its own.
var anyText = regexp.MustCompile(`^[^\x00-\x1f]{1,200}$`)

func (r *scenarioReader) scenario(v any, sc *Scenario) {
	var seed int
	r.members("", v, map[string]func(string, any){
		"description": r.text(&sc.description, anyText, "a line of text"),
		"seed":        r.whole(&seed, 0),
		"rules": func(path string, v any) {
			r.list(path, v, maxRules, func(path string, v any) { sc.rules = append(sc.rules, r.rule(path, v)) })
		},
	}, "description", "seed", "rules")
	sc.seed = uint64(seed)
}

func (r *scenarioReader) rule(path string, v any) rule {
	out := rule{name: path}
	r.members(path, v, map[string]func(string, any){
		"name": r.text(&out.name, anyText, "a line of text"),
		"when": func(path string, v any) { r.condition(path, v, &out.when) },
		"do":   func(path string, v any) { r.deed(path, v, &out.do) },
	}, "name", "when", "do")
	if out.do.kind == "" {
		if object, ok := v.([]member); ok && !slices.ContainsFunc(object, func(m member) bool { return m.name == "do" }) {
			r.wrong(path, `has no "do"`)
		}
		return out
	}
	r.agree(below(path, "when"), &out)
	return out
}
