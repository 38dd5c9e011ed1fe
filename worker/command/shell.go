package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// shellCommand is the shell command's arguments, understood.
type shellCommand struct {
	argv []string
	// shown is the command for the log: obfuscated words are not in it.
	shown []string
	// script is set when the command was a string, for /bin/sh.
	script bool

	dir                    string
	env                    map[string]any
	stdin                  string
	hasStdin               bool
	wantStdout, wantStderr bool
	logEnviron             bool
	terminal               bool
	logs                   []logFile
	limits
}

// limits bound a running command.
type limits struct {
	timeout  time.Duration // without output; 0 is never
	maxTime  time.Duration // 0 is never
	maxLines int           // 0 is no limit
	// sigtermTime is the time between SIGTERM and SIGKILL; 0 skips SIGTERM.
	sigtermTime time.Duration
	// signal begins the killing where there is no sigtermTime.
	signal syscall.Signal
}

var interruptSignals = map[string]syscall.Signal{
	"KILL": syscall.SIGKILL,
	"TERM": syscall.SIGTERM,
	"INT":  syscall.SIGINT,
	"HUP":  syscall.SIGHUP,
	"QUIT": syscall.SIGQUIT,
	"ABRT": syscall.SIGABRT,
	"ALRM": syscall.SIGALRM,
	"USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2,
}

// parseShell reads the arguments of the shell command.
func parseShell(args map[string]any) (*shellCommand, error) {
	a := arguments{command: "shell", args: args}
	c := &shellCommand{
		dir:        a.path("workdir"),
		stdin:      a.text("initial_stdin"),
		wantStdout: a.bool("want_stdout", true),
		wantStderr: a.bool("want_stderr", true),
		logEnviron: a.bool("logEnviron", true),
	}
	_, c.hasStdin = a.get("initial_stdin")
	c.timeout, _ = a.seconds("timeout")
	c.maxTime, _ = a.seconds("maxTime")
	c.sigtermTime, _ = a.seconds("sigtermTime")
	c.maxLines = a.count("max_lines")
	c.signal = syscall.SIGKILL
	if name := a.text("interruptSignal"); name != "" {
		sig, ok := interruptSignals[strings.TrimPrefix(name, "SIG")]
		if !ok {
			a.fail("interruptSignal", "names a signal that is not supported: %s", name)
		}
		c.signal = sig
	}
	if v, ok := a.require("command"); ok {
		if err := c.parseCommand(v); err != nil {
			a.fail("command", "%v", err)
		}
	}
	if v, ok := a.get("env"); ok {
		if c.env, ok = v.(map[string]any); !ok {
			a.fail("env", "is not a dictionary")
		}
	}
	c.terminal = a.bool("usePTY", false)
	c.logs = a.logFiles(c.dir)
	return c, a.err()
}

// parseCommand reads a string for the shell, or a list of words, some of
// which may be obfuscated: ("obfuscated", what is run, what is shown).
func (c *shellCommand) parseCommand(v any) error {
	if s, ok := text(v); ok {
		c.script = true
		c.argv = []string{"/bin/sh", "-c", s}
		c.shown = c.argv
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("holds a NUL byte")
		}
		return nil
	}
	words, ok := v.([]any)
	if !ok || len(words) == 0 {
		return fmt.Errorf("is neither a string nor a list of words")
	}
	for i, word := range words {
		shown := word
		if secret, ok := word.([]any); ok && len(secret) == 3 && secret[0] == "obfuscated" {
			word, shown = secret[1], secret[2]
		}
		run, ok := text(word)
		display, ok2 := text(shown)
		if !ok || !ok2 {
			return fmt.Errorf("has a word that is not a string, at index %d", i)
		}
		if strings.ContainsRune(run, 0) {
			return fmt.Errorf("has a NUL byte in its word at index %d", i)
		}
		c.argv = append(c.argv, run)
		c.shown = append(c.shown, display)
	}
	return nil
}

