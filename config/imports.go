package config

import (
	"maps"
	"slices"
	"strings"
)

// binding is a name that an import binds, and the predeclared name of what it
// is bound to. Predeclared names have a dot in them, which a name in the
// configuration can not have.
type binding struct {
	name   string
	target string
	at     place
}

// importable are the modules that "from MODULE import NAME" knows, and the
// predeclared name of each NAME. Besides buildbot.plugins these are older and
// longer ways to the same things.
var importable = map[string]map[string]string{
	"buildbot.plugins":            pluginModules,
	"buildbot.process.results":    resultNames,
	"buildbot.process.factory":    {"BuildFactory": "util.BuildFactory"},
	"buildbot.process.properties": {"Interpolate": "util.Interpolate", "Property": "util.Property", "Secret": "util.Secret", "renderer": "util.renderer", "Transform": "util.Transform", "FlattenList": "util.FlattenList"},
	"buildbot.config":             {"BuilderConfig": "util.BuilderConfig"},
	"buildbot.worker":             {"Worker": "worker.Worker"},
	"buildbot.worker.ec2":         {"EC2LatentWorker": "worker.EC2LatentWorker"},
	"buildbot.schedulers.forcesched": {
		"ForceScheduler": "schedulers.ForceScheduler",
	},
	"buildbot.schedulers.triggerable": {"Triggerable": "schedulers.Triggerable"},
	"buildbot.steps.shell": {
		"ShellCommand": "steps.ShellCommand", "Compile": "steps.Compile", "Test": "steps.Test", "Configure": "steps.Configure",
		"WarningCountingShellCommand": "steps.WarningCountingShellCommand", "SetPropertyFromCommand": "steps.SetPropertyFromCommand",
	},
	"buildbot.steps.shellsequence": {"ShellSequence": "steps.ShellSequence", "ShellArg": "util.ShellArg"},
	"buildbot.steps.transfer": {
		"FileUpload": "steps.FileUpload", "DirectoryUpload": "steps.DirectoryUpload", "MultipleFileUpload": "steps.MultipleFileUpload",
		"FileDownload": "steps.FileDownload", "StringDownload": "steps.StringDownload", "JSONStringDownload": "steps.JSONStringDownload",
	},
	"buildbot.steps.master": {
		"MasterShellCommand": "steps.MasterShellCommand", "SetProperty": "steps.SetProperty", "SetProperties": "steps.SetProperties",
	},
	"buildbot.steps.worker": {
		"MakeDirectory": "steps.MakeDirectory", "RemoveDirectory": "steps.RemoveDirectory",
		"CopyDirectory": "steps.CopyDirectory", "FileExists": "steps.FileExists",
	},
	"buildbot.steps.trigger":    {"Trigger": "steps.Trigger"},
	"buildbot.steps.source.git": {"Git": "steps.Git"},
	"boto3":                     {"Session": "boto3.Session", "session": "boto3.session"},
	"boto3.session":             {"Session": "boto3.Session"},
	"os":                        {"environ": "os.environ"},
}

// pluginModules are the parts of buildbot.plugins, each under its own name.
var pluginModules = map[string]string{
	"worker": "buildbot.worker", "steps": "buildbot.steps", "util": "buildbot.util",
	"schedulers": "buildbot.schedulers", "changes": "buildbot.changes",
	"reporters": "buildbot.reporters", "secrets": "buildbot.secrets", "www": "buildbot.www",
}

// wholeModules are what "import MODULE" knows.
var wholeModules = map[string]string{"boto3": "boto3", "os": "os", "boto3.session": "boto3"}

// nothingHere are modules of Python that configurations import, and what to
// write instead of what they are imported for.
var nothingHere = map[string]string{
	"sys":      "a configuration can not reach the system",
	"json":     "write the value as a dictionary",
	"re":       "strings have split, partition, startswith and replace",
	"datetime": "times are numbers of seconds",
	"random":   "a configuration gives the same result each time it is read",
	"time":     "a configuration gives the same result each time it is read",
	"twisted":  "functions return their value at once: leave defer, yield and await out",
}

// parseImport reads an import statement.
func parseImport(s []token) ([]binding, *mistake) {
	p := &importParser{tokens: s, next: 1}
	if s[0].text == "import" {
		return p.modules()
	}
	return p.names()
}

