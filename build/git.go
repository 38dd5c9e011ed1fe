package build

import (
	"context"
	"strconv"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// gitAction checks a repository out with the worker's own git.
type gitAction struct{ dormouse.Git }

var _ = does(func(a dormouse.Git) action { return gitAction{a} })

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
	head      string // the commit that the server's HEAD is; "" where that is not known
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
	if c.revision == "HEAD" {
		c.revision = ""
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
