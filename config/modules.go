package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// module is one of Buildbot's or Python's modules.
type module struct {
	name    string
	members starlark.StringDict
	// later are names that the module has in Buildbot, and that are refused.
	later starlark.StringDict
}

func (m *module) String() string        { return "<module " + m.name + ">" }
func (m *module) Type() string          { return "module" }
func (m *module) Freeze()               {}
func (m *module) Truth() starlark.Bool  { return starlark.True }
func (m *module) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: module") }
func (m *module) AttrNames() []string   { return sortedKeys(m.members) }

// Attr returns a member.
func (m *module) Attr(name string) (starlark.Value, error) {
	if v, ok := m.members[name]; ok {
		return v, nil
	}
	if v, ok := m.later[name]; ok {
		return v, nil
	}
	known := slices.Concat(sortedKeys(m.members), sortedKeys(m.later))
	msg := fmt.Sprintf("%s has no %s", m.name, name)
	if hint := dialect.DidYouMean(name, known); hint != "" {
		msg += " (" + hint + ")"
	}
	return nil, fmt.Errorf("%s", msg)
}

// wordSet are the words of a text.
func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// resultNames are the results' names, each predeclared as itself.
var resultNames = map[string]string{
	"SUCCESS": "results.SUCCESS", "WARNINGS": "results.WARNINGS", "FAILURE": "results.FAILURE",
	"SKIPPED": "results.SKIPPED", "EXCEPTION": "results.EXCEPTION", "RETRY": "results.RETRY",
	"CANCELLED": "results.CANCELLED",
}

var resultCodes = map[string]dormouse.Result{
	"SUCCESS": dormouse.Success, "WARNINGS": dormouse.Warnings, "FAILURE": dormouse.Failure,
	"SKIPPED": dormouse.Skipped, "EXCEPTION": dormouse.Exception, "RETRY": dormouse.Retry,
	"CANCELLED": dormouse.Cancelled,
}

// builtinNames is what every configuration can name, under names with a dot
// that only an import can reach. It holds no state, so all readings share it.
var builtinNames = sync.OnceValue(func() starlark.StringDict {
	names := starlark.StringDict{}
	modules := map[string]*module{"boto3": {name: "boto3"}, "boto3.session": {name: "boto3.session"}}
	for _, path := range pluginModules {
		modules[path] = &module{name: path}
	}
	for path, m := range modules {
		m.members, m.later, names[path] = starlark.StringDict{}, starlark.StringDict{}, m
	}
	for _, c := range registered {
		build := c.constructor()
		names[c.name] = build
		path, name := c.module()
		if c.later {
			modules[path].later[name] = build
		} else {
			modules[path].members[name] = build
		}
	}
	modules["boto3.session"].members["Session"] = names["boto3.Session"]
	modules["boto3"].members["session"] = modules["boto3.session"]
	util := modules["buildbot.util"].members
	for name, code := range resultCodes {
		util[name], names[resultNames[name]] = starlark.MakeInt(int(code)), starlark.MakeInt(int(code))
	}
	return names
})

// environ is os.environ, for reading.
type environ struct {
	lookup func(string) (string, bool)
}

func (e *environ) String() string        { return "os.environ" }
func (e *environ) Type() string          { return "os.environ" }
func (e *environ) Freeze()               {}
func (e *environ) Truth() starlark.Bool  { return starlark.True }
func (e *environ) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: os.environ") }
func (e *environ) AttrNames() []string   { return []string{"get"} }

// Get looks a variable up for os.environ[name] and for the operator in.
func (e *environ) Get(key starlark.Value) (starlark.Value, bool, error) {
	name, ok := key.(starlark.String)
	if !ok {
		return nil, false, fmt.Errorf("the name of an environment variable is a string, got %s", key.Type())
	}
	if v, ok := e.lookup(string(name)); ok {
		return starlark.String(v), true, nil
	}
	return nil, false, nil
}

// Attr returns the method get.
func (e *environ) Attr(name string) (starlark.Value, error) {
	if name != "get" {
		return nil, nil
	}
	return starlark.NewBuiltin("os.environ.get", func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var key, def starlark.Value = nil, starlark.None
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "key", &key, "default?", &def); err != nil {
			return nil, err
		}
		v, ok, err := e.Get(key)
		if err != nil || ok {
			return v, err
		}
		return def, nil
	}), nil
}
