package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newInstancesCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "instances",
		Short: "List the instances that live, and what they cost",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that have ended, too")
	connectionFlags(cmd)(func(ctx context.Context, c *connection, _ []string) error {
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
				plain(in.Worker), c.ago(in.LaunchedAt), c.span(in.LaunchedAt, in.EndedAt), price(in.PricePerHour),
			}
		}
		c.table([]string{"INSTANCE", "TYPE", "ZONE", "MARKET", "STATE", "WORKER", "LAUNCHED", "LIVED", "$/HOUR"}, rows)
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

// price writes dollars; a price that is not known is not made up.
func price(p *float64) string {
	if p == nil {
		return "unknown"
	}
	return fmt.Sprintf("%.4f", *p)
}
