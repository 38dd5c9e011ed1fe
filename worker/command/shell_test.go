package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

const testPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// start runs a shell command in the background; the failure it ends with is
// received from the channel.
func start(t *testing.T, ctx context.Context, r *running, args map[string]any) <-chan string {
	t.Helper()
	if _, ok := args["workdir"]; !ok {
		args["workdir"] = t.TempDir()
	}
	c, err := parseShell(args)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan string, 1)
	go func() {
		failure := r.do(c)
		r.out.Close()
		ended <- failure
	}()
	return ended
}

// shell runs a shell command to its end.
func shell(t *testing.T, args map[string]any) *fakeConn {
	t.Helper()
	master := newFakeConn()
	if failure := <-start(t, t.Context(), newRunning(t.Context(), master, testPath, "HOME=/nowhere"), args); failure != "" {
		t.Fatalf("failure %q", failure)
	}
	return master
}

func TestShell(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		name   string
		args   map[string]any
		out    string
		err    string
		header []string // substrings
		rc     int
	}{
		{name: "string", args: map[string]any{"command": "echo a; echo b >&2; exit 3"}, out: "a\n", err: "b\n", rc: 3},
		{
			name: "list", args: map[string]any{"command": []any{"printf", "%s\n", "it's", "a b"}}, out: "it's\na b\n",
			header: []string{`printf '%s`, `'it'"'"'s'`, ` argv: ["printf", "%s\n", "it's", "a b"]`},
		},
		{
			name:   "obfuscated",
			args:   map[string]any{"command": []any{"echo", []any{"obfuscated", "hunter2", "XXX"}}, "logEnviron": false},
			out:    "hunter2\n",
			header: []string{"echo XXX", `["echo", "XXX"]`},
		},
		{
			name:   "directory is made",
			args:   map[string]any{"command": "pwd; echo $PWD", "workdir": filepath.Join(dir, "a/b")},
			out:    filepath.Join(dir, "a/b") + "\n" + filepath.Join(dir, "a/b") + "\n",
			header: []string{" in dir " + filepath.Join(dir, "a/b")},
		},
		{
			name:   "environment",
			args:   map[string]any{"command": "echo $X:$HOME", "env": map[string]any{"X": "1${HOME}2", "HOME": nil}},
			out:    "1/nowhere2:\n",
			header: []string{" environment:", "  X=1/nowhere2"},
		},
		{name: "input", args: map[string]any{"command": "cat", "initial_stdin": "a\nb"}, out: "a\nb\n", header: []string{"writing 3 bytes"}},
		{name: "no input", args: map[string]any{"command": "cat; echo end"}, out: "end\n"},
		{name: "stdout unwanted", args: map[string]any{"command": "echo a; echo b >&2", "want_stdout": int64(0)}, err: "b\n"},
		{name: "stderr unwanted", args: map[string]any{"command": "echo a; echo b >&2", "want_stderr": false}, out: "a\n"},
		{name: "no such program", args: map[string]any{"command": []any{"no-such-program"}}, err: "cannot start the command: no-such-program: command not found in " + testPath + "\n", rc: 127},
		{name: "not a program", args: map[string]any{"command": []any{"/etc/passwd"}}, err: "cannot start the command: exec /etc/passwd: permission denied\n", rc: 126},
		{name: "killed by a signal", args: map[string]any{"command": "kill -SEGV $$"}, header: []string{"process killed by signal 11"}, rc: -1},
		{
			name: "limits are told", args: map[string]any{"command": "true", "timeout": int64(1200), "maxTime": 3600.0},
			header: []string{"(timeout 1200 secs) (maxTime 3600 secs)", "using PTY: false", "elapsedTime="},
		},
		{name: "within the lines", args: map[string]any{"command": "echo a; echo b", "max_lines": int64(2)}, out: "a\nb\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			master := shell(t, tt.args)
			if diff := cmp.Diff(tt.out, master.text(dormouse.Stdout)); diff != "" {
				t.Error("stdout:", diff)
			}
			if diff := cmp.Diff(tt.err, master.text(dormouse.Stderr)); diff != "" {
				t.Error("stderr:", diff)
			}
			header := master.text(dormouse.Header)
			for _, want := range tt.header {
				if !strings.Contains(header, want) {
					t.Errorf("header has no %q:\n%s", want, header)
				}
			}
			if strings.Contains(header, "hunter2") {
				t.Errorf("the header shows what is obfuscated:\n%s", header)
			}
			if master.pairs["rc"] != tt.rc {
				t.Errorf("rc %v, want %d", master.pairs["rc"], tt.rc)
			}
			if elapsed, ok := master.pairs["elapsed"].(float64); !ok || elapsed <= 0 {
				t.Errorf("elapsed %v", master.pairs["elapsed"])
			}
		})
	}
}

