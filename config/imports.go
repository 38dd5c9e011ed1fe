package config

import (
	"strings"
	"sync"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

// vocabulary is what the dialect is told of Buildbot.
var vocabulary = sync.OnceValue(func() *dialect.Vocabulary {
	modules := importable()
	return &dialect.Vocabulary{
		Dictionary: []string{configName, configShort},
		Modules:    modules,
		Whole:      wholeModules,
		Decorators: []string{"util.renderer", "renderer", "properties.renderer"},
		NoModule:   noModule,
		Undefined:  func(name string) string { return undefined(name, modules) },
		Hints: map[string]string{
			"class":      "write a function that returns a dictionary or a built step",
			"with":       "secrets and files are read by util.Secret('name')",
			"open":       unreachableSystem,
			"eval":       unreachableSystem,
			"exec":       unreachableSystem,
			"__import__": unreachableSystem,
		},
	}
})

const unreachableSystem = "a configuration cannot reach the system; secrets come from util.Secret('name')"

// importable are the modules that "from MODULE import NAME" knows, and the
// predeclared name of each NAME. Besides buildbot.plugins these are older and
// longer ways to the same things.
func importable() map[string]map[string]string {
	modules := map[string]map[string]string{
		"buildbot.plugins":         pluginModules,
		"buildbot.process.results": resultNames,
		"boto3":                    {"Session": "boto3.Session", "session": "boto3.session"},
		"os":                       {"environ": "os.environ"},
	}
	for _, c := range registered {
		if c.from == "" {
			continue
		}
		if modules[c.from] == nil {
			modules[c.from] = make(map[string]string)
		}
		_, name := c.module()
		modules[c.from][name] = c.name
	}
	return modules
}

// pluginModules are the parts of buildbot.plugins, each under its own name.
var pluginModules = map[string]string{
	"worker": "buildbot.worker", "steps": "buildbot.steps", "util": "buildbot.util",
	"schedulers": "buildbot.schedulers", "changes": "buildbot.changes",
	"reporters": "buildbot.reporters", "secrets": "buildbot.secrets", "www": "buildbot.www",
}

// wholeModules are what "import MODULE" knows.
var wholeModules = map[string]string{"boto3": "boto3", "os": "os", "boto3.session": "boto3.session"}

// nothingHere are modules of Python that configurations import, and what to
// write instead of what they are imported for.
var nothingHere = map[string]string{
	"sys":      "a configuration cannot reach the system",
	"json":     "write the value as a dictionary",
	"re":       "strings have split, partition, startswith and replace",
	"datetime": "times are numbers of seconds",
	"random":   "a configuration gives the same result each time it is read",
	"time":     "a configuration gives the same result each time it is read",
	"twisted":  "functions return their value at once: leave defer, yield and await out",
}

// noModule says what to do about a module that is not here.
func noModule(path string) string {
	top, _, _ := strings.Cut(path, ".")
	switch hint := nothingHere[top]; {
	case hint != "":
		return hint
	case path == "buildbot":
		return "write from buildbot.plugins import worker, steps, util, schedulers"
	case top == "buildbot":
		return "most of Buildbot is in buildbot.plugins: worker, steps, util, schedulers"
	}
	return "there are buildbot.plugins, boto3 and os"
}

// undefined says how a name that Buildbot's configurations use comes to be
// defined.
func undefined(name string, modules map[string]map[string]string) string {
	switch {
	case name == configShort || name == configName:
		return "begin the file with c = BuildmasterConfig = {}"
	case pluginModules[name] != "":
		return "write from buildbot.plugins import " + name
	case wholeModules[name] != "":
		return "write import " + name
	}
	for path, names := range modules {
		if names[name] != "" && strings.HasPrefix(path, "buildbot.") {
			return "write from " + path + " import " + name
		}
	}
	return ""
}
