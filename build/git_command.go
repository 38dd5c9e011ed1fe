package build

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// gitTerm is how long git has to end and take its lock files away; killed at
// once, it leaves them to stop the next build.
const gitTerm = time.Second

// git runs git, with what it says in the step's log.
func (c *checkout) git(ctx context.Context, args ...string) error {
	_, err := c.tool(ctx, c.gitRun(args))
	return err
}

// output is git, and returns the beginning of what it printed, as it is: a name of a
// commit that happens to hold a secret is still that name.
func (c *checkout) output(ctx context.Context, args ...string) (string, error) {
	r := c.gitRun(args)
	r.exact = true
	return c.tool(ctx, r)
}

// ask has git say or note something of the repository that is there: the log is not
// told of it.
func (c *checkout) ask(ctx context.Context, args ...string) (string, error) {
	r := c.gitRun(args)
	r.quiet, r.exact = true, true
	return c.tool(ctx, r)
}

func (c *checkout) gitRun(args []string) toolRun {
	r := toolRun{name: "git", args: args, options: c.options, dir: c.dir, env: c.gitEnv()}
	if args[0] == "fetch" || args[0] == "submodule" {
		// What git cleans up after that is done when it ends: else it would go on
		// beside the build, and be killed with it.
		r.options = slices.Concat([]string{"-c", "gc.autoDetach=false"}, r.options)
	}
	if c.asksServer(args) {
		c.identify(&r)
	}
	return r
}

// outputLines are the lines that a command printed.
func outputLines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' || r == '\r' })
}

// asksServer reports whether a git command may talk to a server. A checkout
// does for what a filter has left out, and for large files that are kept
// elsewhere.
func (c *checkout) asksServer(args []string) bool {
	switch args[0] {
	case "clone", "fetch", "ls-remote", "checkout":
		return true
	case "submodule":
		return args[1] != "sync"
	case "remote":
		return slices.Contains(args, "--auto")
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
	quiet   bool // nothing of it is to be shown
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
	logEnviron := c.LogEnviron && !c.loggedEnviron && !r.secret && !r.quiet
	c.loggedEnviron = c.loggedEnviron || logEnviron
	end, err := c.step.run(ctx, command{
		name: "shell", sigterm: gitTerm, sayCode: !r.quiet, keep: true, quiet: r.quiet, exact: r.exact,
		args: map[string]any{
			"command": argv, "workdir": r.dir, "env": r.env,
			"timeout": seconds(c.Timeout), "maxTime": nil, "sigtermTime": seconds(gitTerm),
			"want_stdout": true, "want_stderr": true, "logEnviron": logEnviron,
			"usePTY": false, "logfiles": map[string]any{}, "initial_stdin": nil,
		},
	})
	switch {
	case err != nil:
		return "", err
	case !end.HasRC:
		return "", dormouse.Errorf(dormouse.Internal, "the worker did not say how %s ended", r.name)
	case end.RC != 0 || end.Reason != "":
		failure := &gitError{what: "run " + r.name + " " + strings.Join(r.args, " "), code: end.RC, reason: end.Reason, said: end.Complaints, quiet: r.quiet}
		if r.name == "git" {
			failure.args = r.args
		}
		return "", failure
	}
	return end.Output, nil
}
