package config

import (
	"encoding/json"
	"fmt"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// record is a thing as functions see it: attributes that can be read.
type record struct {
	name  string
	attrs starlark.StringDict
	// get, if not nil, answers record['key'] and 'key' in record.
	get func(key string) (starlark.Value, bool)
}

func (r *record) String() string        { return "<" + r.name + ">" }
func (r *record) Type() string          { return r.name }
func (r *record) Freeze()               {}
func (r *record) Truth() starlark.Bool  { return starlark.True }
func (r *record) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", r.name) }
func (r *record) AttrNames() []string   { return sortedKeys(r.attrs) }

// Attr returns an attribute.
func (r *record) Attr(name string) (starlark.Value, error) {
	if v, ok := r.attrs[name]; ok {
		return v, nil
	}
	msg := fmt.Sprintf("%s has no attribute %s", r.name, name)
	if hint := dialect.DidYouMean(name, r.AttrNames()); hint != "" {
		msg += " (" + hint + ")"
	}
	return nil, fmt.Errorf("%s", msg)
}

// mapping is a record that can be looked into.
type mapping struct{ *record }

// Get looks a key up.
func (m mapping) Get(key starlark.Value) (starlark.Value, bool, error) {
	name, ok := key.(starlark.String)
	if !ok {
		return nil, false, fmt.Errorf("%s: a key is a string, got %s", m.name, key.Type())
	}
	v, ok := m.get(string(name))
	return v, ok, nil
}

// builtin is a method of a record, of functions that take a name and perhaps a
// default.
func builtin(name string, f func(key string, def starlark.Value) (starlark.Value, error)) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var key string
		var def starlark.Value = starlark.None
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "key", &key, "default?", &def); err != nil {
			return nil, err
		}
		return f(key, def)
	})
}

// readOnly is a method that functions may not use, since they have no effects.
func readOnly(name string) *starlark.Builtin {
	return starlark.NewBuiltin(name, func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return nil, fmt.Errorf("%s: a function cannot change a build; steps.SetProperty does", name)
	})
}

// propertyMethods are the methods of whatever has properties.
func propertyMethods(p dormouse.Properties) starlark.StringDict {
	has := builtin("hasProperty", func(key string, _ starlark.Value) (starlark.Value, error) {
		_, ok := p[key]
		return starlark.Bool(ok), nil
	})
	return starlark.StringDict{
		"getProperty": builtin("getProperty", func(key string, def starlark.Value) (starlark.Value, error) {
			if v, ok := p[key]; ok {
				return toStarlark(v.Value), nil
			}
			return def, nil
		}),
		"hasProperty": has, "has_key": has,
		"getPropertySource": builtin("getPropertySource", func(key string, _ starlark.Value) (starlark.Value, error) {
			if v, ok := p[key]; ok {
				return starlark.String(v.Source), nil
			}
			return nil, fmt.Errorf("there is no property %q", key)
		}),
		"setProperty": readOnly("setProperty"),
	}
}

// newProperties are the properties of a build, as a renderer gets them.
func newProperties(scope expr.Scope) starlark.Value {
	attrs := propertyMethods(scope.Properties)
	m := mapping{&record{name: "properties", attrs: attrs, get: func(key string) (starlark.Value, bool) {
		v, ok := scope.Properties[key]
		return toStarlark(v.Value), ok
	}}}
	attrs["getProperties"] = starlark.NewBuiltin("getProperties", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return m, nil
	})
	attrs["asDict"] = starlark.NewBuiltin("asDict", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		d := starlark.NewDict(len(scope.Properties))
		for _, name := range scope.Properties.Names() {
			p := scope.Properties[name]
			_ = d.SetKey(starlark.String(name), starlark.Tuple{toStarlark(p.Value), starlark.String(p.Source)}) // a string is a key
		}
		return d, nil
	})
	attrs["sourcestamps"] = stamps(scope.Sources)
	return m
}

