package config

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// commandParams are what every step takes that is one command.
var commandParams = slices.Concat([]param{
	{name: "command"},
	{name: "workdir"},
	{name: "env"},
	{name: "want_stdout"},
	{name: "want_stderr"},
	{name: "usePTY"},
	{name: "logfiles"},
	{name: "lazylogfiles"},
	{name: "timeout"},
	{name: "maxTime"},
	{name: "max_lines"},
	{name: "logEnviron"},
	{name: "interruptSignal"},
	{name: "sigtermTime"},
	{name: "initialStdin"},
	{name: "decodeRC"},
}, stepParams)

// shellParams are what a step takes that runs commands, but for the command.
var shellParams = slices.DeleteFunc(slices.Clone(commandParams), func(p param) bool { return p.name == "command" })

var warningParams = []param{
	{name: "warningPattern"},
	{name: "warningExtractor", support: later, advice: "use `warningPattern`; a warning is its line"},
	{name: "maxWarnCount"},
	{name: "directoryEnterPattern", support: later, advice: "use a command that prints whole paths, as `make` does with `CURDIR` in its rules"},
	{name: "directoryLeavePattern", support: later, advice: "use a command that prints whole paths, as `make` does with `CURDIR` in its rules"},
	{name: "suppressionFile", support: later, advice: "use a narrower `warningPattern`, or the compiler's own means"},
	{name: "suppressionList", support: later, advice: "use a narrower `warningPattern`, or the compiler's own means"},
}

var _ = register(&class{
	name: "steps.ShellCommand", from: shellModule,
	params: commandParams,
	read:   shellStep(dormouse.StepSpec{Name: "shell", FlunkOnFailure: true}, nil),
})

var _ = register(&class{
	name: "steps.Configure", from: shellModule,
	params: commandParams,
	read:   shellStep(onFailure("configure", "configuring", "configure"), []any{"./configure"}),
})

var _ = register(&class{
	name: "steps.Compile", from: shellModule,
	params: slices.Concat(commandParams, warningParams),
	read:   shellStep(onFailure("compile", "compiling", "compile"), []any{"make", "all"}),
})

var _ = register(&class{
	name: "steps.Test", from: shellModule,
	params: slices.Concat(commandParams, warningParams),
	read: shellStep(dormouse.StepSpec{
		Name: "test", FlunkOnFailure: true, WarnOnFailure: true,
		Description: "testing", DescriptionDone: "test",
	}, []any{"make", "test"}),
})

var _ = register(&class{
	name: "steps.WarningCountingShellCommand", from: shellModule,
	params: slices.Concat(commandParams, warningParams),
	read:   shellStep(dormouse.StepSpec{Name: "generic", FlunkOnFailure: true}, nil),
})

var _ = register(&class{
	name: "steps.ShellSequence", positional: 1, from: "buildbot.steps.shellsequence",
	params: slices.Concat([]param{{name: "commands", support: required}}, shellParams),
	read:   readShellSequence,
})

// shellArgClass is one command of a ShellSequence.
var shellArgClass = register(&class{
	name: "util.ShellArg", positional: 2, from: "buildbot.steps.shellsequence",
	params: []param{
		{name: "command", support: required},
		{name: "logname"},
		{name: "haltOnFailure"},
		{name: "flunkOnFailure"},
		{name: "warnOnFailure"},
		{name: "flunkOnWarnings"},
		{name: "warnOnWarnings"},
	},
	read: readShellArg,
})

var _ = register(&class{
	name: "steps.MasterShellCommand", positional: 1, from: "buildbot.steps.master",
	params: slices.Concat([]param{
		{name: "command", support: required},
		{name: "env"},
		{name: "workdir"},
		{name: "usePTY", support: later, advice: "use `script -qec 'COMMAND' /dev/null`"},
		{name: "interruptSignal"},
		{name: "logEnviron"},
	}, stepParams),
	read: readMasterShellCommand,
})

// shellModule is where Buildbot has most steps that run a command.
const shellModule = "buildbot.steps.shell"

// defaultStepTimeout is Buildbot's limit on a command's silence.
const defaultStepTimeout = 20 * time.Minute

// shellStep reads a step that runs one command, which is the one given here where
// the step names none; def has the class's defaults.
func shellStep(def dormouse.StepSpec, command any) func(arguments) any {
	return func(a arguments) any {
		s := readStep(a, def)
		s.Action = readShell(a, readCommand(a, command))
		return s
	}
}

