package build

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// propertyAction gives properties a value.
type propertyAction struct{ dormouse.SetProperty }

var _ = does(func(a dormouse.SetProperty) action { return propertyAction{a} })

func (a propertyAction) defaultName() string {
	if a.All == nil && len(a.Values) == 1 {
		return "SetProperty"
	}
	return "SetProperties"
}

func (a propertyAction) values(s *step) (map[string]any, error) {
	v := a.All
	if v == nil {
		v = a.Values
	}
	out, err := s.render("the properties", v)
	if err != nil {
		return nil, err
	}
	values, ok := out.(map[string]any)
	if !ok && out != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "the properties came out as %T, and must be a dictionary", out)
	}
	return values, nil
}

// reveal implements action.
func (a propertyAction) reveal(s *step) { _, _ = a.values(s) }

func (a propertyAction) run(_ context.Context, s *step) (dormouse.Result, error) {
	values, err := a.values(s)
	if err != nil {
		return dormouse.Exception, err
	}
	if s.summary == "" {
		s.summary = "Set"
	}
	return dormouse.Success, s.setProperties(values, s.row.Name)
}

// maxProperty bounds one property, in bytes of its JSON: they are all read with every
// build.
const maxProperty = 2 * maxCaptured

// setProperties sets properties of the build. Secrets in their values are masked:
// properties are shown to everybody.
func (s *step) setProperties(values map[string]any, source string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := s.masked(values[name])
		text, err := json.Marshal(v)
		switch {
		case name == "":
			return dormouse.Errorf(dormouse.Invalid, "a property has no name")
		case err != nil:
			return dormouse.Errorf(dormouse.Invalid, "property %s cannot hold its value: %w", name, err)
		case len(text) > maxProperty:
			return dormouse.Errorf(dormouse.Invalid, "the value of property %s has %d bytes, and may have %d: keep it in a file", name, len(text), maxProperty)
		}
		s.build.props.Set(name, v, source)
	}
	return nil
}

// masked is a value without the secrets in its texts.
func (s *step) masked(v any) any {
	switch v := v.(type) {
	case string:
		return s.build.mask.apply(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.masked(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[s.build.mask.apply(k)] = s.masked(v[k])
		}
		return out
	}
	return v
}

// fromCommandAction gives properties what a command prints.
type fromCommandAction struct {
	dormouse.SetPropertyFromCommand
}

var _ = does(func(a dormouse.SetPropertyFromCommand) action { return fromCommandAction{a} })

func (fromCommandAction) defaultName() string { return "setproperty" }

// reveal implements action.
func (a fromCommandAction) reveal(s *step) { shellAction{a.ShellCommand}.reveal(s) }

// propertiesLog is the log of the properties that a command has set.
const propertiesLog = "property changes"

func (a fromCommandAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	shell := shellAction{a.ShellCommand}
	args, err := shell.args(s)
	if err != nil {
		return dormouse.Exception, err
	}
	end, err := s.run(ctx, command{name: "shell", args: args, sigterm: a.SigtermTime, sayCode: true, keep: true, keepErrors: true})
	if err != nil {
		return dormouse.Exception, err
	}
	s.note = failureNote(end.Reason)
	result, err := shell.decode(end)
	if err != nil {
		return result, err
	}
	if end.Truncated {
		return dormouse.Exception, dormouse.Errorf(dormouse.Invalid, "the command printed more than the %d bytes that a property can hold", maxCaptured)
	}
	values, err := a.values(end, result)
	if err != nil {
		return dormouse.Exception, err
	}
	if err := s.setProperties(values, "SetPropertyFromCommand Step"); err != nil {
		return dormouse.Exception, err
	}
	var said []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		text, _ := json.Marshal(s.build.props[name].Value) // it could be set, so it can be written
		said = append(said, fmt.Sprintf("%s: %s", name, text))
	}
	if s.spec.DescriptionDone == "" && len(values) > 0 {
		s.summary = fmt.Sprintf("%d properties set", len(values))
		if len(values) == 1 {
			s.summary = "property '" + slices.Sorted(maps.Keys(values))[0] + "' set"
		}
	}
	if _, recorded := s.next(); !recorded {
		if err := s.logs.append(ctx, propertiesLog, dormouse.Stdout, lines(said), nil); err != nil {
			return dormouse.Exception, err
		}
	}
	return result, nil
}

// values makes properties of what the command printed.
func (a fromCommandAction) values(end ended, result dormouse.Result) (map[string]any, error) {
	if a.Extract != nil {
		return a.Extract.Extract(end.RC, end.Output, end.Errors)
	}
	if !result.Good() {
		return nil, nil
	}
	text := ""
	if a.IncludeStdout {
		text = end.Output
	}
	if a.IncludeStderr {
		text += end.Errors
	}
	if a.Strip {
		text = strings.TrimSpace(text)
	}
	return map[string]any{a.Property: text}, nil
}