func TestShellArguments(t *testing.T) {
	for _, tt := range []struct {
		name string
		args map[string]any
		want string
	}{
		{"nothing", map[string]any{}, `command "shell": argument command is missing; argument workdir is missing`},
		{"empty list", map[string]any{"workdir": "/", "command": []any{}}, "neither a string nor a list"},
		{"number", map[string]any{"workdir": "/", "command": []any{"a", int64(1)}}, "not a string, at index 1"},
		{"NUL", map[string]any{"workdir": "/", "command": "a\x00b"}, "NUL byte"},
		{"terminal", map[string]any{"workdir": "/", "command": "a", "usePTY": "yes"}, "usePTY is neither"},
		{"log files", map[string]any{"workdir": "/", "command": "a", "logfiles": []any{"x"}}, "logfiles is not a dictionary"},
		{"no log file", map[string]any{"workdir": "/", "command": "a", "logfiles": map[string]any{"x": map[string]any{"follow": true}}}, `logfiles has a log "x" whose argument filename is missing`},
		{"signal", map[string]any{"workdir": "/", "command": "a", "interruptSignal": "WINCH"}, "WINCH"},
		{"time", map[string]any{"workdir": "/", "command": "a", "timeout": "soon", "maxTime": -1.0}, "maxTime is not a number of seconds; argument timeout"},
		{"environment", map[string]any{"workdir": "/", "command": "a", "env": "A=B"}, "env is not a dictionary"},
		{"count", map[string]any{"workdir": "/", "command": "a", "max_lines": 1.5}, "max_lines is not a count"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseShell(tt.args)
			if dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	// What a stock master sends and what means the default is accepted.
	if _, err := parseShell(map[string]any{
		"workdir": "/", "command": "a", "logfiles": map[string]any{}, "usePTY": false, "timeout": nil, "env": nil,
		"maxTime": nil, "initial_stdin": nil, "interruptSignal": nil, "max_lines": nil, "unknown": 1,
	}); err != nil {
		t.Error(err)
	}
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return
		}
		// A zombie whose new parent has not reaped it yet is dead as well.
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && rest[0] == 'Z' {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("process %d still lives after a minute", pid)
		case <-time.After(time.Millisecond):
		}
	}
}

// pids reads the process ids that a command printed, once it printed n.
func pids(t *testing.T, master *fakeConn, n int) []int {
	t.Helper()
	var words []string
	master.await(t, func() bool {
		words = strings.Fields(master.text(dormouse.Stdout))
		return len(words) >= n
	})
	out := make([]int, n)
	for i := range out {
		out[i], _ = strconv.Atoi(words[i])
	}
	return out
}