// readShell reads what all steps have in common that run a command.
func readShell(a arguments, command any) dormouse.ShellCommand {
	return dormouse.ShellCommand{
		Command:      command,
		WorkDir:      readWorkDir(a),
		Env:          readEnv(a),
		Timeout:      a.limit("timeout", defaultStepTimeout, positive),
		MaxTime:      a.limit("maxTime", 0, positive),
		SigtermTime:  a.limit("sigtermTime", 0, notNegative),
		MaxLines:     a.count("max_lines", 0),
		DecodeRC:     readDecodeRC(a),
		LogEnviron:   a.flag("logEnviron", true),
		WantStdout:   a.flag("want_stdout", true),
		WantStderr:   a.flag("want_stderr", true),
		InitialStdin: a.dynamicText("initialStdin"),
		UsePTY:       a.flag("usePTY", false),
		LogFiles:     readLogFiles(a),
		LazyLogFiles: a.flag("lazylogfiles", false),
		Warnings:     readWarnings(a),

		InterruptSignal: readSignal(a),
	}
}

// readCommand reads a string or a list, and refuses what could never run.
func readCommand(a arguments, def any) any {
	f, ok := a.some("command")
	switch {
	case !ok && def != nil:
		return def
	case !ok:
		a.r.errorf(a.o.at, "", "%s needs the argument command", a.o.class.name)
		return nil
	}
	switch v := f.v.(type) {
	case starlark.String, *object:
		c, _ := f.dynamicText()
		if c == "" {
			f.bad("a command")
		}
		return c
	case *starlark.List, starlark.Tuple:
		if starlark.Len(v) == 0 {
			f.bad("a command")
		}
		checkCommandWords(f, 0)
		c, _ := f.data(true)
		return c
	}
	f.bad("a string, a list of strings, or made by util.Interpolate, util.Property, util.renderer or util.Secret")
	return nil
}

// checkCommandWords checks the elements of a command: strings, or what becomes
// them, or lists of them.
func checkCommandWords(f field, depth int) {
	items, _ := f.items("a list of strings")
	for _, item := range items {
		switch item.v.(type) {
		case *starlark.List, starlark.Tuple:
			if depth < maxNested { // deeper ones are reported as data
				checkCommandWords(item, depth+1)
			}
		case starlark.String:
		default:
			item.dynamicText()
		}
	}
}

func readWorkDir(a arguments) any {
	dir := a.dynamicText("workdir")
	if s, ok := dir.(string); ok && (s == "" || strings.ContainsRune(s, 0)) {
		f, _ := a.field("workdir")
		f.bad("a directory")
	}
	return dir
}

// readEnv reads environment variables. A list is joined with the path separator,
// and None removes a variable.
func readEnv(a arguments) map[string]any {
	f, ok := a.some("env")
	if !ok {
		return nil
	}
	names, values := f.pairs()
	out := make(map[string]any, len(names))
	for _, name := range names {
		v := values[name]
		if name == "" || strings.ContainsAny(name, "=\x00") {
			a.r.errorf(f.keyAt(name), "", "%s: %s cannot name an environment variable", f.label, quote(name))
			continue
		}
		switch v.v.(type) {
		case *starlark.List, starlark.Tuple:
			checkCommandWords(v, maxNested)
			out[name], _ = v.data(true)
		case starlark.NoneType:
			out[name] = nil
		case starlark.String, *object:
			out[name], _ = v.dynamicText()
		default:
			v.bad("a string, a list of strings, None, or made by util.Interpolate, util.Property, util.renderer or util.Secret")
		}
	}
	return out
}

// readDecodeRC reads results by exit code.
func readDecodeRC(a arguments) map[int]dormouse.Result {
	f, ok := a.some("decodeRC")
	if !ok {
		return map[int]dormouse.Result{0: dormouse.Success}
	}
	d, ok := f.v.(*starlark.Dict)
	if !ok {
		f.bad("a dictionary of results by exit code")
		return nil
	}
	const lowest, highest = -255, 1 << 30 // a signal is a negative code, Windows has large ones
	out := make(map[int]dormouse.Result, d.Len())
	for _, item := range d.Items() {
		code, okCode := f.part(f.label+": an exit code", item[0], f.at).integer(lowest, highest)
		result, okResult := f.part(f.label+": a result", item[1], f.at).integer(int(dormouse.Success), int(dormouse.Cancelled))
		if okCode && okResult {
			out[code] = dormouse.Result(result)
		}
	}
	return out
}

