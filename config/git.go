package config

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
	"github.com/dormouse-ci/dormouse/expr"
)

var _ = register(&class{
	name: "steps.Git", positional: 4, from: "buildbot.steps.source.git",
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
	read: readGit,
})

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

// readRepository reads a repository's URL.
func readRepository(a arguments) any {
	f, ok := a.field("repourl")
	if !ok {
		return nil // which has been reported
	}
	v, ok := f.dynamicText()
	if s, isText := v.(string); ok && isText {
		switch {
		case s == "" || strings.HasPrefix(s, "-") || hasControl(s):
			f.bad("a repository's URL")
		case strings.HasPrefix(s, "ext::"):
			a.errorf("repourl", "", "repourl begins with ext::, which makes it a command to run")
		}
	}
	return v
}

// readPath reads a path on the worker that becomes an argument of a command.
func readPath(a arguments, name string) any {
	v := a.dynamicText(name)
	if s, ok := v.(string); ok && (s == "" || strings.HasPrefix(s, "-") || hasControl(s)) {
		f, _ := a.field(name)
		f.bad("a path")
	}
	return v
}

// readRemoteName reads what a remote is called.
func readRemoteName(a arguments) any {
	v := a.dynamicText("origin")
	if s, ok := v.(string); ok && (s == "" || strings.HasPrefix(s, "-") || strings.ContainsAny(s, " :*?[\\~^") || strings.Contains(s, "..") || hasControl(s)) {
		f, _ := a.field("origin")
		f.bad("a remote's name")
	}
	return v
}

// hasControl reports whether a text has what cannot be seen, as a line's end.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// readFilters reads what a partial clone leaves out.
func readFilters(a arguments) []string {
	f, ok := a.some("filters")
	if !ok {
		return nil
	}
	filters := f.texts()
	for _, filter := range filters {
		if strings.HasPrefix(filter, "-") || hasControl(filter) {
			a.errorf("filters", "", "%s is not a filter, which is such as 'blob:none'", quote(filter))
		}
	}
	return filters
}

// readGitMethod reads the mode, the method, and what depends on them. Either can be
// known only when the build runs.
func readGitMethod(a arguments, g *dormouse.Git) {
	g.Mode = a.word("mode", "incremental", "full")
	g.Method = a.word("method", "clobber", "fresh", "clean", "copy")
	if g.Mode == nil {
		g.Mode = "incremental"
	}
	if g.Method != nil && g.Mode == "incremental" {
		a.errorf("method", "add mode='full'", "method has a meaning in mode 'full' only")
	}
	if g.Method == nil && g.Mode == "full" {
		g.Method = "fresh"
	}
	_, methodLater := g.Method.(expr.Renderable)
	if g.Shallow > 0 && g.Mode != "incremental" && g.Method != "clobber" && !methodLater {
		a.errorf("shallow", "add method='clobber'", "shallow has a meaning in mode 'incremental', and in mode 'full' with method 'clobber' only")
	}
}

// readShallow reads a depth; True is the depth of one.
func readShallow(a arguments) int {
	f, ok := a.some("shallow")
	if !ok || f.v == starlark.False {
		return 0
	}
	if f.v == starlark.True {
		return 1
	}
	if n, ok := f.v.(starlark.Int); ok && n.Sign() > 0 {
		return a.count("shallow", 0)
	}
	f.bad("True, False or a positive integer")
	return 0
}

// readGitRetry reads how often a checkout is tried again.
func readGitRetry(a arguments, g *dormouse.Git) {
	f, ok := a.some("retry")
	if !ok {
		return
	}
	parts, ok := f.pair("(delay, repeats): a number of seconds, and how often")
	if !ok {
		return
	}
	parts[0].label, parts[1].label = f.label+": the delay", f.label+": the repeats"
	g.RetryDelay, _ = parts[0].seconds(notNegative)
	g.Retries, _ = parts[1].integer(0, math.MaxInt32)
}

// pair reads a tuple or a list of two.
func (f field) pair(allowed string) ([]field, bool) {
	if !f.isList() || starlark.Len(f.v) != 2 {
		f.bad(allowed)
		return nil, false
	}
	return f.items(allowed)
}

