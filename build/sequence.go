package build

import (
	"context"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// sequenceAction runs commands one after the other.
type sequenceAction struct{ dormouse.ShellSequence }

var _ = does(func(a dormouse.ShellSequence) action { return sequenceAction{a} })

func (sequenceAction) defaultName() string { return "shell_sequence" }

// shell is one of the commands.
func (a sequenceAction) shell(command any) shellAction {
	c := a.Common
	c.Command = command
	return shellAction{c}
}

// reveal implements action.
func (a sequenceAction) reveal(s *step) {
	for _, arg := range a.Commands {
		if command, err := s.render("command", arg.Command); err == nil && expr.Truthy(command) {
			a.shell(command).reveal(s)
		}
	}
}

func (a sequenceAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	worst := dormouse.Success
	for _, arg := range a.Commands {
		result, err := a.one(ctx, s, arg)
		if err != nil {
			return result, err
		}
		var halt bool
		worst, halt = combine(dormouse.StepSpec{
			HaltOnFailure: arg.HaltOnFailure, FlunkOnFailure: arg.FlunkOnFailure, WarnOnFailure: arg.WarnOnFailure,
			FlunkOnWarnings: arg.FlunkOnWarnings, WarnOnWarnings: arg.WarnOnWarnings,
		}, result, worst)
		if halt {
			break
		}
	}
	return worst, nil
}

// one runs one command; one that comes to nothing is left out.
func (a sequenceAction) one(ctx context.Context, s *step, arg dormouse.ShellArg) (dormouse.Result, error) {
	rendered, err := s.render("command", arg.Command)
	if err != nil {
		return dormouse.Exception, err
	}
	if !expr.Truthy(rendered) {
		return dormouse.Success, nil
	}
	log, err := s.text("logname", arg.LogName)
	if err != nil {
		return dormouse.Exception, err
	}
	return a.shell(rendered).do(ctx, s, log)
}
