package build

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// shellAction runs a command of the user's.
type shellAction struct{ dormouse.ShellCommand }

var _ = does(func(a dormouse.ShellCommand) action { return shellAction{a} })

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
	return a.start(ctx, s, args, "")
}

// do runs the command as one of several.
func (a shellAction) do(ctx context.Context, s *step, log string) (dormouse.Result, error) {
	args, err := a.args(s)
	if err != nil {
		return dormouse.Exception, err
	}
	if s.spec.DescriptionDone == "" {
		s.summary = summarize(args["command"])
	}
	return a.start(ctx, s, args, log)
}

func (a shellAction) start(ctx context.Context, s *step, args map[string]any, log string) (dormouse.Result, error) {
	if !a.LazyLogFiles {
		for _, name := range slices.Sorted(maps.Keys(a.LogFiles)) {
			if err := s.logs.open(ctx, name); err != nil {
				return dormouse.Exception, err
			}
		}
	}
	warns, err := a.warnings()
	if err != nil {
		return dormouse.Exception, err
	}
	end, err := s.run(ctx, command{name: "shell", args: args, sigterm: a.SigtermTime, sayCode: true, log: log, warns: warns})
	if err != nil {
		return dormouse.Exception, err
	}
	s.note = failureNote(end.Reason)
	result, err := a.decode(end)
	if err != nil || warns == nil {
		return result, err
	}
	return a.count(s, end.Warnings, result)
}

// warnings makes what tells warnings from other lines; nil where there is no
// rule.
func (a shellAction) warnings() (func(string) bool, error) {
	if a.Warnings == nil {
		return nil, nil
	}
	re, err := regexp.Compile(`^(?:` + a.Warnings.Pattern + `)`)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "warningPattern: %w", err)
	}
	return re.MatchString, nil
}

// warningsCount is the property with the number of warnings of the whole build.
const warningsCount = "warnings-count"

// count makes a result of how many warnings there were.
func (a shellAction) count(s *step, warnings int, result dormouse.Result) (dormouse.Result, error) {
	before, _ := integer(s.build.props[warningsCount].Value)
	s.build.props.Set(warningsCount, int64(before+warnings), "WarningCountingShellCommand")
	if warnings > 0 {
		s.summary = strings.TrimSpace(fmt.Sprintf("%s %d warnings", s.summary, warnings))
	}
	switch {
	case !result.Good():
		return result, nil
	case a.Warnings.MaxCount >= 0 && warnings > a.Warnings.MaxCount:
		return dormouse.Failure, nil
	case warnings > 0:
		return dormouse.Worst(result, dormouse.Warnings), nil
	}
	return result, nil
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
		"usePTY": a.UsePTY, "initial_stdin": nil,
	}
	if args["logfiles"], err = a.logFiles(s); err != nil {
		return nil, err
	}
	if a.InterruptSignal != "" {
		args["interruptSignal"] = a.InterruptSignal
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

// logFiles are the files that become logs, as the protocol has them.
func (a shellAction) logFiles(s *step) (map[string]any, error) {
	out := make(map[string]any, len(a.LogFiles))
	for name, f := range a.LogFiles {
		file, err := s.text("logfile "+name, f.Path)
		if err != nil {
			return nil, err
		}
		if file == "" {
			return nil, dormouse.Errorf(dormouse.Invalid, "logfile %s came out empty", name)
		}
		out[name] = map[string]any{"filename": file, "follow": f.Follow}
	}
	return out, nil
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
