package config

import (
	"slices"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// propertyModule is where Buildbot has what is known only when a build runs.
const propertyModule = "buildbot.process.properties"

var interpolateClass = register(&class{
	name: "util.Interpolate", positional: 1, variadic: true, open: true, from: propertyModule, renders: true,
	params: []param{{name: "fmtstring", support: required, secret: true}},
	read:   readInterpolate,
})

var propertyClass = register(&class{
	name: "util.Property", positional: 3, from: propertyModule, renders: true,
	params: []param{{name: "key", support: required}, {name: "default"}, {name: "defaultWhenFalse"}},
	read:   readProperty,
})

var secretClass = register(&class{
	name: "util.Secret", positional: 1, from: propertyModule, renders: true,
	params: []param{{name: "secret_name", support: required}},
	read:   readSecretRef,
})

// renderable is the value of an object that stands for something known only
// when a build runs; nil when its arguments are wrong, which has been reported.
func (r *reader) renderable(o *object) (v expr.Renderable, ok bool) {
	if o.class.renders {
		v, _ = r.value(o).(expr.Renderable)
		return v, true
	}
	return nil, o.class.later
}

func readInterpolate(a arguments) any {
	f, ok := a.field("fmtstring")
	if !ok {
		return nil
	}
	format, isText := f.v.(starlark.String)
	if !isText {
		f.bad("a string")
		return nil
	}
	args := make([]any, len(a.o.rest))
	good := true
	for i, arg := range a.o.rest {
		args[i], ok = field{a.r, "util.Interpolate: an argument", arg.value, arg.at, false}.data(true)
		good = good && ok
	}
	kw := make(map[string]any, len(a.o.extra))
	for _, arg := range a.o.extra {
		kw[arg.name], ok = field{a.r, "util.Interpolate: " + arg.name, arg.value, arg.at, false}.data(true)
		good = good && ok
	}
	in, err := expr.ParseInterpolate(string(format), args, kw)
	if err != nil {
		a.r.errorf(f.at, "", "util.Interpolate: %s", err)
		return nil
	}
	for _, name := range in.Names("secret") {
		checkSecret(a, f.at, name)
	}
	if !good {
		return nil
	}
	return in
}

func readProperty(a arguments) any {
	name := a.requiredText("key")
	ref := expr.PropertyRef{Name: name, DefaultWhenFalse: a.flag("defaultWhenFalse", true)}
	if f, ok := a.some("default"); ok {
		v, ok := f.data(true)
		if !ok {
			return nil
		}
		ref.Default = v
	}
	if name == "" {
		return nil
	}
	return ref
}

func readSecretRef(a arguments) any {
	name := a.requiredText("secret_name")
	if name == "" || !checkSecret(a, a.at("secret_name"), name) {
		return nil
	}
	return expr.SecretRef{Name: name}
}

func checkSecret(a arguments, at dialect.Place, name string) bool {
	if _, err := a.r.secrets.Lookup(name); err != nil {
		a.r.errorf(at, "", "%s", err)
		return false
	}
	return true
}

// warnOfShort warns of secrets that a build uses and that logs cannot hide, of
// each once.
func (r *reader) warnOfShort(v any, at dialect.Place) {
	for _, name := range secretsIn(v) {
		if r.short[name] {
			continue
		}
		value, _ := r.secrets.Lookup(name)
		if _, short := dormouse.SecretParts(value); len(short) > 0 {
			if r.short == nil {
				r.short = map[string]bool{}
			}
			r.short[name] = true
			r.warnf(at, "", "secret %q has a part shorter than %d characters, which is not hidden in logs: too much else would be hidden with it",
				name, dormouse.ShortestSecret)
		}
	}
}

// secretsIn are the names of the secrets that a value needs when it is
// rendered.
func secretsIn(v any) []string {
	switch v := v.(type) {
	case expr.SecretRef:
		return []string{v.Name}
	case *expr.Interpolate:
		return slices.Concat(v.Names("secret"), secretsIn(v.Arguments()))
	case expr.PropertyRef:
		return secretsIn(v.Default)
	case expr.Comparison:
		return slices.Concat(secretsIn(v.Left), secretsIn(v.Right))
	case flattened:
		return secretsIn(v.Value)
	case *called:
		return slices.Concat(secretsIn(v.args), secretsIn(v.kw))
	case []any:
		var out []string
		for _, e := range v {
			out = append(out, secretsIn(e)...)
		}
		return out
	case map[string]any:
		var out []string
		for _, k := range sortedKeys(v) {
			out = append(out, secretsIn(v[k])...)
		}
		return out
	}
	return nil
}
