package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
)

func newCostCommand() *cobra.Command {
	var by, from, to string
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Say what instances cost, by day, builder or worker",
		Long: `Say what instances cost, by day, builder or worker: this month, or a range of a
year at most.

Days are UTC's. EC2 bills an instance from when it runs to when it is stopped,
and a minute at least. By builder, all that an instance costs, boot and idle
time included, is divided over the builds that ran on it, in proportion to their
time. Instances whose price is not known stand in a line of their own, and their
cost is in no sum.`,
		Example: `  dormouse cost
  dormouse cost --by builder --from 2026-03-01 --to 2026-04-01
  dormouse cost --by worker --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&by, "by", string(dormouse.CostByDay), "what to have a line for: day, builder or worker")
	cmd.Flags().StringVar(&from, "from", "", "the first `day` (2006-01-02) or time; default: the first of the month")
	cmd.Flags().StringVar(&to, "to", "", "the `day` or time to end before; default: now")
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions(
		[]string{string(dormouse.CostByDay), string(dormouse.CostByBuilder), string(dormouse.CostByWorker)}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"from", "to"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	connectionFlags(cmd)(func(ctx context.Context, c *connection, _ []string) error {
		q := web.CostQuery{By: dormouse.CostBy(by)}
		switch q.By {
		case dormouse.CostByDay, dormouse.CostByBuilder, dormouse.CostByWorker:
		default:
			return usageErrorf("--by is day, builder or worker, not %q", by)
		}
		var err error
		if q.From, err = dayOrTime("from", from); err != nil {
			return err
		}
		if q.To, err = dayOrTime("to", to); err != nil {
			return err
		}
		r, err := c.Cost(ctx, q)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(r)
		}
		c.costReport(r)
		return nil
	})
	return cmd
}

// dayOrTime reads the value of a flag; nothing is the zero time.
func dayOrTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageErrorf("--%s is %q: a day such as 2026-03-01, or a time such as 2026-03-01T15:04:05Z, was expected", flag, text)
}

func (p *printer) costReport(r dormouse.CostReport) {
	if len(r.Rows) == 0 {
		p.notef("No instance ran from %s to %s: nothing was spent.\n", moment(r.From), moment(r.To))
		return
	}
	heading := map[dormouse.CostBy]string{dormouse.CostByDay: "DAY", dormouse.CostByBuilder: "BUILDER", dormouse.CostByWorker: "WORKER"}[r.By]
	var rows [][]string
	var unknown *dormouse.CostRow
	for _, row := range append(r.Rows, r.Total) {
		name, cost := plain(row.Name), dollars(row.USD)
		switch row.Kind {
		case dormouse.CostNoBuild:
			name = p.paint(grey, "no build")
		case dormouse.CostUnknownPrice:
			unknown = &row
			name, cost = p.paint(yellow, "unknown price"), p.paint(yellow, "unknown")
		case dormouse.CostTotal:
			name, cost = p.bold("total"), p.bold(cost)
		default:
			name = dash(name)
		}
		rows = append(rows, []string{name, cost, strconv.Itoa(row.Instances), hours(row.Hours), strconv.Itoa(row.Builds)})
	}
	p.table([]string{heading, "COST", "INSTANCES", "HOURS", "BUILDS"}, rows)
	p.notef("From %s to %s, in UTC.\n", moment(r.From), moment(r.To))
	if unknown != nil {
		p.notef("The price of %s (%s hours) is not known, so the total lacks them: give their worker price_per_hour, or allow the master pricing:GetProducts and ec2:DescribeSpotPriceHistory.\n",
			countInstances(unknown.Instances), hours(unknown.Hours))
	}
}

// moment writes a time in UTC, and midnight as the day it begins.
func moment(t time.Time) string {
	t = t.UTC()
	if t.Equal(dormouse.Day(t)) {
		return t.Format(time.DateOnly)
	}
	return t.Format("2006-01-02 15:04")
}

// dollars writes an amount, with as many digits as small ones need; one that is
// not known is not made up.
func dollars(usd *float64) string {
	switch {
	case usd == nil:
		return "unknown"
	case *usd == 0 || math.Abs(*usd) >= 10:
		return fmt.Sprintf("$%.2f", *usd)
	case math.Abs(*usd) < 0.0001:
		return "<$0.0001"
	default:
		return fmt.Sprintf("$%.4f", *usd)
	}
}

// hours writes a time that is billed.
func hours(h float64) string {
	if h > 0 && h < 0.1 {
		return fmt.Sprintf("%.3f", h)
	}
	return fmt.Sprintf("%.1f", h)
}

func countInstances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}
