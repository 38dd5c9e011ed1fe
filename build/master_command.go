package build

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/environ"
	"github.com/dormouse-ci/dormouse/wire"
)

// masterAction runs a command on the master's machine.
type masterAction struct{ dormouse.MasterShellCommand }

var _ = does(func(a dormouse.MasterShellCommand) action { return masterAction{a} })

func (masterAction) defaultName() string { return "MasterShellCommand" }

// masterArgs are the command, rendered.
type masterArgs struct {
	argv  []string
	shown string
	dir   string
	env   []string
}

func (a masterAction) args(s *step) (m masterArgs, err error) {
	files, err := s.files()
	if err != nil {
		return m, err
	}
	command, err := s.render("command", a.Command)
	if err != nil {
		return m, err
	}
	if line, ok := command.(string); ok {
		m.argv, m.shown = []string{"/bin/sh", "-c", line}, line
	} else {
		words, err := flatten(nil, command)
		if err != nil {
			return m, dormouse.Errorf(dormouse.Invalid, "command: %w", err)
		}
		for _, w := range words {
			m.argv = append(m.argv, fmt.Sprint(w))
		}
		m.shown = strings.Join(m.argv, " ")
	}
	if len(m.argv) == 0 || m.shown == "" {
		return m, dormouse.Errorf(dormouse.Invalid, "the command is empty")
	}
	dir, err := s.text("workdir", a.WorkDir)
	if err != nil {
		return m, err
	}
	if m.dir = dir; !filepath.IsAbs(dir) {
		m.dir = filepath.Join(files.BaseDir(), dir)
	}
	m.env, err = a.environ(s)
	return m, err
}

// environ is the master's environment, or, where the step gives one, that alone,
// as in Buildbot; its values may name the master's variables as ${NAME}. What is
// called DORMOUSE_…, as the master's token and secrets are, and what systemd tells
// the master by, is in neither.
func (a masterAction) environ(s *step) ([]string, error) {
	own := map[string]string{}
	for _, e := range environ.Inherited(os.Environ()) {
		if name, value, ok := strings.Cut(e, "="); ok {
			own[name] = value
		}
	}
	out := own
	if a.Env != nil {
		out = make(map[string]string, len(a.Env))
	}
	for name, v := range a.Env {
		rendered, err := s.variable(name, v)
		if err != nil {
			return nil, err
		}
		if rendered == nil {
			continue
		}
		words, err := flatten(nil, rendered)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "environment variable %s: %w", name, err)
		}
		parts := make([]string, len(words))
		for i, w := range words {
			parts[i] = wire.ExpandVariables(fmt.Sprint(w), own)
		}
		out[name] = strings.Join(parts, string(os.PathListSeparator))
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(out)) {
		env = append(env, name+"="+out[name])
	}
	return env, nil
}

// reveal implements action.
func (a masterAction) reveal(s *step) { _, _ = a.args(s) }

func (a masterAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	e, begun := s.next()
	if !e.Complete {
		m, err := a.args(s)
		if err != nil {
			return dormouse.Exception, err
		}
		if begun {
			again := lines([]string{"the master ended while the command ran: it runs again from its beginning"})
			if err := s.logs.append(ctx, stdio, dormouse.Header, again, nil); err != nil {
				return dormouse.Exception, err
			}
		}
		end, err := a.execute(ctx, s, m)
		if err != nil {
			return dormouse.Exception, err
		}
		said := fmt.Sprintf("program finished with exit code %d", end.RC)
		if end.Reason != "" {
			said = "program ended by " + end.Reason
		}
		if err := s.logs.append(ctx, stdio, dormouse.Header, lines([]string{said}), func() { e.Complete, e.Ended = true, end }); err != nil {
			return dormouse.Exception, err
		}
	}
	end := s.logs.read(e)
	switch {
	case end.Reason != "":
		s.summary = "killed (" + end.Reason + ")"
		return dormouse.Failure, nil
	case end.RC != 0:
		s.summary = fmt.Sprintf("failed (%d)", end.RC)
		return dormouse.Failure, nil
	}
	if s.summary == "" {
		s.summary = "Ran"
	}
	return dormouse.Success, nil
}

var interruptSignals = map[string]syscall.Signal{
	"": syscall.SIGKILL, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM,
	"INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
}

// execute runs the command to its end. Where the step is stopped, all that the
// command has started ends with it.
func (a masterAction) execute(ctx context.Context, s *step, m masterArgs) (end ended, err error) {
	head := []string{m.shown, "** RUNNING ON THE MASTER **", " in dir " + m.dir}
	if a.LogEnviron && a.Env != nil {
		head = append(head, " environment:")
		for _, e := range m.env {
			head = append(head, "  "+e)
		}
	}
	if err := s.logs.append(ctx, stdio, dormouse.Header, lines(head), nil); err != nil {
		return end, err
	}
	cmd := exec.Command(m.argv[0], m.argv[1:]...)
	cmd.Dir, cmd.Env = m.dir, slices.Concat(m.env, []string{s.build.markVariable()})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p, err := s.startHere(ctx, cmd)
	if err != nil {
		said := lines([]string{"cannot start the command: " + err.Error()})
		return ended{RC: 127, HasRC: true}, s.logs.append(ctx, stdio, dormouse.Header, said, nil)
	}
	held := p.wait(ctx, interruptSignals[a.InterruptSignal])
	s.build.here.keep(held)
	if ctx.Err() != nil {
		return end, context.Cause(ctx)
	}
	if err := s.stays(ctx, held); err != nil {
		return end, err
	}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return ended{RC: -1, HasRC: true, Reason: ws.Signal().String()}, nil
	}
	return ended{RC: cmd.ProcessState.ExitCode(), HasRC: true}, nil
}
