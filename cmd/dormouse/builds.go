package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

func newBuildsCommand() *cobra.Command {
	var q web.BuildQuery
	var running bool
	cmd := &cobra.Command{
		Use:   "builds",
		Short: "List builds, the newest first",
		Example: `  dormouse builds --running
  dormouse builds --builder linux --limit 5 --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&q.Builder, "builder", "", "only of this `builder`")
	cmd.Flags().StringVar(&q.Worker, "worker", "", "only on this `worker`")
	cmd.Flags().BoolVar(&running, "running", false, "only those that run (--running=false: that have ended)")
	cmd.Flags().IntVar(&q.Limit, "limit", 20, "how many at most, up to 1000")
	cmd.Flags().Int64Var(&q.Before, "before", 0, "only builds with an `id` below this: the last of the page before")
	_ = cmd.RegisterFlagCompletionFunc("builder", completeBuilderFlag)
	_ = cmd.RegisterFlagCompletionFunc("worker", completeWorkerFlag)
	connectionFlags(cmd)(func(ctx context.Context, c *connection, _ []string) error {
		if q.Limit < 1 || q.Limit > web.MaxPage {
			return usageErrorf("--limit is from 1 to %d", web.MaxPage)
		}
		if cmd.Flags().Changed("running") {
			q.Running = &running
		}
		builds, err := c.Builds(ctx, q)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(builds)
		}
		if len(builds) == 0 {
			c.notef("No builds. \"dormouse force BUILDER\" makes one.\n")
			return nil
		}
		rows := make([][]string, len(builds))
		for i, b := range builds {
			rows[i] = []string{
				plain(buildName(b)), fmt.Sprint(b.ID), c.result(b.Result), dash(plain(b.Worker)), dash(plain(b.InstanceID)),
				c.ago(b.StartedAt), c.span(b.StartedAt, b.FinishedAt), buildCost(b), buildState(b),
			}
		}
		c.table([]string{"BUILD", "ID", "RESULT", "WORKER", "INSTANCE", "STARTED", "TOOK", "COST", "STATE"}, rows)
		return nil
	})
	return cmd
}

// buildState writes what a build says of itself, and which try of its request it
// is where that had to be tried again.
func buildState(b dormouse.Build) string {
	text := plain(b.StateString)
	if b.Try > 1 || b.Result != nil && *b.Result == dormouse.Retry {
		text = strings.TrimSpace(text + tries(b.Try, b.MaxTries))
	}
	return text
}

// tries says which try it is, as in " (try 2 of 4)"; nothing where that is not known.
func tries(try, most int) string {
	switch {
	case try < 1:
		return ""
	case most < try: // the builder allows less by now, or is not configured
		return fmt.Sprintf(" (try %d)", try)
	}
	return fmt.Sprintf(" (try %d of %d)", try, most)
}

// buildCost writes a build's part of what its instance has cost so far.
func buildCost(b dormouse.Build) string {
	if b.Cost == nil {
		return "-"
	}
	return dollars(b.Cost)
}

// buildName is how a build is named on the command line: builder/number.
func buildName(b dormouse.Build) string { return fmt.Sprintf("%s/%d", b.Builder, b.Number) }
