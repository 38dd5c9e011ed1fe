package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newInstancesCommand() *cobra.Command {
	var all, reap, dryRun bool
	cmd := &cobra.Command{
		Use:   "instances",
		Short: "List the instances that live, and what they cost",
		Long: `List the instances that live, and what they cost.

With --reap, look in every account for what no worker has use for any more, and
end it: instances, elastic addresses that they hold, open spot requests. The
master does so by itself, within minutes; --reap does it now, and --dry-run says
what there is and why it would go. Volumes are listed and never deleted.`,
		Example: `  dormouse instances --all
  dormouse instances --reap --dry-run`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that have ended, too")
	cmd.Flags().BoolVar(&reap, "reap", false, "end what was left behind in the accounts")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "with --reap: only say what would be done, and why")
	cmd.MarkFlagsMutuallyExclusive("all", "reap")
	connectionFlags(cmd)(func(ctx context.Context, c *connection, _ []string) error {
		switch {
		case reap:
			return c.reap(ctx, dryRun)
		case dryRun:
			return usageErrorf("--dry-run goes with --reap")
		}
		instances, err := c.Instances(ctx, all)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(instances)
		}
		if len(instances) == 0 {
			c.notef("No instance lives: nothing costs anything now.\n")
			return nil
		}
		rows := make([][]string, len(instances))
		for i, in := range instances {
			rows[i] = []string{
				plain(in.ID), plain(in.InstanceType), dash(plain(in.Zone)), plain(string(in.Market)), c.instanceState(in),
				plain(in.Worker), c.ago(in.LaunchedAt), c.span(in.LaunchedAt, in.EndedAt), price(in.PricePerHour), c.accrued(in),
			}
		}
		c.table([]string{"INSTANCE", "TYPE", "ZONE", "MARKET", "STATE", "WORKER", "LAUNCHED", "LIVED", "$/HOUR", "COST"}, rows)
		for _, in := range instances {
			if in.TerminationRefused != "" {
				c.printf("%s %s cannot be terminated; it is tried again: %s\n", c.paint(red, "warning:"), plain(in.ID), plain(in.TerminationRefused))
			}
		}
		if all { // a long list is cut off, and what runs may be old
			if instances, err = c.Instances(ctx, false); err != nil {
				return err
			}
		}
		c.printf("%s\n", runningNow(instances))
		return nil
	})
	return cmd
}

func (p *printer) instanceState(in dormouse.Instance) string {
	text := plain(string(in.State))
	switch {
	case in.State == dormouse.InstanceRunning:
		return p.paint(green, text)
	case in.State.Dying():
		return p.paint(grey, text)
	default:
		return p.paint(yellow, text)
	}
}

// accrued writes what an instance has cost so far.
func (p *printer) accrued(in dormouse.Instance) string {
	usd, known := in.Cost(time.Time{}, time.Time{}, p.now())
	if !known {
		return "unknown"
	}
	return dollars(&usd)
}

// runningNow says what runs, and what that costs per hour.
func runningNow(instances []dormouse.Instance) string {
	running := 0
	for _, in := range instances {
		if in.Runs() {
			running++
		}
	}
	usd, unknown := dormouse.HourlyRate(instances)
	switch {
	case running == 0:
		return "Nothing runs now."
	case unknown == 0:
		return fmt.Sprintf("Running now: %s, %s per hour.", countInstances(running), dollars(&usd))
	case unknown == running:
		return fmt.Sprintf("Running now: %s of unknown price.", countInstances(running))
	default:
		return fmt.Sprintf("Running now: %s, %s per hour and %d of unknown price.", countInstances(running), dollars(&usd), unknown)
	}
}

// price writes dollars per hour; a price that is not known is not made up.
func price(p *float64) string {
	if p == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.4f", *p)
}
