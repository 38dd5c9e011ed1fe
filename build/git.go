package build

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// gitAction checks a repository out with the worker's own git.
type gitAction struct{ dormouse.Git }

func (gitAction) defaultName() string { return "git" }

// copySource is the directory that method "copy" keeps its checkout in, next
// to the one it copies it to.
const copySource = "source"

func (a gitAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	if s.summary == "" {
		s.summary = "update"
	}
	if a.Codebase != "" {
		s.summary += " " + a.Codebase
	}
	c, err := a.checkout(s)
	if err != nil {
		return dormouse.Exception, err
	}
	var revision, description string
	err = c.withKey(ctx, func() (err error) {
		if err = c.get(ctx); err != nil {
			return err
		}
		if revision, err = c.headRevision(ctx); err != nil {
			return err
		}
		description, err = c.describe(ctx)
		return err
	})
	if err != nil {
		return c.failed(ctx, err)
	}
	err = s.setSourceProperty("got_revision", a.Codebase, revision, "Git")
	if err == nil && description != "" {
		err = s.setSourceProperty("commit-description", a.Codebase, description, "Git")
	}
	return dormouse.Success, err
}

// reveal implements action.
func (a gitAction) reveal(s *step) { _, _ = a.checkout(s) }

// checkout is one run of a Git step, with everything rendered.
type checkout struct {
	gitAction
	step      *step
	url       string
	shown     string // the URL without its password
	branch    string // "" is the remote's default
	revision  string // "" is the branch's tip
	method    string // "" is to keep what is there
	origin    string // "" is git's own name for it
	reference string
	dir       string
	env       map[string]any
	options   []string // of git itself, for all its commands
	key       *sshKey
	login     *login
	said      []string // the last lines git wrote to stderr
	// halfCloned says that a clone has failed: what is there is not to be kept.
	halfCloned bool
	// loggedEnviron says that the log has the environment.
	loggedEnviron bool
}

// checkout renders the step and refuses what git would take for an option.
func (a gitAction) checkout(s *step) (*checkout, error) {
	c := &checkout{gitAction: a, step: s}
	// The secrets come first: they are to be masked whatever is wrong with the rest.
	secrets := c.renderSecrets()
	var err error
	if c.url, err = s.text("repourl", a.RepoURL); err != nil {
		return nil, err
	}
	c.shown = s.build.mask.addURL(c.url)
	if secrets != nil {
		return nil, secrets
	}
	if err := c.renderSource(); err != nil {
		return nil, err
	}
	if err := c.renderMethod(); err != nil {
		return nil, err
	}
	if c.origin, err = s.text("origin", a.Origin); err != nil {
		return nil, err
	}
	if c.reference, err = s.text("reference", a.Reference); err != nil {
		return nil, err
	}
	if c.options, err = c.renderConfig(); err != nil {
		return nil, err
	}
	if err := c.refuse(); err != nil {
		return nil, err
	}
	if c.dir, err = s.workDir(a.WorkDir); err != nil {
		return nil, err
	}
	if c.env, err = s.environment(a.Env); err != nil {
		return nil, err
	}
	for name, value := range gitEnvironment {
		if _, ok := c.env[name]; !ok {
			c.env[name] = value
		}
	}
	if err := c.placeOfKey(); err != nil {
		return nil, err
	}
	return c, c.addressLogin()
}