// display is the command as a person would type it.
func (c *shellCommand) display() string {
	if c.script {
		return c.shown[2]
	}
	quoted := make([]string, len(c.shown))
	for i, word := range c.shown {
		quoted[i] = shellQuote(word)
	}
	return strings.Join(quoted, " ")
}

// hide puts what is shown in the place of the command's obfuscated words.
func (c *shellCommand) hide(text string) string {
	for i, word := range c.argv {
		if c.shown[i] != word && word != "" {
			text = strings.ReplaceAll(text, word, c.shown[i])
		}
	}
	return text
}

// header is what the log shows before the command's output.
func (c *shellCommand) header(env []string) []string {
	lines := strings.Split(strings.TrimRight(c.display(), "\n"), "\n")
	where := " in dir " + c.dir
	if c.timeout > 0 {
		where += fmt.Sprintf(" (timeout %s)", seconds(c.timeout))
	}
	if c.maxTime > 0 {
		where += fmt.Sprintf(" (maxTime %s)", seconds(c.maxTime))
	}
	argv := make([]string, len(c.shown))
	for i, word := range c.shown {
		argv[i] = strconv.Quote(word)
	}
	lines = append(lines, where, " argv: ["+strings.Join(argv, ", ")+"]")
	for _, f := range c.logs {
		lines = append(lines, fmt.Sprintf(" watching log file %s: %s", f.name, f.path))
	}
	if c.logEnviron {
		lines = append(lines, " environment:")
		for _, e := range env {
			for i, line := range strings.Split(e, "\n") {
				if i > 0 {
					line = "  " + line // a value of several lines stays one entry to the eye
				}
				lines = append(lines, "  "+line)
			}
		}
	}
	if c.hasStdin {
		lines = append(lines, fmt.Sprintf(" writing %d bytes to stdin", len(c.stdin)))
	}
	if c.terminal && !c.usesTerminal() {
		lines = append(lines, " no terminal: the command is given input")
	}
	return append(lines, fmt.Sprintf(" using PTY: %t", c.usesTerminal()))
}

// usesTerminal reports whether the command runs on a terminal. As in Buildbot,
// one that is given input does not: the end of input is not told by closing a
// terminal.
func (c *shellCommand) usesTerminal() bool { return c.terminal && !c.hasStdin }

// seconds writes a time as Buildbot's headers do.
func seconds(d time.Duration) string {
	if d == time.Second {
		return "1 sec"
	}
	return fmt.Sprintf("%g secs", d.Seconds())
}

// shellQuote quotes a word so that a POSIX shell reads it back.
func shellQuote(word string) string {
	const plain = "@%+=:,./-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}

// run runs the command; the failure it returns is for what is not the
// command's own fault.
func (c *shellCommand) run(r *running) (failure string) {
	dir, err := filepath.Abs(c.dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err != nil {
		return fmt.Sprintf("cannot make the working directory: %v", err)
	}
	c.dir = dir
	env, err := stepEnviron(r.environ, c.env, dir)
	if err != nil {
		return err.Error()
	}
	r.header(c.header(env)...)
	begin := time.Now()
	var tails *tails
	if len(c.logs) > 0 {
		tails = startTails(c.logs, func(path string, err error) {
			r.log.Warn("cannot read a command's log file", "path", path, "error", err)
		})
		defer tails.Close()
	}
	r.remains.begin(r.group)
	p, err := startProcess(processSpec{
		argv: c.argv, dir: dir, env: append(env, r.remains.mark(r.group)), stdin: c.stdin, terminal: c.usesTerminal(),
		begin: r.remains.start, reaped: r.remains.reaped,
	})
	if err != nil {
		r.line(dormouse.Stderr, "cannot start the command: "+err.Error())
		code := -1
		if e, ok := errors.AsType[*notStarted](err); ok {
			code = e.code
		}
		r.end(exitStatus{code: code}, time.Since(begin))
		return ""
	}
	return newSupervisor(r, p, tails, c, begin).run()
}
