package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newWhyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why REQUEST",
		Short: "Say why a build request waits, or what became of it",
		Long: `Say why a build request waits, or what became of it.

REQUEST is the number that "dormouse force" printed. Of one that waits it tells
the whole story: what it waits for; of each worker that could take it, what EC2
was asked for of late and what it answered, how far the instances came, and what
they printed on their console; and when something is tried again.`,
		Args: cobra.ExactArgs(1),
	}
	connectionFlags(cmd)(func(ctx context.Context, c *connection, args []string) error {
		id, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || id < 1 {
			return usageErrorf("%q is not the number of a build request", args[0])
		}
		s, err := c.Story(ctx, id)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(s)
		}
		r := s.Request
		var b *dormouse.Build
		if r.BuildID != 0 {
			build, err := c.Build(ctx, r.BuildID)
			if err != nil {
				return err
			}
			b = &build
		}
		c.printf("request %d for %s, made %s: %s\n", r.ID, plain(r.Builder), c.ago(r.SubmittedAt), c.requestStory(r, b))
		if r.State == dormouse.RequestPending {
			c.story(s)
		}
		return nil
	})
	return cmd
}

// requestStory says in a line where a request stands. b is its newest build,
// nil where it has none.
func (p *printer) requestStory(r dormouse.BuildRequest, b *dormouse.Build) string {
	switch r.State {
	case dormouse.RequestPending:
		text := p.paint(yellow, "pending") + " - " + dash(plain(r.Waiting))
		if b != nil {
			text += "; its last build, " + plain(buildName(*b)) + ", ended as " + buildState(*b)
		}
		return text
	case dormouse.RequestClaimed:
		if b == nil {
			return "claimed"
		}
		text := "build " + plain(buildName(*b)) + " " + p.result(b.Result) + " on " + plain(b.Worker)
		if b.Try > 1 {
			text += tries(b.Try, b.MaxTries)
		}
		return text
	}
	text := p.result(r.Result)
	if r.CollapsedInto != 0 {
		text += " - merged into request " + strconv.FormatInt(r.CollapsedInto, 10)
	}
	if b != nil {
		text += " - build " + plain(buildName(*b)) + " took " + p.span(b.StartedAt, b.FinishedAt)
		if b.Try > 1 {
			text += tries(b.Try, b.MaxTries)
		}
		if r.Result != nil && *r.Result == dormouse.Exception {
			text += ": " + plain(b.StateString)
		}
	}
	return text
}