// gitEnvironment keeps git from waiting for a person, and its messages in the
// language that hint reads.
var gitEnvironment = map[string]string{"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}

// renderSource finds out what to check out.
func (c *checkout) renderSource() (err error) {
	if c.branch, err = c.step.text("branch", c.Branch); err != nil {
		return err
	}
	switch stamp, ok := sourceOf(c.step.build.job.Request.Sources, c.Codebase); {
	case c.AlwaysUseLatest:
	case ok:
		if stamp.Branch != "" {
			c.branch = stamp.Branch
		}
		c.revision = stamp.Revision
	case c.Codebase != "":
		return dormouse.Errorf(dormouse.Invalid, "the build has no source of codebase %s", c.Codebase)
	}
	if c.branch == "HEAD" {
		c.branch = ""
	}
	return nil
}

// renderMethod makes one word of the mode and the method.
func (c *checkout) renderMethod() error {
	mode, err := c.step.text("mode", c.Mode)
	if err != nil {
		return err
	}
	method, err := c.step.text("method", c.Method)
	if err != nil {
		return err
	}
	switch mode {
	case "", "incremental":
		return nil
	case "full":
	default:
		return dormouse.Errorf(dormouse.Invalid, "mode %q is neither incremental nor full", mode)
	}
	switch method {
	case "":
		c.method = "fresh"
	case "clobber", "fresh", "clean", "copy":
		c.method = method
	default:
		return dormouse.Errorf(dormouse.Invalid, "method %q is none of clobber, fresh, clean and copy", method)
	}
	return nil
}

// sourceOf finds the codebase's source stamp. A request without any is of the
// repository as it stands.
func sourceOf(sources []dormouse.SourceStamp, codebase string) (dormouse.SourceStamp, bool) {
	for _, s := range sources {
		if s.Codebase == codebase {
			return s, true
		}
	}
	return dormouse.SourceStamp{}, false
}

// update brings the working directory to the revision asked for.
func (c *checkout) update(ctx context.Context) error {
	switch c.method {
	case "clobber":
		return c.clobber(ctx)
	case "copy":
		return c.copy(ctx)
	}
	return c.refresh(ctx, cleaning[c.method])
}

// cleaning are git's words for what a method takes away.
var cleaning = map[string][]string{
	"fresh": {"clean", "-f", "-f", "-d", "-x"},
	"clean": {"clean", "-f", "-f", "-d"},
}

// refresh brings what is in the working directory to the revision asked for,
// and takes away what git does not know where clean says so.
func (c *checkout) refresh(ctx context.Context, clean []string) error {
	is, err := c.found(ctx)
	switch {
	case err != nil:
		return err
	case is == somethingElse, is != nothing && c.halfCloned:
		return c.clobber(ctx)
	case is == nothing:
		return c.orClobber(ctx, c.clone(ctx))
	}
	if clean != nil {
		if err := c.git(ctx, clean...); err != nil {
			if isGitError(err) && c.method == "fresh" {
				return c.clobber(ctx) // what can not be cleaned is no repository worth keeping
			}
			return c.orClobber(ctx, err)
		}
	}
	err = c.fetchAgain(ctx)
	if isGitError(err) && c.RetryFetch {
		c.step.header(ctx, "could not "+err.Error()+"; fetching once more")
		err = c.fetchAgain(ctx)
	}
	if err = c.orClobber(ctx, err); err != nil || clean == nil || !c.Submodules {
		return err
	}
	if err := c.git(ctx, append([]string{"submodule", "foreach", "--recursive", "git"}, clean...)...); err != nil {
		return err
	}
	// What was a submodule before is left, and unknown only now.
	return c.git(ctx, clean...)
}

// orClobber has a failure answered with a clone, where the step says so.
func (c *checkout) orClobber(ctx context.Context, err error) error {
	if !isGitError(err) || !c.ClobberOnFailure {
		return err
	}
	c.step.header(ctx, "could not "+err.Error()+"; removing "+c.dir+" to clone it anew")
	return c.clobber(ctx)
}

// What the working directory may be before the step.
type findings int

const (
	nothing findings = iota
	repository
	somethingElse
)

func (c *checkout) found(ctx context.Context) (findings, error) {
	names, err := c.list(ctx, c.dir)
	if err != nil {
		return nothing, err
	}
	for _, name := range names {
		if name == ".git" {
			return repository, nil
		}
	}
	if len(names) > 0 {
		return somethingElse, nil
	}
	return nothing, nil
}

// list returns the names in a directory; none where it is missing, which is the
// ordinary case of a new worker: its "no such file" would only frighten.
func (c *checkout) list(ctx context.Context, dir string) ([]string, error) {
	end, err := c.step.run(ctx, command{name: "listdir", quiet: true, args: map[string]any{"path": dir}})
	return end.Files, err
}

func (c *checkout) clobber(ctx context.Context) error {
	if err := c.remove(ctx, c.dir); err != nil {
		return err
	}
	return c.clone(ctx)
}

func (c *checkout) remove(ctx context.Context, dir string) error {
	args := map[string]any{"paths": []any{dir}, "logEnviron": false}
	if c.Timeout > 0 {
		args["timeout"] = seconds(c.Timeout)
	}
	end, err := c.step.run(ctx, command{name: "rmdir", args: args})
	if err != nil {
		return err
	}
	if end.RC != 0 {
		return &gitError{what: "remove " + dir, code: end.RC}
	}
	return nil
}

// copy updates a directory that no build writes to, and copies it.
func (c *checkout) copy(ctx context.Context) error {
	target, source := c.dir, c.step.path(copySource)
	if target == source {
		return dormouse.Errorf(dormouse.Invalid, "method copy can not work in %s, where it keeps what it copies", source)
	}
	if err := c.remove(ctx, target); err != nil {
		return err
	}
	c.dir = source
	err := c.refresh(ctx, nil)
	c.dir = target
	if err != nil {
		return err
	}
	_, err = c.tool(ctx, toolRun{name: "cp", args: []string{"-R", "-P", "-p", "--", source, target}, dir: c.step.path("."), env: c.env})
	return err
}

func (c *checkout) clone(ctx context.Context) error {
	args := c.progress("clone")
	// Clone takes branches and tags alone, and of a revision we know no branch.
	fetch := strings.HasPrefix(c.branch, "refs/") || c.revision != ""
	switch {
	case fetch:
		args = append(args, "--no-checkout")
	case c.branch != "":
		args = append(args, "--branch", c.branch)
	}
	args = append(args, c.depth()...)
	if c.reference != "" {
		args = append(args, "--reference", c.reference)
	}
	if c.origin != "" || len(c.Filters) > 0 {
		args = append(args, "--origin", c.remote())
	}
	args = append(args, c.filters()...)
	c.halfCloned = true
	if err := c.git(ctx, append(args, "--", c.url, ".")...); err != nil {
		return err
	}
	c.halfCloned = false
	if fetch || c.allTags() {
		return c.fetch(ctx)
	}
	return c.submodules(ctx)
}

// fetchAgain is fetch for what may have been cloned from elsewhere.
func (c *checkout) fetchAgain(ctx context.Context) error {
	if len(c.Filters) > 0 {
		// What a filter leaves out is fetched later, by the remote's name.
		if err := c.git(ctx, "config", "remote."+c.remote()+".url", c.url); err != nil {
			return err
		}
	}
	return c.fetch(ctx)
}

// fetch brings an existing repository to the revision asked for. Commits that
// are not part of it are left alone, files that git does not know too.
func (c *checkout) fetch(ctx context.Context) error {
	target := "FETCH_HEAD"
	if c.revision != "" {
		target = c.revision
	}
	have := false
	if c.revision != "" && !c.allTags() {
		var err error
		if have, err = c.has(ctx, c.revision); err != nil {
			return err
		}
	}
	if !have {
		branch := c.branch
		if branch == "" {
			branch = "HEAD"
		}
		if err := c.fetchRef(ctx, branch); err != nil {
			return err
		}
		if c.revision != "" {
			have, err := c.has(ctx, c.revision)
			if err != nil {
				return err
			}
			if !have {
				// Not on that branch, or beyond the depth: most servers give
				// a commit by its name alone.
				if err := c.fetchRef(ctx, c.revision); err != nil {
					return err
				}
			}
		}
	}
	if err := c.git(ctx, "checkout", "-f", target, "--"); err != nil {
		return err
	}
	if c.branch != "" && !strings.HasPrefix(c.branch, "refs/") {
		// For the steps that ask git for the branch; a tag of that name is no
		// reason to fail.
		if err := c.git(ctx, "checkout", "-B", c.branch); err != nil && !isGitError(err) {
			return err
		}
	}
	return c.submodules(ctx)
}

func (c *checkout) fetchRef(ctx context.Context, ref string) error {
	args := append(c.progress("fetch"), "-f")
	if c.Tags == nil || *c.Tags {
		args = append(args, "-t")
	}
	args = append(append(args, c.depth()...), c.filters()...)
	from := c.url
	if len(c.Filters) > 0 {
		from = c.remote() // of which git knows that it has the rest
	}
	return c.git(ctx, append(args, "--", from, ref)...)
}

func (c *checkout) submodules(ctx context.Context) error {
	if !c.Submodules {
		return nil
	}
	if err := c.git(ctx, "submodule", "sync", "--recursive"); err != nil {
		return err
	}
	args := []string{"submodule", "update", "--init", "--recursive", "--force", "--checkout"}
	if c.RemoteSubmodules {
		args = append(args, "--remote")
	}
	return c.git(ctx, args...)
}

func (c *checkout) has(ctx context.Context, revision string) (bool, error) {
	err := c.git(ctx, "cat-file", "-e", revision+"^{commit}")
	if isGitError(err) {
		return false, nil
	}
	return err == nil, err
}

// A commit's name, by either hash that git knows.
var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func (c *checkout) headRevision(ctx context.Context) (string, error) {
	out, err := c.output(ctx, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	revision := strings.TrimSpace(out)
	if !fullHash.MatchString(revision) {
		return "", &gitError{what: "tell its revision: git rev-parse HEAD printed " + strconv.Quote(revision)}
	}
	return revision, nil
}

// gitTerm is how long git has to end and take its lock files away; killed at
// once, it leaves them to stop the next build.
const gitTerm = time.Second

func (c *checkout) git(ctx context.Context, args ...string) error {
	_, err := c.tool(ctx, c.gitRun(args))
	return err
}

// output runs git and returns the beginning of what it printed, as it is: a name
// of a commit that happens to hold a secret is still that name.
func (c *checkout) output(ctx context.Context, args ...string) (string, error) {
	r := c.gitRun(args)
	r.exact = true
	return c.tool(ctx, r)
}

func (c *checkout) gitRun(args []string) toolRun {
	r := toolRun{name: "git", args: args, options: c.options, dir: c.dir, env: c.gitEnv()}
	if c.asksServer(args) {
		c.identify(&r)
	}
	return r
}

// asksServer reports whether a git command may talk to a server. A checkout
// does for what a filter has left out, and for large files that are kept
// elsewhere.
func (c *checkout) asksServer(args []string) bool {
	switch args[0] {
	case "clone", "fetch", "checkout":
		return true
	case "submodule":
		return args[1] == "update"
	}
	return len(c.Filters) > 0
}

// identify gives a command what the server wants to know.
func (c *checkout) identify(r *toolRun) {
	if c.key != nil {
		r.env["GIT_SSH_COMMAND"] = c.key.command()
	}
	if c.login != nil {
		r.options = slices.Concat(r.options, c.login.options())
		c.login.addTo(r.env)
		r.secret = true
	}
}

// gitEnv is the environment of one git command.
func (c *checkout) gitEnv() map[string]any {
	env := maps.Clone(c.env)
	if _, ok := env["GIT_CEILING_DIRECTORIES"]; !ok {
		// Where the checkout turns out to be no repository, git must not take one
		// that it happens to lie in.
		if at := strings.LastIndexAny(strings.TrimRight(c.dir, `/\`), `/\`); at > 0 {
			env["GIT_CEILING_DIRECTORIES"] = c.dir[:at]
		}
	}
	return env
}

// toolRun is a command line to run on the worker.
type toolRun struct {
	name    string
	options []string // not shown where the command is named
	args    []string
	dir     string
	env     map[string]any
	secret  bool // the environment is not to be shown
	exact   bool // secrets are not hidden in what it returns
}

// tool runs one command line, with its output in the step's log, and returns
// the beginning of what it printed. A *gitError says that it ran and failed.
func (c *checkout) tool(ctx context.Context, r toolRun) (output string, err error) {
	argv, err := flatten([]any{r.name}, slices.Concat(r.options, r.args))
	if err != nil {
		return "", err
	}
	// All have the same environment, so that once is enough.
	logEnviron := c.LogEnviron && !c.loggedEnviron && !r.secret
	c.loggedEnviron = c.loggedEnviron || logEnviron
	end, err := c.step.run(ctx, command{
		name: "shell", sigterm: gitTerm, sayCode: true, keep: true, exact: r.exact,
		args: map[string]any{
			"command": argv, "workdir": r.dir, "env": r.env,
			"timeout": seconds(c.Timeout), "maxTime": nil, "sigtermTime": seconds(gitTerm),
			"want_stdout": true, "want_stderr": true, "logEnviron": logEnviron,
			"usePTY": false, "logfiles": map[string]any{}, "initial_stdin": nil,
		},
	})
	c.said = end.Complaints
	switch {
	case err != nil:
		return "", err
	case !end.HasRC:
		return "", dormouse.Errorf(dormouse.Internal, "the worker did not say how %s ended", r.name)
	case end.RC != 0 || end.Reason != "":
		return "", &gitError{what: "run " + r.name + " " + strings.Join(r.args, " "), code: end.RC, reason: end.Reason}
	}
	return end.Output, nil
}

// setSourceProperty sets a property of a codebase: plain for the unnamed
// codebase, else as one entry of a map, as Buildbot does.
func (s *step) setSourceProperty(name, codebase string, value any, source string) error {
	props := s.build.props
	if codebase == "" {
		if _, isMap := props[name].Value.(map[string]any); isMap {
			return dormouse.Errorf(dormouse.Invalid, "this step has no codebase, but an earlier one has: give every source step a codebase, or none")
		}
		props.Set(name, value, source)
		return nil
	}
	all := map[string]any{codebase: value}
	switch old := props[name].Value.(type) {
	case nil:
	case map[string]any:
		for k, v := range old {
			if k != codebase {
				all[k] = v
			}
		}
	default:
		return dormouse.Errorf(dormouse.Invalid, "this step has codebase %s, but an earlier one has none: give every source step a codebase, or none", codebase)
	}
	props.Set(name, all, source)
	return nil
}
