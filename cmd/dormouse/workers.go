package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newWorkersCommand() *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:   "workers",
		Short: "List workers and how they are",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&long, "long", false, "show what attached workers say of themselves")
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
		if long {
			c.table([]string{"WORKER", "AGENT", "ADMIN", "HOST", "ACCESS"}, said(workers))
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
	cmd.AddCommand(newWorkersRetryCommand())
	return cmd
}

// said are what workers say of themselves, each in one line.
func said(workers []dormouse.WorkerStatus) [][]string {
	rows := make([][]string, len(workers))
	for i, w := range workers {
		rows[i] = []string{plain(w.Name)}
		for _, text := range []string{w.Agent, w.Admin, w.Host, w.AccessURI} {
			rows[i] = append(rows[i], dash(plain(strings.Join(strings.Fields(text), " "))))
		}
	}
	return rows
}

func newWorkersRetryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "retry WORKER...",
		Short: "End the quarantine of workers, and try them again at once",
		Long: `End the quarantine of workers, and try them again at once.

A worker that could not be started, or on which a build ended in EXCEPTION, gets no
builds for a while. When you have mended what was wrong, you need not wait for that,
nor for the next try of what passes by itself. A changed configuration (SIGHUP), a
restart of the master and an unpause of the worker do the same.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeWorkerFlag,
	}
	connectionFlags(cmd)(func(ctx context.Context, c *connection, names []string) error {
		var failed []error
		for _, name := range names {
			if err := c.RetryWorker(ctx, name); err != nil {
				failed = append(failed, err)
				continue
			}
			if !c.json {
				c.printf("%s is tried again.\n", plain(name))
			}
		}
		return errors.Join(failed...)
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
