package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes, which "dormouse help exit-codes" explains. 130 is what a
// shell makes of SIGINT.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitInterrupted = 130
)

// exitError is an error with the exit code it means. One without a text means
// that everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageErrorf is an error in the command line.
func usageErrorf(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// errFailed ends a command whose output has said what failed.
var errFailed = &exitError{code: exitFailed}

// startedAnnotation marks a command whose own code has begun to run.
const startedAnnotation = "started"

// classifyErrors makes an error that comes up before a command's own code runs
// one of usage: cobra's have no type to know them by.
func classifyErrors(root *cobra.Command) {
	walk(root, func(cmd *cobra.Command) {
		if cmd.RunE == nil {
			return
		}
		inner := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if cmd.Annotations == nil {
				cmd.Annotations = map[string]string{}
			}
			cmd.Annotations[startedAnnotation] = "yes"
			return inner(cmd, args)
		}
	})
}

// report writes what is to be said about the end of a command, and returns the
// exit code.
func report(ctx context.Context, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var e *exitError
	switch {
	case errors.As(err, &e):
		code = e.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case cmd.Annotations[startedAnnotation] == "":
		code = exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "dormouse: "+text)
	}
	if code == exitUsage {
		fmt.Fprintf(cmd.ErrOrStderr(), "Run '%s --help' for how it is used.\n", cmd.CommandPath())
	}
	return code
}
