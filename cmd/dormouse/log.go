package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

func newLogCommand() *cobra.Command {
	l := &logPrinter{}
	cmd := &cobra.Command{
		Use:   "log BUILD [STEP]",
		Short: "Print what a build's steps printed",
		Long: `Print what a build's steps printed.

BUILD is BUILDER/NUMBER, a build's id, or a builder's name for its newest build.
STEP is a step's name or its index from 0; without it all steps are printed.

On a terminal, escape sequences in a log other than colours are left out. With
--json every line is an object of its own.`,
		Example: `  dormouse log linux/12
  dormouse log linux/12 compile
  dormouse log linux -f`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeBuilders,
	}
	cmd.Flags().StringVar(&l.name, "log", "", "only the logs of this `name`, such as stdio")
	cmd.Flags().BoolVarP(&l.follow, "follow", "f", false, "go on until the build has ended")
	_ = cmd.Flags().SetAnnotation("log", envAnnotation, []string{"DORMOUSE_LOG_NAME"})
	connectionFlags(cmd)(func(ctx context.Context, c *connection, args []string) error {
		b, err := c.findBuild(ctx, args[0])
		if err != nil {
			return err
		}
		l.c, l.build, l.printed = c, b, map[int64]bool{}
		if len(args) > 1 {
			l.step = args[1]
		}
		if l.follow {
			return l.followBuild(ctx)
		}
		return l.printBuild(ctx)
	})
	return cmd
}

// findBuild returns the build that a word of the command line names.
func (c *connection) findBuild(ctx context.Context, word string) (dormouse.Build, error) {
	if id, err := strconv.ParseInt(word, 10, 64); err == nil {
		return c.Build(ctx, id)
	}
	if i := strings.LastIndexByte(word, '/'); i > 0 {
		if n, err := strconv.Atoi(word[i+1:]); err == nil {
			return c.BuildByNumber(ctx, word[:i], n)
		}
	}
	if _, err := c.Builder(ctx, word); err != nil {
		return dormouse.Build{}, err
	}
	builds, err := c.Builds(ctx, web.BuildQuery{Builder: word, Limit: 1})
	if err != nil {
		return dormouse.Build{}, err
	}
	if len(builds) == 0 {
		return dormouse.Build{}, fmt.Errorf("%s has no builds yet; \"dormouse force %s\" makes one", plain(word), plain(word))
	}
	return builds[0], nil
}

// logPrinter prints logs of one build.
type logPrinter struct {
	name   string
	step   string
	follow bool

	c       *connection
	build   dormouse.Build
	printed map[int64]bool
	matched bool // a step was the one that is wanted
}

// printBuild prints what there is.
func (l *logPrinter) printBuild(ctx context.Context) error {
	if err := l.each(ctx, l.printLog); err != nil {
		return err
	}
	return l.nothing()
}

// followBuild prints each log as it grows, in the order of the steps, until
// the build has ended.
func (l *logPrinter) followBuild(ctx context.Context) error {
	q := client.EventQuery{Kinds: []string{"build", "step", "log.new"}, Build: l.build.ID}
	for m, err := range l.c.Events(ctx, q) {
		if err != nil {
			return err
		}
		if !m.Reset && m.Event.Kind != dormouse.EventLogNew && m.Event.Kind != dormouse.EventBuildFinished {
			continue
		}
		// Ended is read before the logs: there are no more of them then.
		b, err := l.c.Build(ctx, l.build.ID)
		if err != nil {
			return err
		}
		if err := l.each(ctx, l.followLog); err != nil {
			return err
		}
		if b.Result != nil {
			return l.nothing()
		}
	}
	return nil
}

// nothing is the error that no log was as it was asked for.
func (l *logPrinter) nothing() error {
	switch {
	case len(l.printed) > 0:
		return nil
	case l.step != "" && !l.matched:
		return fmt.Errorf("build %s has no step %q", plain(buildName(l.build)), l.step)
	case l.name != "":
		return fmt.Errorf("build %s has no log named %q there", plain(buildName(l.build)), l.name)
	}
	l.c.notef("No step has printed anything yet.\n")
	return nil
}

// each prints the wanted logs that were not printed yet.
func (l *logPrinter) each(ctx context.Context, print func(context.Context, dormouse.Step, dormouse.Log) error) error {
	steps, err := l.c.Steps(ctx, l.build.ID)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if l.step != "" && l.step != s.Name && l.step != strconv.Itoa(s.Index) {
			continue
		}
		l.matched = true
		for _, log := range s.Logs {
			if l.printed[log.ID] || (l.name != "" && l.name != log.Name) {
				continue
			}
			l.printed[log.ID] = true
			// One step's log may be for a file or a pipe: nothing is added to it.
			if l.step == "" && !l.c.json {
				l.c.printf("%s\n", l.c.bold(fmt.Sprintf("==> %d %s: %s", s.Index, plain(s.Name), plain(log.Name))))
			}
			if err := print(ctx, s, log); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *logPrinter) printLog(ctx context.Context, s dormouse.Step, log dormouse.Log) error {
	for next := int64(0); ; {
		lines, err := l.c.LogLines(ctx, log.ID, next, 0)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			return nil
		}
		for _, line := range lines {
			if err := l.print(s, log, line); err != nil {
				return err
			}
		}
		next = lines[len(lines)-1].Number + 1
	}
}

func (l *logPrinter) followLog(ctx context.Context, s dormouse.Step, log dormouse.Log) error {
	for line, err := range l.c.FollowLog(ctx, log.ID, 0) {
		if err != nil {
			return err
		}
		if err := l.print(s, log, line); err != nil {
			return err
		}
	}
	return nil
}

// jsonLine is a line of the output of --json.
type jsonLine struct {
	Build  int64     `json:"build_id"`
	Step   string    `json:"step"`
	Log    string    `json:"log"`
	Number int64     `json:"number"`
	Stream string    `json:"stream"`
	Time   time.Time `json:"time"`
	Text   string    `json:"text"`
}

func (l *logPrinter) print(s dormouse.Step, log dormouse.Log, line web.Line) error {
	if !l.c.json {
		l.c.logLine("", line)
		return nil
	}
	data, err := json.Marshal(jsonLine{l.build.ID, s.Name, log.Name, line.Number, line.Stream, line.Time, line.Text})
	if err != nil {
		return err
	}
	l.c.printf("%s\n", data)
	return nil
}

// logLine writes a line of a log: as it is to a file or a pipe, made harmless
// to a terminal.
func (p *printer) logLine(prefix string, line web.Line) {
	text := line.Text
	switch {
	case p.terminal && !p.color:
		text = plain(text)
	case p.terminal && line.Stream == "h":
		text = p.paint(grey, plain(text))
	case p.terminal:
		text = colored(text)
	}
	p.printf("%s%s\n", prefix, text)
}
