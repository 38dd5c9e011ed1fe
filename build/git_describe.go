package build

import (
	"context"
	"strconv"
	"strings"
)

// describe returns what git calls the commit that was checked out. It is "" where
// that is not asked for, and where git has no name for it, which is no failure.
func (c *checkout) describe(ctx context.Context) (string, error) {
	if c.Description == nil {
		return "", nil
	}
	out, err := c.output(ctx, c.describing()...)
	if isGitError(err) {
		c.step.header(ctx, "git has no description of this commit: commit-description is not set")
		return "", nil
	}
	return strings.TrimSpace(out), err
}

func (c *checkout) describing() []string {
	d, args := c.Description, []string{"describe"}
	for _, o := range []struct {
		name string
		on   bool
	}{
		{"all", d.All},
		{"always", d.Always},
		{"contains", d.Contains},
		{"debug", d.Debug},
		{"exact-match", d.ExactMatch},
		{"first-parent", d.FirstParent},
		{"long", d.Long},
		{"tags", d.Tags},
	} {
		if o.on {
			args = append(args, "--"+o.name)
		}
	}
	for _, pattern := range d.Match {
		args = append(args, "--match="+pattern)
	}
	for _, pattern := range d.Exclude {
		args = append(args, "--exclude="+pattern)
	}
	if d.Abbrev != nil {
		args = append(args, "--abbrev="+strconv.Itoa(*d.Abbrev))
	}
	if d.Candidates != nil {
		args = append(args, "--candidates="+strconv.Itoa(*d.Candidates))
	}
	switch {
	case d.Dirty == nil:
		return append(args, "HEAD")
	case *d.Dirty == "":
		return append(args, "--dirty")
	}
	return append(args, "--dirty="+*d.Dirty) // it is of the tree, and takes no commit
}
