package build

import (
	"context"
	"strings"
)

// create makes a repository that has what the server has, or, where that is all
// that a shallow checkout needs, is empty.
func (c *checkout) create(ctx context.Context) error {
	if c.shallow() && c.reference == "" && (c.branch != "" || c.revision != "") {
		// What is asked for has a name, by which one fetch brings it.
		if err := c.git(ctx, "init", "--quiet"); err != nil {
			return err
		}
		return c.git(ctx, "remote", "add", "--", c.remote(), c.url)
	}
	args := append(c.progress("clone"), "--no-checkout", "--origin", c.remote())
	if c.tags() != allTags {
		args = append(args, "--no-tags")
	}
	args = append(args, c.depth()...)
	if c.reference != "" {
		args = append(args, "--reference", c.reference)
	}
	args = append(args, c.filters()...)
	if err := c.git(ctx, append(args, "--", c.url, ".")...); err != nil {
		return err
	}
	if err := c.remember(ctx, "HEAD"); err != nil || !c.shallow() || c.tags() != allTags {
		return err
	}
	branch, err := c.defaultBranch(ctx) // a shallow clone takes its tags alone
	if err != nil || branch == "" {
		return err
	}
	return c.fetch(ctx, "refs/heads/"+branch)
}

// fetchAgain brings what the repository has of the server's to what the server
// has now, which may be another one than before.
func (c *checkout) fetchAgain(ctx context.Context) error {
	if _, err := c.ask(ctx, "config", "--replace-all", "remote."+c.remote()+".url", c.url); err != nil {
		return err
	}
	known, err := c.defaultBranch(ctx)
	if err != nil {
		return err
	}
	if c.shallow() {
		if known != "" {
			// It is brought with the others alone, which a shallow checkout does without.
			_, err = c.ask(ctx, "remote", "set-head", c.remote(), "--delete")
		}
		return err
	}
	var names []string
	asked := c.branch == "" && c.revision == ""
	if asked || known != "" {
		names = []string{"HEAD"}
	}
	err = c.fetch(ctx, names...)
	if isMissing(err) && !asked {
		names = nil
		err = c.fetch(ctx)
	}
	if err == nil && names != nil {
		err = c.remember(ctx, "FETCH_HEAD")
	}
	if err != nil {
		return err
	}
	return c.followDefault(ctx, known)
}

// followDefault makes the default branch that of the server; known is what it was.
func (c *checkout) followDefault(ctx context.Context, known string) error {
	if known != "" && c.head != "" {
		if at, err := c.commitOf(ctx, c.tracking(known)); err != nil || at == c.head {
			return err
		}
	}
	_, err := c.ask(ctx, "remote", "set-head", c.remote(), "--auto")
	if isGitError(err) {
		_, err = c.ask(ctx, "remote", "set-head", c.remote(), "--delete")
	}
	if isGitError(err) {
		return nil // there was none
	}
	return err
}

// remember keeps which commit the server's HEAD is.
func (c *checkout) remember(ctx context.Context, name string) (err error) {
	c.head, err = c.commitOf(ctx, name)
	return err
}

// noRefs are refs that no server has: what is to be fetched from there is taken
// away here.
const noRefs = "refs/dormouse/none/*"

// fetch fetches refs or commits, by their whole names. With it come, unless the
// checkout is shallow, all branches, and the tags that are wanted; what the server
// does not have any more goes, and first, as it may be in the way of a new name.
func (c *checkout) fetch(ctx context.Context, names ...string) error {
	args := append(c.progress("fetch"), "--force", "--prune", "--no-recurse-submodules")
	tags := c.tags()
	if tags != itsTags {
		args = append(args, "--no-tags")
	}
	args = append(append(append(args, c.depth()...), c.filters()...), "--", c.remote())
	for _, name := range names {
		args = append(args, c.refspec(name))
	}
	branches := "refs/heads/*"
	if c.shallow() {
		branches = noRefs
	}
	args = append(args, "+"+branches+":"+c.tracking("*"))
	switch tags {
	case allTags:
		args = append(args, "+refs/tags/*:refs/tags/*")
	case noTags:
		args = append(args, "+"+noRefs+":refs/tags/*")
	}
	return c.git(ctx, args...)
}

// refspec says where a ref is kept that does not come with others.
func (c *checkout) refspec(name string) string {
	branch, isBranch := strings.CutPrefix(name, "refs/heads/")
	switch {
	case isBranch && c.shallow():
		return "+" + name + ":" + c.tracking(branch)
	case strings.HasPrefix(name, "refs/tags/") && c.tags() != allTags:
		return "+" + name + ":" + name
	}
	return name
}

// tracking is what a branch of the server's is called here.
func (c *checkout) tracking(branch string) string {
	return "refs/remotes/" + c.remote() + "/" + branch
}

// defaultBranch is the branch that the repository believes to be the server's
// default; "" where it knows none.
func (c *checkout) defaultBranch(ctx context.Context) (string, error) {
	out, err := c.ask(ctx, "symbolic-ref", "--quiet", c.tracking("HEAD"))
	if isGitError(err) {
		return "", nil
	}
	branch, _ := strings.CutPrefix(strings.TrimSpace(out), c.tracking(""))
	return branch, err
}

// tagging says which tags are fetched.
type tagging int

const (
	noTags  tagging = iota
	itsTags         // those of the commits that are fetched
	allTags         // the server's
)

// tags are all by default, and none in a shallow checkout, where each has a commit
// with all its files; a description needs some.
func (c *checkout) tags() tagging {
	described := c.Description != nil
	switch {
	case c.Tags != nil && *c.Tags, c.Tags == nil && !c.shallow(), described && !c.shallow():
		return allTags
	case described:
		return itsTags
	}
	return noTags
}

func (c *checkout) shallow() bool { return c.Shallow > 0 }