func stamps(sources []dormouse.SourceStamp) *starlark.List {
	list := make([]starlark.Value, len(sources))
	for i, s := range sources {
		list[i] = stamp(s)
	}
	return starlark.NewList(list)
}

// stamp is a source stamp: an object, and a dictionary.
func stamp(s dormouse.SourceStamp) starlark.Value {
	attrs := starlark.StringDict{
		"codebase": starlark.String(s.Codebase), "repository": starlark.String(s.Repository), "project": starlark.String(s.Project),
		"branch": textOrNone(s.Branch), "revision": textOrNone(s.Revision),
	}
	return mapping{&record{name: "sourcestamp", attrs: attrs, get: func(key string) (starlark.Value, bool) {
		v, ok := attrs[key]
		return v, ok
	}}}
}

func textOrNone(s string) starlark.Value {
	if s == "" {
		return starlark.None
	}
	return starlark.String(s)
}

// newStep is a step, as conditions get it.
func newStep(scope expr.Scope) starlark.Value {
	build := propertyMethods(scope.Properties)
	build["results"] = starlark.MakeInt(int(scope.Step.BuildResult))
	build["builder"] = &record{name: "builder", attrs: starlark.StringDict{"name": starlark.String(scope.Step.Builder)}}
	build["sources"] = stamps(scope.Sources)
	attrs := propertyMethods(scope.Properties)
	attrs["name"] = starlark.String(scope.Step.Name)
	attrs["build"] = &record{name: "build", attrs: build}
	return &record{name: "step", attrs: attrs}
}

// newRequest is a build request, as the functions get it that choose.
func newRequest(r dormouse.BuildRequest) *record {
	attrs := starlark.StringDict{
		"id": starlark.MakeInt64(r.ID), "buildername": starlark.String(r.Builder), "priority": starlark.MakeInt(r.Priority),
		"reason":      starlark.String(r.Reason),
		"submittedAt": starlark.Float(float64(r.SubmittedAt.UnixNano()) / float64(time.Second)),
		"properties":  newProperties(expr.Scope{Properties: r.Properties, Sources: r.Sources}),
	}
	sources := starlark.NewDict(len(r.Sources))
	for _, s := range r.Sources {
		_ = sources.SetKey(starlark.String(s.Codebase), stamp(s)) // a string is a key
	}
	attrs["sources"], attrs["sourcestamps"] = sources, stamps(r.Sources)
	return &record{name: "buildrequest", attrs: attrs}
}

// newWorker is a worker, as the functions get it that choose: Buildbot's
// WorkerForBuilder.
func newWorker(name string) *record {
	inner := &record{name: "worker", attrs: starlark.StringDict{"workername": starlark.String(name), "name": starlark.String(name)}}
	return &record{name: "workerforbuilder", attrs: starlark.StringDict{"worker": inner, "workername": starlark.String(name), "name": starlark.String(name)}}
}

// toStarlark is a value of a property, or of what JSON holds, as functions see
// it.
func toStarlark(v any) starlark.Value {
	switch v := v.(type) {
	case nil:
		return starlark.None
	case bool:
		return starlark.Bool(v)
	case string:
		return starlark.String(v)
	case int:
		return starlark.MakeInt(v)
	case int64:
		return starlark.MakeInt64(v)
	case uint64:
		return starlark.MakeUint64(v)
	case float64:
		return starlark.Float(v)
	case json.Number:
		return starlark.String(v)
	case []string:
		list := make([]starlark.Value, len(v))
		for i := range v {
			list[i] = starlark.String(v[i])
		}
		return starlark.NewList(list)
	case []any:
		list := make([]starlark.Value, len(v))
		for i := range v {
			list[i] = toStarlark(v[i])
		}
		return starlark.NewList(list)
	case map[string]any:
		d := starlark.NewDict(len(v))
		for _, k := range sortedKeys(v) {
			_ = d.SetKey(starlark.String(k), toStarlark(v[k])) // a string is a key
		}
		return d
	}
	return starlark.String(fmt.Sprint(v))
}
