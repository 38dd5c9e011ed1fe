package config

import (
	"math"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

var _ = register(&class{
	name: "schedulers.Triggerable", positional: 2, from: "buildbot.schedulers.triggerable", list: "schedulers",
	params: []param{
		{name: "name", support: required},
		{name: "builderNames", support: required},
		{name: "properties"},
		{name: "codebases"},
		{name: "priority"},
		{name: "reason", support: ignored},
	},
	read: readTriggerable,
})

// triggerable is a Triggerable, with where it is from.
type triggerable struct {
	dormouse.Triggerable
	builders field
}

func readTriggerable(a arguments) any {
	t := &triggerable{}
	t.Name = readSchedulerName(a)
	t.BuilderNames, t.builders = readBuilderNames(a)
	t.Properties = a.data("properties", false)
	t.Codebases = readCodebases(a)
	if f, ok := a.some("priority"); ok {
		t.Priority, _ = f.integer(math.MinInt32, math.MaxInt32)
	}
	return t
}

// readCodebases reads {codebase: {'repository': …, 'branch': …, 'revision': …}}, or a
// list of codebases.
func readCodebases(a arguments) map[string]dormouse.SourceStamp {
	f, ok := a.some("codebases")
	if !ok {
		return nil
	}
	out := map[string]dormouse.SourceStamp{}
	if f.isList() {
		for _, name := range f.texts() {
			out[name] = dormouse.SourceStamp{Codebase: name}
		}
		return out
	}
	names, values := f.pairs()
	for _, name := range names {
		stamp := dormouse.SourceStamp{Codebase: name}
		keys, parts := values[name].pairs()
		for _, key := range keys {
			to := map[string]*string{"repository": &stamp.Repository, "branch": &stamp.Branch, "revision": &stamp.Revision, "project": &stamp.Project}[key]
			if to == nil {
				a.r.errorf(values[name].keyAt(key), dialect.DidYouMean(key, stampFields), "%s has no key %s", values[name].label, quote(key))
				continue
			}
			if !parts[key].none() {
				*to, _ = parts[key].text()
			}
		}
		out[name] = stamp
	}
	return out
}
