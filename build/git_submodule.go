package build

import (
	"context"
	"strings"
)

// submodules brings the submodules to what the commit says. Each level is told of
// its URLs when the one above it is there: what a submodule says of its own
// submodules may have changed with it.
func (c *checkout) submodules(ctx context.Context) error {
	if !c.Submodules {
		return nil
	}
	err := c.updateSubmodules(ctx, c.depth()...)
	if !isRefused(err) {
		return err
	}
	// Some are shallow, by our will or their own, and their server gives no commit
	// by its name: with its branches it does.
	c.step.header(ctx, "could not "+err.Error()+"; fetching the whole history of the submodules")
	if err := c.git(ctx, "submodule", "foreach", "--recursive", deepen); err != nil {
		return err
	}
	return c.updateSubmodules(ctx, "--no-recommend-shallow")
}

// deepen fetches what a shallow repository lacks. A shallow clone knows of one
// branch only.
const deepen = `test ! -e "$(git rev-parse --git-dir)/shallow" || git fetch --unshallow origin '+refs/heads/*:refs/remotes/origin/*'`

func (c *checkout) updateSubmodules(ctx context.Context, options ...string) error {
	sync := []string{"submodule", "sync"}
	update := []string{"submodule", "update", "--init", "--force", "--checkout"}
	if c.RemoteSubmodules {
		update = append(update, "--remote")
	}
	update = append(update, options...)
	if err := c.git(ctx, sync...); err != nil {
		return err
	}
	if err := c.git(ctx, update...); err != nil {
		return err
	}
	below := "git " + strings.Join(sync, " ") + " && git " + strings.Join(update, " ")
	return c.git(ctx, "submodule", "foreach", "--recursive", below)
}
