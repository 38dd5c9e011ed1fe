package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newWorkersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "List workers and how they are",
		Args:  cobra.NoArgs,
	}
	connectionFlags(cmd)(func(ctx context.Context, c *connection, _ []string) error {
		workers, err := c.Workers(ctx)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(workers)
		}
		if len(workers) == 0 {
			c.notef("The configuration has no workers.\n")
			return nil
		}
		rows := make([][]string, len(workers))
		for i, w := range workers {
			builds := fmt.Sprint(w.Builds)
			if w.MaxBuilds > 0 {
				builds += fmt.Sprintf("/%d", w.MaxBuilds)
			}
			rows[i] = []string{
				plain(w.Name), c.phase(w), c.ago(w.Since), builds,
				dash(plain(strings.TrimSpace(w.InstanceID + " " + w.InstanceType))), plain(reason(w)),
			}
		}
		c.table([]string{"WORKER", "PHASE", "SINCE", "BUILDS", "INSTANCE", "REASON"}, rows)
		return nil
	})
	return cmd
}

// reason says what is in a worker's way, or what it does without.
func reason(w dormouse.WorkerStatus) string {
	if w.Reason == "" && len(w.PassedOver) > 0 {
		return "passed over " + strings.Join(w.PassedOver, "; ")
	}
	return w.Reason
}

// phase writes a worker's phase with what holds it back.
func (p *printer) phase(w dormouse.WorkerStatus) string {
	text := plain(w.Phase)
	if w.Connected {
		text = p.paint(green, text)
	}
	if w.QuarantinedUntil.After(p.now()) {
		text += p.paint(red, " (next try in "+fine(w.QuarantinedUntil.Sub(p.now()))+")")
	}
	if w.Paused {
		text += p.paint(yellow, " (paused)")
	}
	if w.Graceful {
		text += p.paint(yellow, " (shutting down)")
	}
	return text
}
