package build

import (
	"context"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

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
// and takes away what git does not know where clean says so. A repository that
// git cannot work with is cloned anew.
func (c *checkout) refresh(ctx context.Context, clean []string) error {
	is, err := c.found(ctx)
	switch {
	case err != nil:
		return err
	case is == somethingElse, is != nothing && c.halfCloned:
		return c.clobber(ctx)
	case is == nothing:
		return c.orClobber(ctx, c.first(ctx))
	}
	err = c.again(ctx, clean)
	if isGitError(err) && c.RetryFetch && !c.damaged(err) {
		c.step.header(ctx, "could not "+err.Error()+"; fetching once more")
		err = c.again(ctx, clean)
	}
	if c.damaged(err) {
		c.step.header(ctx, "could not "+err.Error()+": the repository in "+c.dir+" is damaged; removing it to clone it anew")
		return c.clobber(ctx)
	}
	return c.orClobber(ctx, err)
}

// first makes a repository, and brings it to the revision asked for.
func (c *checkout) first(ctx context.Context) error {
	c.halfCloned = true
	if err := c.create(ctx); err != nil {
		return err
	}
	c.halfCloned = false
	return c.bring(ctx)
}

// again brings the repository that is there to the revision asked for.
func (c *checkout) again(ctx context.Context, clean []string) error {
	if err := c.heal(ctx); err != nil {
		return err
	}
	if clean != nil {
		if err := c.git(ctx, clean...); err != nil {
			return err
		}
	}
	if err := c.fetchAgain(ctx); err != nil {
		return err
	}
	if err := c.bring(ctx); err != nil || clean == nil || !c.Submodules {
		return err
	}
	if err := c.git(ctx, slices.Concat([]string{"submodule", "foreach", "--recursive", "git"}, clean)...); err != nil {
		return err
	}
	// What was a submodule before is left, and unknown only now.
	return c.git(ctx, clean...)
}

// bring finds the commit that is asked for and puts it, with its submodules, into
// the working directory. Commits that are not part of it are left alone, files
// that git does not know too.
func (c *checkout) bring(ctx context.Context) error {
	t, err := c.find(ctx)
	if err != nil {
		return err
	}
	if err := c.switchTo(ctx, t); err != nil {
		return err
	}
	return c.submodules(ctx)
}

// switchTo puts a commit into the working directory. The one local branch is that
// which is built, as after a clone: others would be as old as their last build, or
// in the way of a branch below their name.
func (c *checkout) switchTo(ctx context.Context, t target) error {
	if err := c.git(ctx, "checkout", "-f", "--no-recurse-submodules", "--detach", t.commit, "--"); err != nil {
		return err
	}
	if err := c.forgetBranches(ctx, t.branch); err != nil || t.branch == "" {
		return err
	}
	if err := c.git(ctx, "checkout", "-B", t.branch, "--"); err != nil {
		if isGitError(err) && c.revision != "" {
			return nil // git has the revision; what the request calls its branch is none
		}
		return err
	}
	_, err := c.ask(ctx, "branch", "--set-upstream-to="+c.tracking(t.branch), t.branch)
	if isGitError(err) {
		return nil // the server does not have the branch any more
	}
	return err
}

// forgetBranches removes the local branches, except one.
func (c *checkout) forgetBranches(ctx context.Context, except string) error {
	out, err := c.ask(ctx, "for-each-ref", "--format=%(refname:strip=2)", "refs/heads")
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(outputLines(out), func(name string) bool { return name == except })
	if len(others) == 0 {
		return nil
	}
	err = c.git(ctx, slices.Concat([]string{"branch", "-D", "--"}, others)...)
	if isGitError(err) {
		return nil // a build has it in another worktree
	}
	return err
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
	switch {
	case err != nil:
		return nothing, err
	case slices.Contains(names, ".git"):
		return repository, nil
	case len(names) > 0:
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
	return c.first(ctx)
}

// remove removes files, and directories with all that is in them.
func (c *checkout) remove(ctx context.Context, paths ...string) error {
	list := make([]any, len(paths))
	for i, p := range paths {
		list[i] = p
	}
	args := map[string]any{"paths": list, "logEnviron": false}
	if c.Timeout > 0 {
		args["timeout"] = seconds(c.Timeout)
	}
	end, err := c.step.run(ctx, command{name: "rmdir", args: args})
	if err != nil {
		return err
	}
	if end.RC != 0 {
		return &gitError{what: "remove " + strings.Join(paths, ", "), code: end.RC}
	}
	return nil
}

// copy updates a directory that no build writes to, and copies it.
func (c *checkout) copy(ctx context.Context) error {
	target, source := c.dir, c.step.path(copySource)
	if target == source {
		return dormouse.Errorf(dormouse.Invalid, "method copy cannot work in %s, where it keeps what it copies", source)
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