// readSignal reads the name of a signal.
func readSignal(a arguments) string {
	f, ok := a.some("interruptSignal")
	if !ok {
		return ""
	}
	return f.oneOf("KILL", "TERM", "INT", "HUP", "QUIT")
}

// readLogFiles reads {name: path} or {name: {'filename': path, 'follow': True}}.
func readLogFiles(a arguments) map[string]dormouse.LogFile {
	f, ok := a.some("logfiles")
	if !ok {
		return nil
	}
	names, values := f.pairs()
	out := make(map[string]dormouse.LogFile, len(names))
	for _, name := range names {
		v := values[name]
		if name == "" || name == "stdio" {
			a.r.errorf(f.keyAt(name), "", "%s: %s cannot name the log of a file", f.label, quote(name))
			continue
		}
		if _, isDict := v.v.(*starlark.Dict); !isDict {
			path, _ := v.dynamicText()
			out[name] = dormouse.LogFile{Path: path}
			continue
		}
		keys, parts := v.pairs()
		file := dormouse.LogFile{}
		for _, key := range keys {
			switch key {
			case "filename":
				file.Path, _ = parts[key].dynamicText()
			case "follow":
				file.Follow, _ = parts[key].flag()
			default:
				a.r.errorf(v.keyAt(key), dialect.DidYouMean(key, []string{"filename", "follow"}), "%s has no key %s", v.label, quote(key))
			}
		}
		if _, named := parts["filename"]; !named {
			v.bad("a dictionary with the key 'filename'")
		}
		out[name] = file
	}
	return out
}

// defaultWarnings is Buildbot's pattern of a line that is a warning.
const defaultWarnings = `(?i).*warning[: ].*`

// readWarnings reads the rule by which a step counts warnings; nil of a class that
// does not.
func readWarnings(a arguments) *dormouse.WarningRule {
	if _, counts := a.o.class.param("warningPattern"); !counts {
		return nil
	}
	rule := &dormouse.WarningRule{Pattern: defaultWarnings, MaxCount: -1}
	if f, ok := a.some("warningPattern"); ok {
		if s, ok := f.text(); ok {
			rule.Pattern = s
			if _, err := regexp.Compile(s); err != nil {
				a.errorf("warningPattern", "Go's regular expressions have no lookaround and no backreferences", "warningPattern: %s", err)
			}
		}
	}
	if f, ok := a.some("maxWarnCount"); ok {
		rule.MaxCount, _ = f.integer(0, 1<<30)
	}
	return rule
}

func readShellSequence(a arguments) any {
	s := readStep(a, dormouse.StepSpec{Name: "shell_sequence", FlunkOnFailure: true})
	seq := dormouse.ShellSequence{Common: readShell(a, nil)}
	if f, ok := a.field("commands"); ok {
		items, _ := f.items("a list of util.ShellArg")
		for _, item := range items {
			o, isObject := item.v.(*object)
			if isObject && o.class == shellArgClass {
				if arg, ok := a.r.value(o).(dormouse.ShellArg); ok {
					seq.Commands = append(seq.Commands, arg)
					continue
				}
			}
			item.bad("made by util.ShellArg")
		}
	}
	s.Action = seq
	return s
}

func readShellArg(a arguments) any {
	return dormouse.ShellArg{
		Command:         readCommand(a, nil),
		LogName:         a.dynamicText("logname"),
		HaltOnFailure:   a.flag("haltOnFailure", false),
		FlunkOnFailure:  a.flag("flunkOnFailure", true),
		WarnOnFailure:   a.flag("warnOnFailure", false),
		FlunkOnWarnings: a.flag("flunkOnWarnings", false),
		WarnOnWarnings:  a.flag("warnOnWarnings", false),
	}
}

func readMasterShellCommand(a arguments) any {
	s := readStep(a, onFailure("MasterShellCommand", "Running", "Ran"))
	s.Action = dormouse.MasterShellCommand{
		Command: readCommand(a, nil), Env: readEnv(a), WorkDir: readWorkDir(a),
		InterruptSignal: readSignal(a), LogEnviron: a.flag("logEnviron", true),
	}
	return s
}
