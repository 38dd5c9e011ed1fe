package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

func newForceCommand() *cobra.Command {
	var req web.ForceRequest
	var properties []string
	var wait, log bool
	cmd := &cobra.Command{
		Use:   "force BUILDER",
		Short: "Start builds by hand",
		Long: `Start builds by hand. The numbers of the build requests are printed; "dormouse
why NUMBER" tells what becomes of each.

With --wait the builds are followed to their end, and the exit code is 0 only if
every one ended with success or warnings. To interrupt that stops no build.`,
		Example: `  dormouse force linux --wait --log
  dormouse force linux --branch main --reason 'try the new compiler'
  dormouse force linux --property mode=full --property 'targets:=["a","b"]'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeBuilders,
	}
	f := cmd.Flags()
	f.StringVar(&req.Branch, "branch", "", "the `branch` to build")
	f.StringVar(&req.Revision, "revision", "", "the `revision` to build")
	f.StringVar(&req.Repository, "repository", "", "the `repository` to build, where the builder leaves that open")
	f.StringVar(&req.Codebase, "codebase", "", "the `codebase` that branch, revision and repository are of")
	f.StringVar(&req.Scheduler, "scheduler", "", "the ForceScheduler to use, where several allow the builder")
	f.StringVar(&req.Reason, "reason", "", "why, for those who see the build")
	f.StringArrayVar(&properties, "property", nil, "a property: `name=text`, or name:=JSON; may be given several times")
	f.IntVar(&req.Priority, "priority", 0, "higher goes first")
	f.IntVar(&req.Count, "count", 1, "how many builds, up to 1000")
	f.BoolVar(&wait, "wait", false, "follow the builds to their end")
	f.BoolVar(&log, "log", false, "with --wait: print what the steps print")
	// "dormouse log" has a flag of this name, which takes a text.
	_ = f.SetAnnotation("log", envAnnotation, []string{"DORMOUSE_WAIT_LOG"})
	connectionFlags(cmd)(func(ctx context.Context, c *connection, args []string) error {
		if req.Count < 1 || req.Count > 1000 {
			return usageErrorf("--count is from 1 to 1000")
		}
		var err error
		if req.Properties, err = parseProperties(properties); err != nil {
			return err
		}
		req.Builder = args[0]
		made, err := c.Force(ctx, req)
		if err != nil {
			return err
		}
		if wait {
			return c.followRequests(ctx, req.Builder, made, log && !c.json)
		}
		if c.json {
			return c.printJSON(made)
		}
		for _, r := range made {
			c.printf("request %d for %s\n", r.ID, plain(r.Builder))
		}
		return nil
	})
	return cmd
}

// parseProperties reads name=text and name:=JSON.
func parseProperties(list []string) (map[string]any, error) {
	out := map[string]any{}
	for _, p := range list {
		name, text, ok := strings.Cut(p, "=")
		raw := strings.HasSuffix(name, ":")
		name = strings.TrimSuffix(name, ":")
		if !ok || name == "" {
			return nil, usageErrorf("%q is no property: it is name=text, or name:=JSON", p)
		}
		if !raw {
			out[name] = text
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, usageErrorf("the property %s is not JSON (%w); for a text write %s=…", name, err, name)
		}
		out[name] = v
	}
	return out, nil
}

// followRequests follows build requests to their end and prints what happens.
func (c *connection) followRequests(ctx context.Context, builder string, made []dormouse.BuildRequest, logs bool) error {
	f := newFollower(c, logs)
	err := f.run(ctx, builder, made)
	if errors.Is(err, context.Canceled) {
		c.notef("Interrupted; the build goes on. \"dormouse why %d\" tells how it stands.\n", made[0].ID)
		return err
	}
	if err != nil {
		return err
	}
	ends := f.ends(made)
	if c.json {
		if err := c.printJSON(ends); err != nil {
			return err
		}
	}
	for _, r := range ends {
		if r.Result == nil || *r.Result != dormouse.Success && *r.Result != dormouse.Warnings {
			return errFailed
		}
	}
	return nil
}