func TestKillsGroup(t *testing.T) {
	// A leader, a child that ignores SIGTERM, and a grandchild; all print
	// their ids, and wait for what never comes.
	const family = `trap '' TERM; sh -c 'echo $$; sh -c "echo \$\$; sleep 1000" & wait' & echo $$; wait; sleep 1000`
	for _, tt := range []struct {
		name string
		args map[string]any
		end  func(*running, context.CancelFunc)
		fail string // failure_reason
		said string
		lost bool
	}{
		{name: "interrupted", end: func(r *running, _ context.CancelFunc) { r.interrupt("changed my mind") }, said: "command interrupted (changed my mind), attempting to kill"},
		{name: "interrupted with SIGTERM first", args: map[string]any{"sigtermTime": 0.1}, end: func(r *running, _ context.CancelFunc) { r.interrupt("") }, said: "command interrupted, attempting to kill"},
		{name: "silent", args: map[string]any{"timeout": 5}, fail: failedSilent, said: "5 secs without output"},
		{name: "too long", args: map[string]any{"maxTime": 5.0}, fail: failedTimeout, said: "5 secs elapsed"},
		{name: "connection lost", end: func(_ *running, lose context.CancelFunc) { lose() }, lost: true},
		{name: "connection lost with SIGTERM first", args: map[string]any{"sigtermTime": 0.1}, end: func(_ *running, lose context.CancelFunc) { lose() }, lost: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx, lose := context.WithCancel(t.Context())
			defer lose()
			master := newFakeConn()
			r := newRunning(ctx, master, testPath)
			args := map[string]any{"command": family}
			for k, v := range tt.args {
				args[k] = v
			}
			ended := start(t, ctx, r, args)
			family := pids(t, master, 3)
			if tt.end != nil {
				tt.end(r, lose)
			}
			if failure := <-ended; failure != "" {
				t.Errorf("failure %q", failure)
			}
			for _, pid := range family {
				gone(t, pid)
			}
			if tt.lost {
				return
			}
			if master.pairs["rc"] != -1 {
				t.Errorf("rc %v", master.pairs["rc"])
			}
			if got, _ := master.pairs["failure_reason"].(string); got != tt.fail {
				t.Errorf("failure_reason %q, want %q", got, tt.fail)
			}
			if header := master.text(dormouse.Header); !strings.Contains(header, tt.said) {
				t.Errorf("header has no %q:\n%s", tt.said, header)
			}
		})
	}
}

func TestInterruptedGently(t *testing.T) {
	master := newFakeConn()
	r := newRunning(t.Context(), master, testPath)
	ended := start(t, t.Context(), r, map[string]any{
		"command": `trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.01; done`, "sigtermTime": int64(600),
	})
	master.await(t, func() bool { return strings.Contains(master.text(dormouse.Stdout), "ready") })
	r.interrupt("")
	<-ended
	if got := master.text(dormouse.Stdout); got != "ready\ncleaned up\n" {
		t.Errorf("output %q", got)
	}
	if master.pairs["rc"] != -1 {
		t.Errorf("rc %v: a command that was stopped has not succeeded", master.pairs["rc"])
	}
}

func TestTooManyLines(t *testing.T) {
	master := shell(t, map[string]any{"command": "while :; do echo y; done", "max_lines": int64(1000)})
	if got := strings.Count(master.text(dormouse.Stdout), "y\n"); got != 1000 {
		t.Errorf("%d lines", got)
	}
	if master.pairs["failure_reason"] != failedLines || master.pairs["rc"] != -1 {
		t.Errorf("%v", master.pairs)
	}
}

// A process that left the group holds the pipe when the group is killed. It is
// named, and ended with its build.
func TestEscapedProcessHoldsPipe(t *testing.T) {
	master := newFakeConn()
	r := newRunning(t.Context(), master, testPath)
	ended := start(t, t.Context(), r, map[string]any{"command": `setsid sh -c 'echo $$; exec sleep 1000' & echo $$; wait`})
	both := pids(t, master, 2)
	r.interrupt("")
	<-ended
	if header := master.text(dormouse.Header); !strings.Contains(header, "(sleep 1000) still has the command's output open") {
		t.Errorf("header:\n%s", header)
	}
	r.remains.end("", r.log)
	for _, pid := range both {
		gone(t, pid)
	}
}

