package config

import (
	"regexp"
	"slices"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

// shellParams are what a step takes that runs commands, but for the command.
var shellParams = slices.DeleteFunc(slices.Clone(commandParams), func(p param) bool { return p.name == "command" })

// uploadParams are what each step takes that uploads files, after where from and
// where to.
var uploadParams = slices.Concat([]param{
	{name: "workdir"},
	{name: "maxsize"},
	{name: "blocksize"},
	// Links shown with the step: an artifact is listed with its build anyway.
	{name: "url", support: ignored},
	{name: "urlText", support: ignored},
}, stepParams)

var downloadParams = slices.Concat([]param{
	{name: "workerdest", support: required},
	{name: "workdir"},
	{name: "maxsize"},
	{name: "blocksize"},
	{name: "mode"},
}, stepParams)

var (
	warningClass   = &class{name: "steps.WarningCountingShellCommand", params: slices.Concat(commandParams, warningParams)}
	configureClass = &class{name: "steps.Configure", params: commandParams}
	sequenceClass  = &class{
		name: "steps.ShellSequence", positional: 1,
		params: slices.Concat([]param{{name: "commands", support: required}}, shellParams),
	}
	shellArgClass = &class{
		name: "util.ShellArg", positional: 2,
		params: []param{
			{name: "command", support: required},
			{name: "logname"},
			{name: "haltOnFailure"},
			{name: "flunkOnFailure"},
			{name: "warnOnFailure"},
			{name: "flunkOnWarnings"},
			{name: "warnOnWarnings"},
		},
	}
	setPropertyClass = &class{
		name: "steps.SetProperty", positional: 2,
		params: slices.Concat([]param{{name: "property", support: required}, {name: "value", support: required}}, stepParams),
	}
	setPropertiesClass = &class{
		name: "steps.SetProperties", positional: 1,
		params: slices.Concat([]param{{name: "properties", support: required}}, stepParams),
	}
	fromCommandClass = &class{
		name: "steps.SetPropertyFromCommand", positional: 2,
		params: slices.Concat([]param{
			{name: "property"},
			{name: "extract_fn"},
			{name: "strip"},
			{name: "includeStdout"},
			{name: "includeStderr"},
		}, commandParams),
	}
	fileUploadClass = &class{
		name: "steps.FileUpload", positional: 2,
		params: slices.Concat([]param{
			{name: "workersrc", support: required},
			{name: "masterdest", support: required},
			{name: "mode"},
			{name: "keepstamp"},
		}, uploadParams),
	}
	directoryUploadClass = &class{
		name: "steps.DirectoryUpload", positional: 2,
		params: slices.Concat([]param{
			{name: "workersrc", support: required},
			{name: "masterdest", support: required},
			{name: "compress"},
		}, uploadParams),
	}
	multipleUploadClass = &class{
		name: "steps.MultipleFileUpload", positional: 2,
		params: slices.Concat([]param{
			{name: "workersrcs", support: required},
			{name: "masterdest", support: required},
			{name: "glob"},
			{name: "mode"},
			{name: "compress"},
			{name: "keepstamp"},
		}, uploadParams),
	}
	fileDownloadClass = &class{
		name: "steps.FileDownload", positional: 2,
		params: slices.Concat([]param{{name: "mastersrc", support: required}}, downloadParams),
	}
	stringDownloadClass = &class{
		name: "steps.StringDownload", positional: 2,
		params: slices.Concat([]param{{name: "s", support: required}}, downloadParams),
	}
	jsonDownloadClass = &class{
		name: "steps.JSONStringDownload", positional: 2,
		params: slices.Concat([]param{{name: "o", support: required}}, downloadParams),
	}
	masterCommandClass = &class{
		name: "steps.MasterShellCommand", positional: 1,
		params: slices.Concat([]param{
			{name: "command", support: required},
			{name: "env"},
			{name: "workdir"},
			{name: "usePTY", support: later},
			{name: "interruptSignal"},
			{name: "logEnviron"},
		}, stepParams),
	}
	makeDirectoryClass = &class{
		name: "steps.MakeDirectory", positional: 1,
		params: slices.Concat([]param{{name: "dir", support: required}}, stepParams),
	}
	removeDirectoryClass = &class{
		name: "steps.RemoveDirectory", positional: 1,
		params: slices.Concat([]param{{name: "dir", support: required}}, stepParams),
	}
	copyDirectoryClass = &class{
		name: "steps.CopyDirectory", positional: 4,
		params: slices.Concat([]param{
			{name: "src", support: required},
			{name: "dest", support: required},
			{name: "timeout"},
			{name: "maxTime"},
		}, stepParams),
	}
	fileExistsClass = &class{
		name: "steps.FileExists", positional: 1,
		params: slices.Concat([]param{{name: "file", support: required}}, stepParams),
	}
	triggerClass = &class{
		name: "steps.Trigger", positional: 1,
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
	}
)

// onFailure are the defaults of steps that stop a build when they fail.
func onFailure(name, description, done string) dormouse.StepSpec {
	return dormouse.StepSpec{
		Name: name, HaltOnFailure: true, FlunkOnFailure: true, Description: description, DescriptionDone: done,
	}
}

// stepClasses read the steps that are not of a kind of their own.
var stepClasses map[*class]func(arguments) any

func init() { // the functions lead back to the table
	stepClasses = map[*class]func(arguments) any{
		warningClass: func(a arguments) any {
			return readShellCommand(a, dormouse.StepSpec{Name: "generic", FlunkOnFailure: true}, nil)
		},
		configureClass: func(a arguments) any {
			return readShellCommand(a, onFailure("configure", "configuring", "configure"), []any{"./configure"})
		},
		sequenceClass:        readShellSequence,
		shellArgClass:        readShellArg,
		setPropertyClass:     readSetProperty,
		setPropertiesClass:   readSetProperties,
		fromCommandClass:     readSetPropertyFromCommand,
		fileUploadClass:      func(a arguments) any { return readUpload(a, dormouse.UploadFile, "workersrc", 256<<10) },
		directoryUploadClass: func(a arguments) any { return readUpload(a, dormouse.UploadDirectory, "workersrc", 16<<10) },
		multipleUploadClass:  func(a arguments) any { return readUpload(a, dormouse.UploadFiles, "workersrcs", 16<<10) },
		fileDownloadClass:    func(a arguments) any { return readDownload(a, "mastersrc") },
		stringDownloadClass:  func(a arguments) any { return readDownload(a, "s") },
		jsonDownloadClass:    func(a arguments) any { return readDownload(a, "o") },
		masterCommandClass:   readMasterShellCommand,
		makeDirectoryClass: func(a arguments) any {
			return readFileCommand(a, onFailure("MakeDirectory", "Creating", ""), dormouse.MakeDirectory, "dir")
		},
		removeDirectoryClass: func(a arguments) any {
			return readFileCommand(a, onFailure("RemoveDirectory", "Deleting", ""), dormouse.RemoveDirectory, "dir")
		},
		copyDirectoryClass: func(a arguments) any {
			return readFileCommand(a, onFailure("CopyDirectory", "Copying", ""), dormouse.CopyDirectory, "src", "dest")
		},
		fileExistsClass: func(a arguments) any {
			return readFileCommand(a, onFailure("FileExists", "", ""), dormouse.FileExists, "file")
		},
		triggerClass: readTrigger,
	}
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
			a.r.errorf(f.keyAt(name), "", "%s: %s can not name the log of a file", f.label, quote(name))
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

// readSignal reads the name of a signal.
func readSignal(a arguments) string {
	f, ok := a.some("interruptSignal")
	if !ok {
		return ""
	}
	return f.oneOf("KILL", "TERM", "INT", "HUP", "QUIT")
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

func readUpload(a arguments, kind dormouse.UploadKind, source string, blockSize int) any {
	s := readStep(a, onFailure("upload", "", ""))
	u := dormouse.Upload{
		Kind: kind, Dest: a.dynamicText("masterdest"), WorkDir: readWorkDir(a),
		MaxSize: int64(a.count("maxsize", 0)), BlockSize: a.count("blocksize", blockSize),
		KeepStamp: a.optionalFlag("keepstamp"), Glob: a.optionalFlag("glob"), Mode: readMode(a),
	}
	if f, ok := a.field(source); ok {
		switch f.v.(type) {
		case *starlark.List, starlark.Tuple:
			if kind != dormouse.UploadFiles {
				f.bad("a path")
				break
			}
			items, _ := f.items("a list of paths")
			for _, item := range items {
				v, _ := item.dynamicText()
				u.Sources = append(u.Sources, v)
			}
		default:
			if v, ok := f.dynamicText(); ok {
				if v == "" {
					f.bad("a path")
				}
				u.Sources = []any{v}
			}
		}
	}
	if _, has := a.o.class.param("compress"); has {
		if f, ok := a.some("compress"); ok {
			u.Compress = f.oneOf("gz", "bz2")
		}
	}
	s.Action = u
	return s
}

// optionalFlag is a flag that not every class of the kind has.
func (a arguments) optionalFlag(name string) bool {
	_, has := a.o.class.param(name)
	return has && a.flag(name, false)
}

// readMode reads permissions; 0 is the usual ones.
func readMode(a arguments) uint32 {
	if _, has := a.o.class.param("mode"); !has {
		return 0
	}
	if f, ok := a.some("mode"); ok {
		n, _ := f.integer(0, 0o7777)
		return uint32(n)
	}
	return 0
}

func readDownload(a arguments, source string) any {
	s := readStep(a, onFailure(map[string]string{"mastersrc": "download", "s": "string_download", "o": "json_download"}[source], "", ""))
	d := dormouse.Download{
		Dest: a.dynamicText("workerdest"), WorkDir: readWorkDir(a),
		MaxSize: int64(a.count("maxsize", 0)), BlockSize: a.count("blocksize", 16<<10),
		Mode: readMode(a), HasMode: a.given("mode"),
	}
	f, ok := a.field(source)
	switch {
	case !ok:
	case source == "o":
		d.HasText = true
		d.JSON, _ = f.data(true)
	case source == "s":
		d.HasText = true
		d.Text, _ = f.dynamicText()
	default:
		if d.Source, ok = f.dynamicText(); ok && d.Source == "" {
			f.bad("a file's path")
		}
	}
	s.Action = d
	return s
}

func readMasterShellCommand(a arguments) any {
	s := readStep(a, onFailure("MasterShellCommand", "Running", "Ran"))
	s.Action = dormouse.MasterShellCommand{
		Command: readCommand(a, nil), Env: readEnv(a), WorkDir: readWorkDir(a),
		InterruptSignal: readSignal(a), LogEnviron: a.flag("logEnviron", true),
	}
	return s
}

// defaultCopyTimeout is Buildbot's limit on how long a copy may be silent.
const defaultCopyTimeout = 120 * time.Second

func readFileCommand(a arguments, def dormouse.StepSpec, do dormouse.FileOperation, paths ...string) any {
	s := readStep(a, def)
	c := dormouse.FileCommand{Do: do}
	if do == dormouse.CopyDirectory {
		c.Timeout = a.limit("timeout", defaultCopyTimeout, positive)
		c.MaxTime = a.limit("maxTime", 0, positive)
	}
	for _, name := range paths {
		if f, ok := a.field(name); ok {
			v, ok := f.dynamicText()
			if ok && v == "" {
				f.bad("a path")
			}
			c.Paths = append(c.Paths, v)
		}
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
			a.errorf(what, "give the builder that is triggered a util.Secret of its own", "%s can not hold a secret (%s): it is shown with the build", what, names[0])
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

// names reads a list of names, or of what becomes names.
func (a arguments) names(arg string) []any {
	f, ok := a.some(arg)
	if !ok {
		return nil
	}
	if _, isObject := f.v.(*object); isObject {
		v, _ := f.dynamicText()
		return []any{v}
	}
	items, _ := f.items("a list of names")
	var out []any
	for _, item := range items {
		if v, ok := item.dynamicText(); ok {
			if v == "" {
				item.bad("a name")
			}
			out = append(out, v)
		}
	}
	return out
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
