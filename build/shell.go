package build

import (
	"context"
	"fmt"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// shellAction runs a command of the user's.
type shellAction struct{ dormouse.ShellCommand }

func (shellAction) defaultName() string { return "shell" }

func (a shellAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	args, err := a.args(s)
	if err != nil {
		return dormouse.Exception, err
	}
	if s.spec.DescriptionDone == "" {
		if summary := summarize(args["command"]); summary != "" {
			s.summary = summary
		}
	}
	end, err := s.run(ctx, command{name: "shell", args: args, sigterm: a.SigtermTime, sayCode: true})
	if err != nil {
		return dormouse.Exception, err
	}
	s.note = failureNote(end.Reason)
	return a.decode(end)
}

// reveal implements action.
func (a shellAction) reveal(s *step) { _, _ = a.args(s) }

func (a shellAction) decode(end ended) (dormouse.Result, error) {
	if !end.HasRC {
		return dormouse.Exception, dormouse.Errorf(dormouse.Internal, "the worker did not say how the command ended")
	}
	if result, ok := a.DecodeRC[end.RC]; ok {
		return result, nil
	}
	if a.DecodeRC == nil && end.RC == 0 {
		return dormouse.Success, nil
	}
	return dormouse.Failure, nil
}

// args renders the command as the protocol has it.
func (a shellAction) args(s *step) (map[string]any, error) {
	command, err := s.render("command", a.Command)
	if err != nil {
		return nil, err
	}
	if line, isLine := command.(string); !isLine {
		words, err := flatten(nil, command)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "command: %w", err)
		}
		if len(words) == 0 {
			return nil, dormouse.Errorf(dormouse.Invalid, "the command is an empty list")
		}
		command = words
	} else if line == "" {
		return nil, dormouse.Errorf(dormouse.Invalid, "the command is empty")
	}
	dir, err := s.workDir(a.WorkDir)
	if err != nil {
		return nil, err
	}
	env, err := s.environment(a.Env)
	if err != nil {
		return nil, err
	}
	args := map[string]any{
		"command": command, "workdir": dir, "env": env,
		"timeout": seconds(a.Timeout), "maxTime": seconds(a.MaxTime), "sigtermTime": seconds(a.SigtermTime),
		"want_stdout": a.WantStdout, "want_stderr": a.WantStderr, "logEnviron": a.LogEnviron,
		"usePTY": a.UsePTY, "logfiles": map[string]any{}, "initial_stdin": nil,
	}
	if a.MaxLines > 0 {
		args["max_lines"] = a.MaxLines
	}
	if a.InitialStdin != nil {
		if args["initial_stdin"], err = s.text("initialStdin", a.InitialStdin); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// summarize names a command by its first two words, as Buildbot does.
func summarize(command any) string {
	var words []string
	switch command := command.(type) {
	case string:
		words = strings.Fields(command)
	case []any:
		for _, w := range command {
			words = append(words, fmt.Sprint(w))
		}
	}
	switch {
	case len(words) == 0:
		return ""
	case len(words) > 2:
		words = append(words[:2:2], "...")
	}
	return "'" + strings.Join(words, " ") + "'"
}

// failureNote puts a worker's failure_reason into words.
func failureNote(reason string) string {
	switch reason {
	case "":
		return ""
	case "timeout", "timeout_without_output":
		return "timed out"
	case "max_lines_failure":
		return "max lines reached"
	}
	return strings.ReplaceAll(reason, "_", " ")
}