// What a command leaves behind is left alone until its build ends, whether it
// holds the output or not: that is how daemons start. Then it is ended, wherever
// it has put itself, and nothing of another build is.
func TestBackground(t *testing.T) {
	t.Parallel()
	const daemon = `sh -c 'echo $$ >pid; exec sleep 1000'`
	for name, command := range map[string]string{
		"in the group":           daemon + " &",
		"a session":              "setsid " + daemon + " &",
		"an orphan's orphan":     "(setsid sh -c \"(" + strings.ReplaceAll(daemon, "$", "\\$") + ") &\" &);",
		"holds nothing":          daemon + " >/dev/null 2>&1 </dev/null &",
		"prints on":              `sh -c 'echo $$ >pid; while :; do echo x || exit; sleep 0.1; done' &`,
		"heeds no SIGTERM":       `sh -c 'trap "" TERM; echo $$ >pid; while :; do sleep 0.1; done' &`,
		"an environment without": "setsid sh -c 'env -i sleep 1000 & echo $! >pid; wait' &",
	} {
		for _, terminal := range []bool{false, true} {
			if terminal && !strings.Contains(command, "setsid") {
				continue // the end of its terminal ends it
			}
			t.Run(fmt.Sprintf("%s, terminal %t", name, terminal), func(t *testing.T) {
				t.Parallel()
				master := newFakeConn()
				r := newRunning(t.Context(), master, testPath)
				r.group, r.remains.patience = "7", 100*time.Millisecond
				<-start(t, t.Context(), r, map[string]any{"command": "mkfifo pid; " + command + " cat pid; exit 4", "usePTY": terminal, "timeout": 600})
				if master.pairs["rc"] != 4 {
					t.Errorf("%v", master.pairs)
				}
				pid := pids(t, master, 1)[0]
				if err := syscall.Kill(pid, 0); err != nil {
					t.Errorf("it has not outlived its command: %v", err)
				}
				stays := r.inGroup8(t)
				if ended := r.remains.end("7", r.log); len(ended) == 0 {
					t.Error("nothing was ended")
				}
				gone(t, pid)
				if err := syscall.Kill(stays, 0); err != nil {
					t.Errorf("another build's process: %v", err)
				}
				r.remains.end("8", r.log)
				gone(t, stays)
			})
		}
	}
}

// inGroup8 has another build of the same worker leave a process behind.
func (r *running) inGroup8(t *testing.T) (pid int) {
	t.Helper()
	master := newFakeConn()
	other := newRunning(t.Context(), master, testPath)
	other.group, other.remains = "8", r.remains
	<-start(t, t.Context(), other, map[string]any{"command": "sleep 1000 >/dev/null 2>&1 & echo $!"})
	return pids(t, master, 1)[0]
}

func TestUnusableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	master := newFakeConn()
	failure := <-start(t, t.Context(), newRunning(t.Context(), master), map[string]any{"command": "true", "workdir": filepath.Join(file, "build")})
	if !strings.Contains(failure, "working directory") {
		t.Errorf("failure %q", failure)
	}
}

// A command that reads none of its input, and one that leaves it to a child
// that never reads it, both end.
func TestInputUnread(t *testing.T) {
	big := strings.Repeat("x", 1<<20)
	if rc := shell(t, map[string]any{"command": "exit 5", "initial_stdin": big}).pairs["rc"]; rc != 5 {
		t.Errorf("rc %v", rc)
	}
	master := shell(t, map[string]any{"command": "sleep 1000 >/dev/null 2>&1 <&0 & echo $!", "initial_stdin": big})
	if err := syscall.Kill(pids(t, master, 1)[0], syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestFindExecutable(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"yes": 0o755, "no": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, want string }{
		{"yes", filepath.Join(dir, "yes")},
		{"./yes", filepath.Join(dir, "yes")},
		{"sh", "/bin/sh"},
		{"no", ""},
		{"", ""},
	} {
		got, err := findExecutable(tt.name, dir, []string{"PATH=.:/bin"})
		if tt.want == "" && err == nil {
			t.Errorf("%q: found %s", tt.name, got)
		}
		if tt.want != "" && (err != nil || got != tt.want && got != tt.name) {
			t.Errorf("%q: %s, %v", tt.name, got, err)
		}
	}
	if _, err := findExecutable("no", dir, []string{"PATH=."}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a file that cannot be run: %v", err)
	}
}
