package build

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// target is what is built.
type target struct {
	commit string // its whole name
	branch string // the local branch that it is built on; "" is none
}

// find finds out which commit is asked for, and fetches it where it has not come
// with all branches.
func (c *checkout) find(ctx context.Context) (target, error) {
	if c.revision == "" {
		return c.findRef(ctx, c.branch)
	}
	commit, err := c.findRevision(ctx)
	if err != nil {
		return target{}, err
	}
	branch, err := c.branchOfRevision(ctx)
	return target{commit: commit, branch: branch}, err
}

// fullRefs are the refs that a name can be of, those that go first first: a branch
// before a tag, whatever git prefers.
func fullRefs(name string) []string {
	switch {
	case strings.HasPrefix(name, "refs/"):
		return []string{name}
	case strings.Contains(name, "/"): // pull/7/head
		return []string{"refs/heads/" + name, "refs/tags/" + name, "refs/" + name}
	}
	return []string{"refs/heads/" + name, "refs/tags/" + name}
}

// findRef finds what a branch, a tag or another ref of the server's is at.
func (c *checkout) findRef(ctx context.Context, name string) (target, error) {
	if name == "" {
		return c.findDefault(ctx)
	}
	for _, ref := range fullRefs(name) {
		commit, err := c.take(ctx, ref)
		if err != nil {
			return target{}, err
		}
		if commit != "" {
			branch, _ := strings.CutPrefix(ref, "refs/heads/")
			if branch == ref {
				branch = ""
			}
			return target{commit: commit, branch: branch}, nil
		}
	}
	return target{}, c.missingRef(name)
}

// findDefault finds what the server's HEAD is at, and which branch that is.
func (c *checkout) findDefault(ctx context.Context) (t target, err error) {
	if c.head == "" && c.shallow() {
		name, err := c.askDefault(ctx)
		if err != nil {
			return t, err
		}
		if name != "" {
			return c.findRef(ctx, name)
		}
		if c.head, err = c.take(ctx, "HEAD"); err != nil {
			return t, err
		}
	}
	if t.commit = c.head; t.commit == "" {
		return t, c.missingRef("")
	}
	branch, err := c.defaultBranch(ctx)
	if err != nil || branch == "" {
		return t, err
	}
	at, err := c.commitOf(ctx, c.tracking(branch))
	if at == t.commit {
		t.branch = branch
	}
	return t, err
}

// askDefault asks the server which ref its HEAD is; "" where it is none.
func (c *checkout) askDefault(ctx context.Context) (string, error) {
	out, err := c.output(ctx, "ls-remote", "--symref", "--", c.remote(), "HEAD")
	for _, line := range outputLines(out) {
		if ref, ok := strings.CutPrefix(line, "ref: "); ok {
			ref, _, _ = strings.Cut(ref, "\t")
			return ref, err
		}
	}
	return "", err
}

// take returns the commit of one ref of the server's; "" where it has none.
func (c *checkout) take(ctx context.Context, ref string) (string, error) {
	if here := c.here(ref); here != "" {
		return c.commitOf(ctx, here)
	}
	err := c.fetch(ctx, ref)
	if isMissing(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.commitOf(ctx, "FETCH_HEAD")
}

// here is where a ref is kept that has come with others; "" where it has not.
func (c *checkout) here(ref string) string {
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	switch {
	case isBranch && !c.shallow():
		return c.tracking(branch)
	case strings.HasPrefix(ref, "refs/tags/") && c.tags() == allTags && !c.shallow():
		return ref
	}
	return ""
}

var (
	// A commit's name, by either hash that git knows, and the beginning of one.
	fullHash  = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	shortHash = regexp.MustCompile(`^[0-9a-f]{4,63}$`)
)

// findRevision finds the commit that a revision names: a hash, the beginning of
// one, or a tag or branch.
func (c *checkout) findRevision(ctx context.Context) (string, error) {
	hash := strings.ToLower(c.revision)
	switch {
	case fullHash.MatchString(hash):
		return c.findHash(ctx, hash)
	case shortHash.MatchString(hash):
		if commit, err := c.findShort(ctx, hash); err != nil || commit != "" {
			return commit, err
		}
	}
	t, err := c.findRef(ctx, c.revision)
	if isMissing(err) {
		err = c.missingRevision(shortHash.MatchString(hash))
	}
	return t.commit, err
}

// findHash finds a commit. One that is on no branch is fetched by its name, which
// most servers give. Those that do not may give it as part of what the request
// calls its branch.
func (c *checkout) findHash(ctx context.Context, hash string) (string, error) {
	if commit, err := c.commitOf(ctx, hash); err != nil || commit != "" {
		return commit, err
	}
	refused := c.fetch(ctx, hash)
	if refused == nil {
		return c.commitOf(ctx, hash)
	}
	if !isRefused(refused) {
		return "", refused
	}
	names := []string{"HEAD"}
	if c.branch != "" {
		names = fullRefs(c.branch)
	}
	for _, name := range names {
		if c.here(name) != "" || name == "HEAD" && !c.shallow() {
			continue
		}
		err := c.fetch(ctx, name)
		if err != nil && !isMissing(err) {
			return "", err
		}
		if err == nil {
			if commit, err := c.commitOf(ctx, hash); err != nil || commit != "" {
				return commit, err
			}
		}
	}
	return "", c.refusedRevision(refused)
}

// findShort finds the one commit whose name begins so; "" where there is none.
func (c *checkout) findShort(ctx context.Context, hash string) (string, error) {
	if c.shallow() {
		// Servers give no commits by the beginning of their name.
		if _, err := c.findRef(ctx, c.branch); err != nil && !isMissing(err) {
			return "", err
		}
	}
	out, err := c.ask(ctx, "rev-parse", "--disambiguate="+hash)
	if err != nil {
		return "", err
	}
	var commits []string
	for _, object := range outputLines(out) {
		commit, err := c.commitOf(ctx, object)
		if err != nil {
			return "", err
		}
		if commit != "" && !slices.Contains(commits, commit) {
			commits = append(commits, commit)
		}
	}
	switch len(commits) {
	case 0:
		return "", nil
	case 1:
		return commits[0], nil
	}
	return "", c.ambiguous(commits)
}

// branchOfRevision is the local branch for a revision: what the request calls its
// branch, unless that is something else.
func (c *checkout) branchOfRevision(ctx context.Context) (string, error) {
	if branch, ok := strings.CutPrefix(c.branch, "refs/heads/"); ok {
		return branch, nil
	}
	if c.branch == "" || strings.HasPrefix(c.branch, "refs/") {
		return "", nil
	}
	if tag, err := c.commitOf(ctx, "refs/tags/"+c.branch); err != nil || tag == "" {
		return c.branch, err
	}
	if tip, err := c.commitOf(ctx, c.tracking(c.branch)); err != nil || tip == "" {
		return "", err
	}
	return c.branch, nil
}

// commitOf is the commit that a full ref or an object's name stands for; "" where
// the repository has none.
func (c *checkout) commitOf(ctx context.Context, name string) (string, error) {
	out, err := c.ask(ctx, "rev-parse", "--verify", "--quiet", name+"^{commit}")
	if isRefused(err) || isGitError(err) && codeOf(err) == 1 {
		return "", nil
	}
	return strings.TrimSpace(out), err
}
