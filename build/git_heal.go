package build

import (
	"context"
	"path"
	"slices"
	"strings"
)

// unfinished are what git keeps in its directory of something that it was
// interrupted in: while it is there, git goes on with that instead of beginning
// anew, or refuses to.
var unfinished = []string{
	"MERGE_HEAD", "MERGE_MODE", "MERGE_MSG", "MERGE_RR", "MERGE_AUTOSTASH", "AUTO_MERGE", "SQUASH_MSG",
	"CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD", "rebase-apply", "rebase-merge", "sequencer",
	"BISECT_ANCESTORS_OK", "BISECT_EXPECTED_REV", "BISECT_FIRST_PARENT", "BISECT_HEAD", "BISECT_LOG",
	"BISECT_NAMES", "BISECT_RUN", "BISECT_START", "BISECT_TERMS",
}

// heal takes away what a git that was killed has left: no git runs here when the
// step begins.
func (c *checkout) heal(ctx context.Context) error {
	dir := c.dir + "/.git"
	names, err := c.list(ctx, dir)
	if err != nil {
		return err
	}
	var left []string
	for _, name := range names {
		if slices.Contains(unfinished, name) {
			left = append(left, dir+"/"+name)
		}
	}
	patterns := []string{"**/*.lock"}
	if slices.Contains(names, "modules") {
		// A name that begins with a dot is found by its dot alone.
		patterns = append(patterns, "modules/**/.*/**/*.lock", "modules/**/rebase-apply", "modules/**/rebase-merge")
	}
	for _, pattern := range patterns {
		found, err := c.glob(ctx, dir, pattern)
		if err != nil {
			return err
		}
		left = append(left, found...)
	}
	if len(left) == 0 {
		return nil
	}
	c.step.header(ctx, "an interrupted git has left "+strings.Join(left, ", ")+": removing that")
	return c.remove(ctx, left...)
}

// glob finds files in git's directory, except what has the name of a submodule.
func (c *checkout) glob(ctx context.Context, dir, pattern string) ([]string, error) {
	end, err := c.step.run(ctx, command{name: "glob", quiet: true, args: map[string]any{"path": asIs.Replace(dir) + "/" + pattern}})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(end.Files, func(file string) bool {
		return path.Base(path.Dir(strings.ReplaceAll(file, `\`, "/"))) == "modules"
	}), nil
}

// asIs takes their meaning from the characters that have one in a pattern.
var asIs = strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]")
