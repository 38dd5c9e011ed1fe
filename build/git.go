package build

import (
	"context"
	"regexp"
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
	if err := c.update(ctx); err != nil {
		return c.failed(ctx, err)
	}
	revision, err := c.headRevision(ctx)
	if err != nil {
		return c.failed(ctx, err)
	}
	return dormouse.Success, s.setSourceProperty("got_revision", a.Codebase, revision, "Git")
}

// reveal implements action.
func (a gitAction) reveal(s *step) { _, _ = a.checkout(s) }

// checkout is one run of a Git step, with everything rendered.
type checkout struct {
	gitAction
	step     *step
	url      string
	shown    string // the URL without its password
	branch   string // "" is the remote's default
	revision string // "" is the branch's tip
	dir      string
	env      map[string]any
	said     []string // the last lines git wrote to stderr
}

// checkout renders the step and refuses what git would take for an option.
func (a gitAction) checkout(s *step) (*checkout, error) {
	c := &checkout{gitAction: a, step: s}
	var err error
	if c.url, err = s.text("repourl", a.RepoURL); err != nil {
		return nil, err
	}
	c.shown = s.build.mask.addURL(c.url)
	if c.branch, err = s.text("branch", a.Branch); err != nil {
		return nil, err
	}
	if stamp, ok := sourceOf(s.build.job.Request.Sources, a.Codebase); ok {
		if stamp.Branch != "" {
			c.branch = stamp.Branch
		}
		c.revision = stamp.Revision
	} else if a.Codebase != "" {
		return nil, dormouse.Errorf(dormouse.Invalid, "the build has no source of codebase %s", a.Codebase)
	}
	if c.branch == "HEAD" {
		c.branch = ""
	}
	switch {
	case c.url == "":
		return nil, dormouse.Errorf(dormouse.Invalid, "the repository's URL is empty")
	case strings.HasPrefix(c.url, "-"), strings.HasPrefix(c.url, "ext::"):
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not a repository's URL", c.shown)
	case !safeRef(c.branch):
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not a branch's name", c.branch)
	case !safeRef(c.revision):
		return nil, dormouse.Errorf(dormouse.Invalid, "%q is not a revision", c.revision)
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
	return c, nil
}

// gitEnvironment keeps git from waiting for a person, and its messages in the
// language that hint reads.
var gitEnvironment = map[string]string{"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}

// safeRef reports whether git can take a name for nothing but a ref or a
// revision: no option, no refspec, no range.
func safeRef(name string) bool {
	return !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "+") && !strings.ContainsAny(name, " \t\r\n\x00:*?[\\") && !strings.Contains(name, "..")
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
	switch {
	case c.Mode == "full" && c.Method == "clobber":
		return c.clobber(ctx)
	case c.Mode == "full" && c.Method == "copy":
		return c.copy(ctx)
	case c.Mode != "full" && c.Mode != "incremental" && c.Mode != "":
		return dormouse.Errorf(dormouse.Invalid, "mode %q is neither incremental nor full", c.Mode)
	}
	is, err := c.found(ctx)
	switch {
	case err != nil:
		return err
	case is == nothing:
		return c.clone(ctx)
	case is == somethingElse:
		return c.clobber(ctx)
	case c.Mode != "full":
		return c.fetch(ctx)
	}
	clean := []string{"clean", "-f", "-f", "-d", "-x"}
	switch c.Method {
	case "clean":
		clean = clean[:4]
	case "", "fresh":
	default:
		return dormouse.Errorf(dormouse.Invalid, "method %q is none of clobber, fresh, clean and copy", c.Method)
	}
	if err := c.git(ctx, clean...); err != nil {
		if !isGitError(err) || c.Method == "clean" {
			return err
		}
		// What can not be cleaned is no repository worth keeping.
		return c.clobber(ctx)
	}
	if err := c.fetch(ctx); err != nil {
		return err
	}
	if c.Submodules {
		return c.git(ctx, append([]string{"submodule", "foreach", "--recursive", "git"}, clean...)...)
	}
	return nil
}

// What the working directory may be before the step.
type findings int

const (
	nothing findings = iota
	repository
	somethingElse
)

func (c *checkout) found(ctx context.Context) (findings, error) {
	// A directory that is not there is the ordinary case of a new worker: its
	// "no such file" would only frighten.
	end, err := c.step.run(ctx, command{name: "listdir", quiet: true, args: map[string]any{"path": c.dir}})
	if err != nil {
		return nothing, err
	}
	for _, name := range end.Files {
		if name == ".git" {
			return repository, nil
		}
	}
	if len(end.Files) > 0 {
		return somethingElse, nil
	}
	return nothing, nil
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
	c.dir, c.Mode, c.Method = source, "incremental", ""
	err := c.update(ctx)
	c.dir = target
	if err != nil {
		return err
	}
	_, err = c.tool(ctx, c.step.path("."), "cp", "-R", "-P", "-p", "--", source, target)
	return err
}

func (c *checkout) clone(ctx context.Context) error {
	args := []string{"clone", "--progress"}
	fetchBranch := strings.HasPrefix(c.branch, "refs/") // clone takes branches and tags alone
	switch {
	case fetchBranch || c.revision != "":
		args = append(args, "--no-checkout")
	case c.branch != "":
		args = append(args, "--branch", c.branch)
	}
	args = append(args, c.depth()...)
	if err := c.git(ctx, append(args, "--", c.url, ".")...); err != nil {
		return err
	}
	if fetchBranch || c.revision != "" {
		return c.fetch(ctx)
	}
	return c.submodules(ctx)
}

// fetch brings an existing repository to the revision asked for. Commits that
// are not part of it are left alone, files that git does not know too.
func (c *checkout) fetch(ctx context.Context) error {
	target := "FETCH_HEAD"
	if c.revision != "" {
		target = c.revision
	}
	have := false
	if c.revision != "" {
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
	args := append([]string{"fetch", "-f", "-t", "--progress"}, c.depth()...)
	return c.git(ctx, append(args, "--", c.url, ref)...)
}

func (c *checkout) depth() []string {
	if c.Shallow <= 0 {
		return nil
	}
	return []string{"--depth", strconv.Itoa(c.Shallow)}
}

func (c *checkout) submodules(ctx context.Context) error {
	if !c.Submodules {
		return nil
	}
	if err := c.git(ctx, "submodule", "sync", "--recursive"); err != nil {
		return err
	}
	return c.git(ctx, "submodule", "update", "--init", "--recursive", "--force", "--checkout")
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
	out, err := c.tool(ctx, c.dir, "git", "rev-parse", "HEAD")
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
	_, err := c.tool(ctx, c.dir, append([]string{"git"}, args...)...)
	return err
}

// tool runs one command line, with its output in the step's log, and returns
// the beginning of what it printed. A *gitError says that it ran and failed.
func (c *checkout) tool(ctx context.Context, dir string, line ...string) (output string, err error) {
	argv, err := flatten(nil, line)
	if err != nil {
		return "", err
	}
	end, err := c.step.run(ctx, command{
		name: "shell", sigterm: gitTerm, sayCode: true, keep: true,
		args: map[string]any{
			"command": argv, "workdir": dir, "env": c.env,
			"timeout": seconds(c.Timeout), "maxTime": nil, "sigtermTime": seconds(gitTerm),
			"want_stdout": true, "want_stderr": true, "logEnviron": false,
			"usePTY": false, "logfiles": map[string]any{}, "initial_stdin": nil,
		},
	})
	c.said = end.Complaints
	switch {
	case err != nil:
		return "", err
	case !end.HasRC:
		return "", dormouse.Errorf(dormouse.Internal, "the worker did not say how %s ended", line[0])
	case end.RC != 0 || end.Reason != "":
		return "", &gitError{what: "run " + strings.Join(line, " "), code: end.RC, reason: end.Reason}
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
