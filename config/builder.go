package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
)

var factoryClass = register(&class{
	name: "util.BuildFactory", positional: 1, from: "buildbot.process.factory",
	params: []param{{name: "steps"}},
	attrs:  map[string]method{"addStep": ofOne("addStep", addStep), "addSteps": ofOne("addSteps", addSteps)},
	read:   readFactory,
})

var _ = register(&class{
	name: "util.BuilderConfig", from: "buildbot.config", list: "builders",
	positional: 16, // Buildbot's own parameters, in its order
	params: []param{
		{name: "name", support: required},
		{name: "workername"},
		{name: "workernames"},
		{name: "builddir"},
		{name: "workerbuilddir"},
		{name: "factory", support: required},
		{name: "tags"},
		{name: "nextWorker"},
		{name: "nextBuild"},
		{name: "locks"},
		{name: "env"},
		{name: "properties"},
		{name: "collapseRequests"},
		{name: "description"},
		{name: "canStartBuild"},
		{name: "defaultProperties"},
		{name: "maxRetries"}, // ours
	},
	read: readBuilder,
})

// maxFactorySteps of one factory: a build shows each, and so many are a loop gone
// wrong.
const maxFactorySteps = 10_000

func addStep(self *object, step argument) error {
	if len(self.steps) >= maxFactorySteps {
		return fmt.Errorf("a factory can have %d steps", maxFactorySteps)
	}
	self.steps = append(self.steps, step)
	return nil
}

func addSteps(self *object, steps argument) error {
	seq, ok := steps.value.(starlark.Iterable)
	if !ok {
		return fmt.Errorf("util.BuildFactory.addSteps needs a list of steps, got a value of type %s", steps.value.Type())
	}
	n, i := starlark.Len(seq), 0
	for v := range starlark.Elements(seq) {
		if err := addStep(self, argument{steps.name, v, steps.at.Item(i, n)}); err != nil {
			return err
		}
		i++
	}
	return nil
}

// readFactory reads the steps, those of the list first.
func readFactory(a arguments) any {
	var list []argument
	if f, ok := a.some("steps"); ok {
		items, _ := f.items("a list of steps")
		for _, item := range items {
			list = append(list, argument{"steps", item.v, item.at})
		}
	}
	var specs []dormouse.StepSpec
	for _, arg := range append(list, a.o.steps...) {
		o, ok := arg.value.(*object)
		if ok && o.class.later {
			continue
		}
		if ok {
			if spec, isStep := a.r.value(o).(dormouse.StepSpec); isStep {
				specs = append(specs, spec)
				continue
			}
		}
		field{a.r, "util.BuildFactory: a step", arg.value, arg.at, false}.bad("one of steps.ShellCommand, steps.Git, …")
	}
	return uniqueNames(specs)
}

// uniqueNames numbers steps whose name another has: shell, shell_1, shell_2.
func uniqueNames(specs []dormouse.StepSpec) []dormouse.StepSpec {
	used := make(map[string]bool, len(specs))
	next := make(map[string]int)
	for i := range specs {
		name := specs[i].Name
		for used[specs[i].Name] {
			next[name]++
			specs[i].Name = fmt.Sprintf("%s_%d", name, next[name])
		}
		used[specs[i].Name] = true
	}
	return specs
}

// builder is what a BuilderConfig was read as, with what is judged only when
// all else is known.
type builder struct {
	dormouse.Builder
	collapse *bool
	retries  *int
	// collapseBy, if not nil, makes the function that says which requests may be
	// merged.
	collapseBy func(builder string) func(newer, older dormouse.BuildRequest) (bool, error)
	o          *object
}

func readBuilder(a arguments) any {
	b := &builder{o: a.o}
	b.Name = readBuilderName(a)
	b.Description = a.text("description", "")
	b.WorkerNames = readWorkerNames(a)
	b.BuildDir = readBuildDir(a, b.Name)
	b.Tags = a.texts("tags")
	b.Env = readEnv(a)
	b.Properties = readOwnProperties(a, "properties")
	b.DefaultProperties = readOwnProperties(a, "defaultProperties")
	b.Locks = readLockAccesses(a)
	b.Choose = readChoices(a, b.Name)
	if f, ok := a.some("maxRetries"); ok {
		b.retries = f.retries()
	}
	if f, ok := a.some("collapseRequests"); ok {
		b.collapse, b.collapseBy = f.collapse()
	}
	if f, ok := a.field("factory"); ok {
		o, isObject := f.v.(*object)
		if isObject && o.class == factoryClass {
			b.Steps, _ = a.r.value(o).([]dormouse.StepSpec) // shared by all that have the factory
		} else if !isObject || !o.class.later {
			f.bad("made by util.BuildFactory")
		}
	}
	return b
}

// collapse reads whether requests may be merged: True, False, or a function that
// says which.
func (f field) collapse() (*bool, func(string) func(newer, older dormouse.BuildRequest) (bool, error)) {
	if _, ok := f.v.(starlark.Callable); ok {
		by := f.collapseFunction()
		return new(true), by
	}
	if v, ok := f.flag(); ok {
		return &v, nil
	}
	return nil, nil
}

// defaultRetries is how often a request is tried again whose build has lost its
// worker: a machine that dies is bad luck, and the fourth under the same build is
// the build.
const defaultRetries = 3

// mostRetries is beyond what any pause between tries leaves a use for.
const mostRetries = 1000

// retries reads maxRetries.
func (f field) retries() *int {
	if n, ok := f.integer(0, mostRetries); ok {
		return &n
	}
	return nil
}

func readBuilderName(a arguments) string {
	name := a.requiredText("name")
	switch {
	case strings.HasPrefix(name, "_"):
		a.errorf("name", "", "%s cannot name a builder: names do not begin with an underscore", quote(name))
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		a.errorf("name", "", "%s cannot name a builder: it has characters that cannot be shown", quote(name))
	}
	return name
}

func readWorkerNames(a arguments) []string {
	names := a.texts("workernames")
	if f, ok := a.some("workername"); ok {
		if name, ok := f.text(); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 && !a.given("workername") && (!a.given("workernames") || starlark.Len(a.o.args["workernames"].value) == 0) {
		a.errorf("workernames", "name at least one in workernames", "the builder has no workers")
	}
	return names
}

// readBuildDir is the directory on the worker, Buildbot's workerbuilddir; builddir
// is its default there, and here, where the master has no such directory, the
// same thing.
func readBuildDir(a arguments, name string) string {
	for _, arg := range []string{"workerbuilddir", "builddir"} {
		f, ok := a.some(arg)
		if !ok {
			continue
		}
		dir, ok := f.text()
		if !ok {
			continue
		}
		if clean := path.Clean(dir); path.IsAbs(dir) || clean == ".." || strings.HasPrefix(clean, "../") || clean == "." || strings.ContainsAny(dir, "\\\x00") {
			f.bad("a directory below the worker's own")
		}
		return dir
	}
	return safeDir(name)
}

// safeDir replaces what has a meaning to shells and file systems.
func safeDir(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\t !#$%&'()*+,./:;<=>?@[\\]^{|}~", r) {
			return '_'
		}
		return r
	}, name)
}

// readOwnProperties reads properties that a builder gives its builds.
func readOwnProperties(a arguments, name string) map[string]any {
	own := a.properties(name)
	for _, n := range sortedKeys(own) {
		if dormouse.IsBuildFact(n) {
			f, _ := a.some(name)
			a.r.warnf(f.keyAt(n), "give it another name", "the property %s has no effect: it says what a build is of and where it runs", n)
		}
	}
	return own
}
