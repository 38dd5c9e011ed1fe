package config

import (
	"slices"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

var _ = register(&class{
	name: "steps.SetProperty", positional: 2, from: "buildbot.steps.master",
	params: slices.Concat([]param{{name: "property", support: required}, {name: "value", support: required}}, stepParams),
	read:   readSetProperty,
})

var _ = register(&class{
	name: "steps.SetProperties", positional: 1, from: "buildbot.steps.master",
	params: slices.Concat([]param{{name: "properties", support: required}}, stepParams),
	read:   readSetProperties,
})

var _ = register(&class{
	name: "steps.SetPropertyFromCommand", positional: 2, from: shellModule,
	params: slices.Concat([]param{
		{name: "property"},
		{name: "extract_fn"},
		{name: "strip"},
		{name: "includeStdout"},
		{name: "includeStderr"},
	}, commandParams),
	read: readSetPropertyFromCommand,
})

var _ = register(&class{
	name: "steps.Trigger", positional: 1, from: "buildbot.steps.trigger",
	params: slices.Concat([]param{
		{name: "schedulerNames", support: required},
		{name: "sourceStamp"},
		{name: "sourceStamps"},
		{name: "updateSourceStamp"},
		{name: "alwaysUseLatest"},
		{name: "waitForFinish"},
		{name: "set_properties"},
		{name: "copy_properties"},
		{name: "parent_relationship", support: ignored},
		{name: "unimportantSchedulerNames"},
	}, stepParams),
	read: readTrigger,
})

func readSetProperty(a arguments) any {
	s := readStep(a, dormouse.StepSpec{Name: "SetProperty", FlunkOnFailure: true, Description: "Setting", DescriptionDone: "Set"})
	name := a.requiredText("property")
	var value any
	if f, ok := a.field("value"); ok {
		value, _ = f.data(true)
	}
	s.Action = dormouse.SetProperty{Values: map[string]any{name: value}}
	return s
}

func readSetProperties(a arguments) any {
	s := readStep(a, dormouse.StepSpec{
		Name: "SetProperties", FlunkOnFailure: true,
		Description: "Setting Properties..", DescriptionDone: "Properties Set",
	})
	action := dormouse.SetProperty{}
	if f, ok := a.some("properties"); ok {
		if _, isDict := f.v.(*starlark.Dict); isDict {
			action.Values = a.data("properties", true)
		} else if o, isObject := f.v.(*object); isObject {
			if rendered, ok := f.r.renderable(o); ok {
				action.All, _ = f.allowed(rendered, true)
			} else {
				f.bad("a dictionary")
			}
		} else {
			f.bad("a dictionary")
		}
	}
	s.Action = action
	return s
}

func readSetPropertyFromCommand(a arguments) any {
	s := readStep(a, dormouse.StepSpec{Name: "setproperty", FlunkOnFailure: true})
	c := dormouse.SetPropertyFromCommand{
		ShellCommand:  readShell(a, readCommand(a, nil)),
		Property:      a.text("property", ""),
		Strip:         a.flag("strip", true),
		IncludeStdout: a.flag("includeStdout", true),
		IncludeStderr: a.flag("includeStderr", false),
	}
	switch property, extract := a.given("property"), a.given("extract_fn"); {
	case property && extract:
		a.errorf("extract_fn", "", "either property or extract_fn is given, not both")
	case !property && !extract:
		a.r.errorf(a.o.at, "", "%s needs one of the arguments property and extract_fn", a.o.class.name)
	case extract:
		c.Extract = readExtractor(a)
	}
	s.Action = c
	return s
}

func readTrigger(a arguments) any {
	s := readStep(a, dormouse.StepSpec{Name: "trigger", FlunkOnFailure: true, Description: "running"})
	t := dormouse.Trigger{
		Schedulers:    a.names("schedulerNames"),
		Unimportant:   a.names("unimportantSchedulerNames"),
		WaitForFinish: a.flag("waitForFinish", false), AlwaysUseLatest: a.flag("alwaysUseLatest", false),
		SetProperties: a.data("set_properties", true), CopyProperties: a.texts("copy_properties"),
	}
	for _, name := range []string{"sourceStamp", "sourceStamps"} {
		t.SourceStamps = append(t.SourceStamps, readSourceStamps(a, name)...)
	}
	for what, v := range map[string]any{"set_properties": t.SetProperties, "sourceStamps": t.SourceStamps} {
		if names := secretsIn(v); len(names) > 0 {
			a.errorf(what, "give the builder that is triggered a util.Secret of its own", "%s cannot hold a secret (%s): it is shown with the build", what, names[0])
		}
	}
	own := len(t.SourceStamps) > 0
	t.UpdateSourceStamp = a.flag("updateSourceStamp", !own && !t.AlwaysUseLatest)
	switch {
	case a.given("schedulerNames") && len(t.Schedulers) == 0:
		f, _ := a.field("schedulerNames")
		f.bad("at least one scheduler's name")
	case own && a.given("updateSourceStamp"):
		a.errorf("updateSourceStamp", "", "updateSourceStamp has no meaning beside sourceStamps")
	case own && t.AlwaysUseLatest:
		a.errorf("alwaysUseLatest", "", "alwaysUseLatest has no meaning beside sourceStamps")
	case t.AlwaysUseLatest && a.given("updateSourceStamp"):
		a.errorf("updateSourceStamp", "", "updateSourceStamp has no meaning beside alwaysUseLatest")
	}
	for i, name := range t.Unimportant {
		if text, ok := name.(string); ok && !slices.ContainsFunc(t.Schedulers, func(v any) bool { _, fixed := v.(string); return !fixed || v == text }) {
			f, _ := a.field("unimportantSchedulerNames")
			a.r.errorf(f.at.Item(i, len(t.Unimportant)), "", "%s: %s is not among schedulerNames", f.label, quote(text))
		}
	}
	s.Action = t
	return s
}

// stampFields are the parts of a source stamp.
var stampFields = []string{"codebase", "repository", "branch", "revision", "project"}

// readSourceStamps reads a source stamp, or a list of them.
func readSourceStamps(a arguments, arg string) []any {
	f, ok := a.some(arg)
	if !ok {
		return nil
	}
	items := []field{f}
	if arg == "sourceStamps" {
		items, _ = f.items("a list of source stamps")
	}
	var out []any
	for _, item := range items {
		v, ok := item.data(true)
		if !ok {
			continue
		}
		if stamp, isMap := v.(map[string]any); isMap {
			for _, key := range sortedKeys(stamp) {
				if !slices.Contains(stampFields, key) {
					a.r.errorf(item.keyAt(key), dialect.DidYouMean(key, stampFields), "%s: a source stamp has no %s", f.label, quote(key))
				}
			}
		} else if _, later := v.(expr.Renderable); !later {
			item.bad("a dictionary, such as {'repository': …, 'branch': …}")
			continue
		}
		out = append(out, v)
	}
	return out
}