type importParser struct {
	tokens []token
	next   int
}

func (p *importParser) peek() token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	last := p.tokens[len(p.tokens)-1]
	return token{kind: tokEOF, line: last.endLine, col: last.endCol}
}

func (p *importParser) take() token {
	t := p.peek()
	p.next++
	return t
}

func (p *importParser) name() (token, *mistake) {
	t := p.take()
	if t.kind != tokName || t.keyword() {
		return t, mistakef(t.at(), "", "a name should stand here")
	}
	return t, nil
}

// dotted reads a module's name. The token is its first.
func (p *importParser) dotted() (string, token, *mistake) {
	if t := p.peek(); t.is(".") || t.is("...") {
		return "", t, mistakef(t.at(), "put everything into one file", "a configuration can not import another file")
	}
	first, m := p.name()
	if m != nil {
		return "", first, m
	}
	path := first.text
	for p.peek().is(".") {
		p.next++
		t, m := p.name()
		if m != nil {
			return "", first, m
		}
		path += "." + t.text
	}
	return path, first, nil
}

// as reads what a name is imported as: itself by default.
func (p *importParser) as(t token) (token, *mistake) {
	if !p.peek().word("as") {
		return t, nil
	}
	p.next++
	return p.name()
}

// modules reads "import a, b.c as d".
func (p *importParser) modules() ([]binding, *mistake) {
	var out []binding
	for {
		path, first, m := p.dotted()
		if m != nil {
			return nil, m
		}
		target, ok := wholeModules[path]
		if !ok {
			return nil, unknownModule(first, path)
		}
		as, m := p.as(first)
		if m != nil {
			return nil, m
		}
		if path == "boto3.session" && as != first {
			target = path
		}
		out = append(out, binding{as.text, target, as.at()})
		if !p.peek().is(",") {
			return out, p.end()
		}
		p.next++
	}
}

// names reads "from a.b import c, d as e", with or without parentheses.
func (p *importParser) names() ([]binding, *mistake) {
	path, first, m := p.dotted()
	if m != nil {
		return nil, m
	}
	if t := p.take(); !t.word("import") {
		return nil, mistakef(t.at(), "", "import should stand here")
	}
	if path == "__future__" {
		return nil, nil // asks an old Python to be like a new one
	}
	known, ok := importable[path]
	if !ok {
		return nil, unknownModule(first, path)
	}
	if star := p.peek(); star.is("*") {
		p.next++
		var out []binding
		for _, name := range slices.Sorted(maps.Keys(known)) {
			out = append(out, binding{name, known[name], star.at()})
		}
		return out, p.end()
	}
	parens := p.peek().is("(")
	if parens {
		p.next++
	}
	var out []binding
	for {
		t, m := p.name()
		if m != nil {
			return nil, m
		}
		target, ok := known[t.text]
		if !ok {
			return nil, mistakef(t.at(), didYouMean(t.text, slices.Sorted(maps.Keys(known))),
				"%s has no %s here", path, t.text)
		}
		as, m := p.as(t)
		if m != nil {
			return nil, m
		}
		out = append(out, binding{as.text, target, as.at()})
		if !p.peek().is(",") {
			break
		}
		p.next++
		if parens && p.peek().is(")") {
			break
		}
	}
	if parens {
		if t := p.take(); !t.is(")") {
			return nil, mistakef(t.at(), "", "a comma or a closing parenthesis should stand here")
		}
	}
	return out, p.end()
}

func (p *importParser) end() *mistake {
	if p.next < len(p.tokens) {
		return mistakef(p.peek().at(), "", "the import should end here")
	}
	return nil
}

func unknownModule(first token, path string) *mistake {
	top, _, _ := strings.Cut(path, ".")
	hint := nothingHere[top]
	switch {
	case hint != "":
	case path == "buildbot":
		hint = "write from buildbot.plugins import worker, steps, util, schedulers"
	case top == "buildbot":
		hint = "most of Buildbot is in buildbot.plugins: worker, steps, util, schedulers"
	default:
		hint = "there are buildbot.plugins, boto3 and os"
	}
	return mistakef(first.at(), hint, "there is no module %s here", path)
}
