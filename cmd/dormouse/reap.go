package main

import (
	"context"
	"maps"
	"slices"

	"github.com/dormouse-ci/dormouse"
)

// fails where something could not be ended or looked at.
func (c *connection) reap(ctx context.Context, dryRun bool) error {
	report, err := c.Leftovers(ctx, !dryRun)
	if err != nil {
		return err
	}
	failed := len(report.Failed) > 0
	rows := make([][]string, len(report.Leftovers))
	for i, l := range report.Leftovers {
		done := outcome(l, dryRun)
		failed = failed || l.Error != ""
		why := plain(l.Why)
		if l.Error != "" {
			why = plain(l.Error)
		}
		rows[i] = []string{plain(string(l.Kind)), plain(l.ID), dash(plain(l.Worker)), plain(l.Region), c.ago(l.Since), c.paintOutcome(l, done), why}
	}
	if c.json {
		if err := c.printJSON(report); err != nil {
			return err
		}
	} else {
		if len(rows) > 0 {
			c.table([]string{"KIND", "ID", "WORKER", "REGION", "SINCE", "DONE", "WHY"}, rows)
		}
		for _, account := range slices.Sorted(maps.Keys(report.Failed)) {
			c.notef("Account %s could not be looked at: %s\n", plain(account), plain(report.Failed[account]))
		}
		switch {
		case len(rows) == 0 && !failed:
			c.printf("Nothing was left behind.\n")
		case dryRun && len(rows) > 0:
			c.printf("Nothing was changed. Without --dry-run, it is.\n")
		}
	}
	if failed {
		return errFailed
	}
	return nil
}

// outcome says what was done about something, or would be.
func outcome(l dormouse.Leftover, dryRun bool) string {
	switch {
	case l.Error != "":
		return "failed"
	case l.Action == dormouse.ReapKeep:
		return "kept"
	case l.Action == dormouse.ReapWait:
		return "spared"
	case dryRun:
		return "would " + string(l.Action)
	case l.Action == dormouse.ReapTerminate:
		return "terminated"
	case l.Action == dormouse.ReapDisassociate:
		return "disassociated"
	default:
		return "cancelled"
	}
}

func (p *printer) paintOutcome(l dormouse.Leftover, text string) string {
	switch {
	case l.Error != "":
		return p.paint(red, text)
	case l.Action.Acts():
		return p.paint(yellow, text)
	default:
		return p.paint(grey, text)
	}
}
