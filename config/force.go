package config

import (
	"regexp"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

var _ = register(&class{
	name: "schedulers.ForceScheduler", positional: 2, from: "buildbot.schedulers.forcesched", list: "schedulers",
	params: []param{
		{name: "name", support: required},
		{name: "builderNames", support: required},
		// The rest describes the form on Buildbot's web pages.
		{name: "username", support: ignored},
		{name: "reason", support: ignored},
		{name: "reasonString", support: ignored},
		{name: "buttonName", support: ignored},
		{name: "codebases", support: ignored},
		{name: "label", support: ignored},
		{name: "properties", support: ignored},
		{name: "priority", support: ignored},
		{name: "icon", support: ignored},
	},
	read: readForceScheduler,
})

// The parameters of a ForceScheduler describe the form of Buildbot's web pages that
// forces a build; there is no such form here.
func init() {
	for name := range wordSet(`StringParameter CodebaseParameter FixedParameter ChoiceStringParameter UserNameParameter
		BooleanParameter IntParameter TextParameter NestedParameter FileParameter AnyPropertyParameter InheritBuildParameter
		WorkerChoiceParameter PatchParameter`) {
		register(&class{name: "util." + name, open: true, variadic: true})
	}
}

// scheduler is a ForceScheduler, with where it is from.
type scheduler struct {
	dormouse.ForceScheduler
	builders field
	o        *object
}

// identifier is Buildbot's rule for names of schedulers.
var identifier = regexp.MustCompile(`^[a-zA-Z\x{a0}-\x{10ffff}_-][a-zA-Z0-9\x{a0}-\x{10ffff}_-]*$`)

const maxIdentifier = 50 // characters, as in Buildbot

func readForceScheduler(a arguments) any {
	s := &scheduler{o: a.o}
	s.Name = readSchedulerName(a)
	s.BuilderNames, s.builders = readBuilderNames(a)
	return s
}

func readSchedulerName(a arguments) string {
	name := a.requiredText("name")
	if name != "" && (!identifier.MatchString(name) || utf8.RuneCountInString(name) > maxIdentifier) {
		a.errorf("name", "a name is at most 50 letters, digits, - and _, and does not begin with a digit", "%s cannot name a scheduler", quote(name))
	}
	return name
}

// readBuilderNames reads whom a scheduler is for.
func readBuilderNames(a arguments) (names []string, f field) {
	f, ok := a.field("builderNames")
	if !ok {
		return nil, f
	}
	items, ok := f.items("a list of builders' names")
	if ok && len(items) == 0 {
		f.bad("at least one builder's name")
	}
	if ok {
		names = f.texts()
	}
	return names, f
}
