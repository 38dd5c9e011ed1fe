package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/master"
)

// defaultConfig is the configuration's name where none is given.
const defaultConfig = "master.star"

func newCheckconfigCommand() *cobra.Command {
	var asJSON, ask, limited bool
	cmd := &cobra.Command{
		Use:   "checkconfig [FILE]",
		Short: "Check a configuration, and show every mistake in it",
		Long: `Check a configuration, and show every mistake in it. FILE is master.star where it
is not given. Nothing is started and nobody is asked. What would keep a master from
starting on this machine is a mistake, too, and so is a budget that will never admit
a worker whose price is given.

With --online, EC2 is asked, too, whether instances of each latent worker could be
started: whose the credentials are, which images match and which one is taken, and
whether it fits the instance types, whether everything that the worker names exists
and is free, and what the instances cost. The launch itself, and all else that a
master will need, such as ending the instance, is tried without being carried out
(DryRun). Nothing is changed. What the first start would create is a warning;
anything that is wrong makes the exit code 1.`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	cmd.Flags().BoolVar(&ask, "online", false, "ask EC2, too, and change nothing there")
	cmd.Flags().BoolVar(&limited, "limited", false, "end rather than take much memory, as the master has it before it reads the file itself")
	_ = cmd.Flags().MarkHidden("limited")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limited {
			if err := limitMemory(); err != nil {
				return err
			}
		}
		file := defaultConfig
		if len(args) > 0 {
			file = args[0]
		}
		p := newPrinter(cmd)
		m, err := config.Load(file, config.Options{
			Context: cmd.Context(), Print: func(s string) { p.notef("%s\n", s) },
		})
		var mistakes config.Errors
		if err != nil && !errors.As(err, &mistakes) {
			return err
		}
		var warnings []config.Error
		if m != nil {
			warnings = m.Warnings
		}
		if m != nil && err == nil {
			never, late := master.Check(cmd.Context(), m)
			warnings = append(slices.Clone(warnings), late...)
			if len(never) > 0 {
				mistakes, err = never, config.Errors(never)
			}
		}
		var answers *online
		if ask && m != nil && err == nil {
			answers = askEC2(cmd.Context(), m)
		}
		if asJSON {
			result := checkResult(file, mistakes, warnings)
			if answers != nil {
				result.Online, result.OK = answers, result.OK && answers.ok()
			}
			if err := p.printJSON(result); err != nil {
				return err
			}
		} else {
			p.mistakes(p.errs, "warning", warnings)
			p.mistakes(p.out, "error", mistakes)
			if m != nil && err == nil {
				p.printf("%s is good: %s, %s, %s.\n", file, count(len(m.Builders), "builder"),
					count(len(m.Workers), "worker"), count(len(m.ForceSchedulers), "scheduler"))
			}
		}
		if answers != nil && !asJSON {
			p.online(answers)
		}
		switch {
		case err == nil && (answers == nil || answers.ok()):
			return nil
		case asJSON:
			return errFailed
		case err == nil:
			return fmt.Errorf("EC2 would not start what %s describes", file)
		}
		return fmt.Errorf("%s has %s", file, count(len(mistakes), "mistake"))
	}
	return cmd
}

// checked is the output of --json.
type checked struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Errors   []mistake `json:"errors"`
	Warnings []mistake `json:"warnings"`
	Online   *online   `json:"online,omitempty"` // with --online, when there is no error
}

type mistake struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func checkResult(file string, errs, warnings []config.Error) checked {
	list := func(in []config.Error) []mistake {
		out := make([]mistake, len(in))
		for i, e := range in {
			out[i] = mistake{e.File, e.Line, e.Column, e.Message, e.Hint}
		}
		return out
	}
	return checked{File: file, OK: len(errs) == 0, Errors: list(errs), Warnings: list(warnings)}
}

// mistakes writes each mistake with the line it is in and a caret below the
// column.
func (p *printer) mistakes(w io.Writer, kind string, errs []config.Error) {
	sources := map[string][]string{}
	for _, e := range errs {
		place := e.File
		if e.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
		}
		paint := red
		if kind == "warning" {
			paint = yellow
		}
		fmt.Fprintf(w, "%s %s %s\n", p.bold(place+":"), p.paint(paint, kind+":"), plain(e.Message))
		if _, read := sources[e.File]; !read {
			sources[e.File] = readLines(e.File)
		}
		if lines := sources[e.File]; e.Line > 0 && e.Line <= len(lines) {
			p.excerpt(w, e, lines[e.Line-1])
		}
		if e.Hint != "" {
			fmt.Fprintf(w, "  %s\n", plain(e.Hint))
		}
	}
}

// excerptWidth is how much of a long line is shown, around the column.
const excerptWidth = 100

func (p *printer) excerpt(w io.Writer, e config.Error, line string) {
	runes := []rune(line)
	at := min(max(e.Column-1, 0), len(runes))
	if from := at - excerptWidth/2; len(runes) > excerptWidth && from > 0 {
		runes, at = runes[from:], at-from
	}
	runes = runes[:min(len(runes), excerptWidth)]
	// The caret stands where the eye sees the column: tabs stay tabs.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, string(runes[:at]))
	gutter := fmt.Sprintf("%5d | ", e.Line)
	fmt.Fprintf(w, "%s%s\n", p.paint(grey, gutter), plain(string(runes)))
	fmt.Fprintf(w, "%s%s%s\n", p.paint(grey, strings.Repeat(" ", len(gutter)-2)+"| "), pad, p.paint(red, "^"))
}

// readLines reads a source that was just found to be readable; where that is
// no longer so, its lines are not shown.
func readLines(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var lines []string
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	return lines
}
