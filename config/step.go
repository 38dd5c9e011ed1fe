package config

import (
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
)

// stepParams are what every step takes.
var stepParams = []param{
	{name: "name"},
	{name: "haltOnFailure"},
	{name: "flunkOnFailure"},
	{name: "warnOnFailure"},
	{name: "flunkOnWarnings"},
	{name: "warnOnWarnings"},
	{name: "alwaysRun"},
	{name: "description"},
	{name: "descriptionDone"},
	{name: "descriptionSuffix"},
	{name: "doStepIf"},
	{name: "hideStepIf"},
	{name: "locks", support: later},
	{name: "logEncoding", support: later},
	{name: "useProgress", support: ignored},
	{name: "progressMetrics", support: ignored},
	{name: "updateBuildSummaryPolicy", support: ignored},
}

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

var warningParams = []param{
	{name: "warningPattern"},
	{name: "warningExtractor", support: later},
	{name: "maxWarnCount"},
	{name: "directoryEnterPattern", support: later},
	{name: "directoryLeavePattern", support: later},
	{name: "suppressionFile", support: later},
	{name: "suppressionList", support: later},
}

var (
	shellClass   = &class{name: "steps.ShellCommand", params: commandParams}
	compileClass = &class{name: "steps.Compile", params: slices.Concat(commandParams, warningParams)}
	testClass    = &class{name: "steps.Test", params: slices.Concat(commandParams, warningParams)}
	gitClass     = &class{
		name: "steps.Git", positional: 4,
		params: slices.Concat([]param{
			{name: "repourl", support: required},
			{name: "branch"},
			{name: "mode"},
			{name: "method"},
			{name: "reference"},
			{name: "submodules"},
			{name: "remoteSubmodules"},
			{name: "shallow"},
			{name: "filters"},
			{name: "progress"},
			{name: "retryFetch"},
			{name: "clobberOnFailure"},
			{name: "getDescription"},
			{name: "config"},
			{name: "origin"},
			{name: "sshPrivateKey", secret: true},
			{name: "sshHostKey"},
			{name: "sshKnownHosts"},
			{name: "auth_credentials", secret: true},
			{name: "tags"},
			{name: "workdir"},
			{name: "alwaysUseLatest"},
			{name: "timeout"},
			{name: "retry"},
			{name: "env"},
			{name: "logEnviron"},
			{name: "codebase"},
		}, stepParams),
	}
)

// defaultStepTimeout is Buildbot's limit on a command's silence.
const defaultStepTimeout = 20 * time.Minute

// readStep reads what all steps have in common; def has the class's defaults.
func readStep(a arguments, def dormouse.StepSpec) dormouse.StepSpec {
	s := dormouse.StepSpec{
		Name:            a.text("name", def.Name),
		HaltOnFailure:   a.flag("haltOnFailure", def.HaltOnFailure),
		FlunkOnFailure:  a.flag("flunkOnFailure", def.FlunkOnFailure),
		WarnOnFailure:   a.flag("warnOnFailure", def.WarnOnFailure),
		FlunkOnWarnings: a.flag("flunkOnWarnings", def.FlunkOnWarnings),
		WarnOnWarnings:  a.flag("warnOnWarnings", def.WarnOnWarnings),
		AlwaysRun:       a.flag("alwaysRun", def.AlwaysRun),
		Description:     a.words("description", def.Description),
		DescriptionDone: a.words("descriptionDone", def.DescriptionDone),
		Pos:             a.r.pos(a.o.at),
	}
	if suffix := a.words("descriptionSuffix", ""); suffix != "" {
		s.Description = strings.TrimSpace(s.Description + " " + suffix)
		s.DescriptionDone = strings.TrimSpace(s.DescriptionDone + " " + suffix)
	}
	s.DoStepIf = readCondition(a, "doStepIf", doStepIf, true)
	s.HideStepIf = readCondition(a, "hideStepIf", hideStepIf, false)
	return s
}

// words reads a string, or a list of strings that are joined with blanks.
func (a arguments) words(name, def string) string {
	f, ok := a.some(name)
	if !ok {
		return def
	}
	if s, one := f.v.(starlark.String); one {
		return string(s)
	}
	items, _ := f.items("a string or a list of strings")
	var words []string
	for _, item := range items {
		if s, ok := item.text(); ok {
			words = append(words, s)
		}
	}
	return strings.Join(words, " ")
}

func readShellCommand(a arguments, def dormouse.StepSpec, command any) any {
	s := readStep(a, def)
	s.Action = readShell(a, readCommand(a, command))
	return s
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
		checkCommandWords(a, f, 0)
		c, _ := f.data(true)
		return c
	}
	f.bad("a string, a list of strings, or made by util.Interpolate, util.Property, util.renderer or util.Secret")
	return nil
}

// checkCommandWords checks the elements of a command: strings, or what becomes
// them, or lists of them.
func checkCommandWords(a arguments, f field, depth int) {
	items, _ := f.items("a list of strings")
	for _, item := range items {
		switch item.v.(type) {
		case *starlark.List, starlark.Tuple:
			if depth < maxNested { // deeper ones are reported as data
				checkCommandWords(a, item, depth+1)
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
			a.r.errorf(f.keyAt(name), "", "%s: %s can not name an environment variable", f.label, quote(name))
			continue
		}
		switch v.v.(type) {
		case *starlark.List, starlark.Tuple:
			checkCommandWords(a, v, maxNested)
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

func readGit(a arguments) any {
	s := readStep(a, dormouse.StepSpec{
		Name: "git", HaltOnFailure: true, FlunkOnFailure: true,
		Description: "updating", DescriptionDone: "update",
	})
	g := dormouse.Git{
		RepoURL:          readRepository(a),
		Branch:           a.dynamicText("branch"),
		WorkDir:          readWorkDir(a),
		AlwaysUseLatest:  a.flag("alwaysUseLatest", false),
		Shallow:          readShallow(a),
		Filters:          readFilters(a),
		Reference:        readPath(a, "reference"),
		Origin:           readRemoteName(a),
		Submodules:       a.flag("submodules", false),
		RemoteSubmodules: a.flag("remoteSubmodules", false),
		Description:      readGitDescription(a),
		Config:           readGitConfig(a),
		RetryFetch:       a.flag("retryFetch", false),
		ClobberOnFailure: a.flag("clobberOnFailure", false),
		Progress:         a.flag("progress", true),
		LogEnviron:       a.flag("logEnviron", true),
		Timeout:          a.limit("timeout", defaultStepTimeout, positive),
		Env:              readEnv(a),
	}
	if g.Branch == "HEAD" {
		g.Branch = nil // Buildbot's name of the remote's default
	}
	if a.given("tags") {
		g.Tags = new(a.flag("tags", false))
	}
	if g.RemoteSubmodules && !g.Submodules {
		a.errorf("remoteSubmodules", "add submodules=True", "remoteSubmodules has a meaning with submodules only")
	}
	readGitMethod(a, &g)
	readGitRetry(a, &g)
	readGitKeys(a, &g)
	readGitCredentials(a, &g)
	if f, ok := a.some("codebase"); ok {
		cb, isText := f.v.(starlark.String)
		if !isText {
			f.bad("a string")
		}
		g.Codebase = string(cb)
	}
	if g.Codebase != "" && !a.given("name") {
		s.Name += "-" + g.Codebase
	}
	s.Action = g
	return s
}