// readGitDescription reads options of git describe. Buildbot writes them as git does,
// with hyphens; as names of arguments they have underscores.
func readGitDescription(a arguments) *dormouse.GitDescription {
	f, ok := a.some("getDescription")
	if !ok {
		return nil
	}
	if _, isDict := f.v.(*starlark.Dict); !isDict {
		on, isFlag := f.v.(starlark.Bool)
		if !isFlag {
			f.bad("True, False or a dictionary of options of git describe")
		}
		if !on {
			return nil
		}
		return &dormouse.GitDescription{}
	}
	d := &dormouse.GitDescription{}
	flags := map[string]*bool{
		"all": &d.All, "always": &d.Always, "contains": &d.Contains, "debug": &d.Debug, "exact-match": &d.ExactMatch,
		"first-parent": &d.FirstParent, "long": &d.Long, "tags": &d.Tags,
	}
	patterns := map[string]*[]string{"match": &d.Match, "exclude": &d.Exclude}
	numbers := map[string]**int{"abbrev": &d.Abbrev, "candidates": &d.Candidates}
	known := append(append(append(sortedKeys(flags), sortedKeys(patterns)...), sortedKeys(numbers)...), "dirty")
	names, values := f.pairs()
	for _, key := range names {
		name, v := strings.ReplaceAll(key, "_", "-"), values[key]
		flag, isFlag := flags[name]
		pattern, isPattern := patterns[name]
		number, isNumber := numbers[name]
		switch {
		case !isFlag && !isPattern && !isNumber && name != "dirty":
			a.r.errorf(f.keyAt(key), dialect.DidYouMean(name, known), "%s: git describe has no option %s", f.label, quote(key))
		case v.none() || v.v == starlark.False:
		case isFlag:
			*flag, _ = v.flag()
		case isPattern:
			*pattern = v.texts()
		case isNumber:
			if n, ok := v.integer(0, math.MaxInt32); ok {
				*number = new(n)
			}
		default:
			d.Dirty = v.dirty()
		}
	}
	return d
}

// dirty reads what marks a changed tree: True is git's own mark.
func (f field) dirty() *string {
	if f.v == starlark.True {
		return new("")
	}
	s, ok := f.v.(starlark.String)
	if !ok || hasControl(string(s)) {
		f.bad("True, False or a string")
		return nil
	}
	return new(string(s))
}

// readGitConfig reads git's configuration. It becomes arguments, which everyone on
// the worker can see.
func readGitConfig(a arguments) map[string]any {
	f, ok := a.some("config")
	if !ok {
		return nil
	}
	names, values := f.pairs()
	out := make(map[string]any, len(names))
	for _, name := range names {
		v := values[name]
		if err := dormouse.CheckGitConfig(name); err != nil {
			a.r.errorf(f.keyAt(name), "", "%s: %s", f.label, err)
			continue
		}
		switch value := v.v.(type) {
		case starlark.Bool:
			out[name] = strconv.FormatBool(bool(value))
		case starlark.Int:
			out[name] = value.String()
		default:
			out[name], _ = v.dynamicText()
		}
		if len(secretsIn(out[name])) > 0 {
			a.r.errorf(v.at, "a server's password or token is for auth_credentials", "%s would show the secret to everyone on the worker, as an argument of git", v.label)
		}
	}
	return out
}

// readGitKeys reads what git uses over SSH.
func readGitKeys(a arguments, g *dormouse.Git) {
	g.SSHPrivateKey = readContent(a, "sshPrivateKey")
	g.SSHHostKey = readContent(a, "sshHostKey")
	g.SSHKnownHosts = readContent(a, "sshKnownHosts")
	for _, name := range []string{"sshHostKey", "sshKnownHosts"} {
		if a.given(name) && !a.given("sshPrivateKey") {
			a.errorf(name, "", "%s has a meaning with sshPrivateKey only", name)
		}
	}
	if a.given("sshHostKey") && a.given("sshKnownHosts") {
		a.errorf("sshKnownHosts", "", "there is either sshHostKey or sshKnownHosts, not both")
	}
	if s, ok := g.SSHHostKey.(string); ok && s != "" && len(strings.Fields(s)) < 2 {
		f, _ := a.field("sshHostKey")
		f.bad("the kind and the text of a key, such as 'ssh-ed25519 AAAA…'")
	}
}

// readContent reads what a file is to have in it.
func readContent(a arguments, name string) any {
	v := a.dynamicText(name)
	if s, ok := v.(string); ok && strings.TrimSpace(s) == "" {
		f, _ := a.field(name)
		f.bad("a string that is not empty")
	}
	return v
}

// readGitCredentials reads a user and a password.
func readGitCredentials(a arguments, g *dormouse.Git) {
	f, ok := a.some("auth_credentials")
	if !ok {
		return
	}
	parts, ok := f.pair("a user and a password or token: (user, util.Secret('name'))")
	if !ok {
		return
	}
	g.Credentials = &dormouse.GitCredentials{}
	for i, to := range []*any{&g.Credentials.User, &g.Credentials.Password} {
		parts[i].label = f.label + []string{": the user", ": the password"}[i]
		v, ok := parts[i].dynamicText()
		if s, isText := v.(string); ok && isText && (s == "" || hasControl(s)) {
			parts[i].bad("a string of one line that is not empty")
		}
		*to = v
	}
	if url, ok := g.RepoURL.(string); ok && url != "" && !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		a.errorf("auth_credentials", "over SSH there is sshPrivateKey", "auth_credentials are for repositories at https:// and http://")
	}
}
