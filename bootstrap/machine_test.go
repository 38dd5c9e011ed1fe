package bootstrap_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/procs"
)

// shells are those that are /bin/sh somewhere. Busybox's is not among them: it
// may run its own applets, poweroff for one, before what is on the PATH.
var shells = [][]string{{"dash"}, {"bash", "--posix"}}

// machine is a scratch root, and a directory of programs that is the whole of
// its PATH: nothing that the script calls can reach this machine's own.
type machine struct {
	t     *testing.T
	shell []string
	root  string
	bin   string
	log   string // what the stubs were called with, a line each
}

// tools are the programs of the image that are this machine's own.
var tools = []string{"mkdir", "chmod", "rm", "mv", "cat", "curl", "sha256sum", "sync"}

func newMachine(t *testing.T, shell []string) *machine {
	t.Helper()
	path, err := exec.LookPath(shell[0])
	if err != nil {
		t.Skipf("%s is not installed", shell[0])
	}
	dir := t.TempDir()
	m := &machine{
		t: t, shell: append([]string{path}, shell[1:]...),
		root: filepath.Join(dir, "root"), bin: filepath.Join(dir, "bin"), log: filepath.Join(dir, "log"),
	}
	if err := os.Mkdir(m.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	m.make("dev")
	m.has(tools...)
	m.stub("uname", `case $1 in -s) echo Linux ;; -m) echo x86_64 ;; esac`)
	m.stub("sleep", `echo "sleep $1" >>"$LOG"`)
	m.stub("id", `[ -d "$DORMOUSE_BOOTSTRAP_ROOT/var/lib/dormouse" ]`)
	m.stub("useradd", `echo "useradd $*" >>"$LOG"; mkdir "$DORMOUSE_BOOTSTRAP_ROOT/var/lib/dormouse"`)
	m.stub("chown", `echo "chown $*" >>"$LOG"`)
	m.stub("systemctl", `echo "systemctl $*" >>"$LOG"`)
	for _, name := range []string{"poweroff", "shutdown", "halt"} {
		m.stub(name, `echo "`+name+` $*" >>"$LOG"`)
	}
	m.write("dev/console", "")
	return m
}

// has puts programs of this machine into the image.
func (m *machine) has(names ...string) {
	m.t.Helper()
	for _, name := range names {
		var found string
		// Not by the PATH: a program may stand there that only finds another.
		for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil && found == "" {
				found = filepath.Join(dir, name)
			}
		}
		if found == "" {
			m.t.Skipf("%s is not installed", name)
		}
		if err := os.Symlink(found, filepath.Join(m.bin, name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// without takes programs away.
func (m *machine) without(names ...string) {
	m.t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(m.bin, name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// stub puts a script into the image.
func (m *machine) stub(name, text string) {
	m.t.Helper()
	if err := procs.WriteProgram(filepath.Join(m.bin, name), []byte("#!/bin/sh\n"+text+"\n")); err != nil {
		m.t.Fatal(err)
	}
}

// make makes a directory.
func (m *machine) make(name string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Join(m.root, name), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.root, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m *machine) mode(name string) string {
	m.t.Helper()
	info, err := os.Stat(filepath.Join(m.root, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return info.Mode().String()
}

func (m *machine) environ(more ...string) []string {
	return append([]string{"PATH=" + m.bin, "LOG=" + m.log, "DORMOUSE_BOOTSTRAP_ROOT=" + m.root}, more...)
}

// boot runs the script as cloud-init does, and returns its exit code and what
// it printed.
func (m *machine) boot(script []byte) (code int, output string) {
	m.t.Helper()
	path := filepath.Join(filepath.Dir(m.bin), "part-001")
	if err := procs.WriteProgram(path, script); err != nil {
		m.t.Fatal(err)
	}
	return m.run(path)
}

// run runs a script that the machine has.
func (m *machine) run(path string) (code int, output string) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), m.shell[0], append(slices.Clone(m.shell[1:]), path)...)
	cmd.Env = m.environ()
	cmd.Dir = m.root
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// calls are the stubs' calls so far.
func (m *machine) calls() []string {
	text, err := os.ReadFile(m.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

// off fails the test unless the script failed, said why on the console, and
// powered the machine off, once.
func (m *machine) off(code int, output, why string) {
	m.t.Helper()
	console := m.read("dev/console")
	calls := m.calls()
	if code == 0 || !strings.Contains(console, why) || !strings.Contains(output, why) {
		m.t.Errorf("exit code %d, want %q on the console:\n%s\nand in the output:\n%s", code, why, console, output)
	}
	if n := strings.Count(fmt.Sprint(calls), "poweroff"); n != 1 || calls[len(calls)-1] != "systemctl poweroff" {
		m.t.Errorf("calls %q", calls)
	}
	if _, err := os.Stat(filepath.Join(m.root, "etc/dormouse/worker.env")); err == nil {
		m.t.Error("it has gone on")
	}
	if left, _ := filepath.Glob(filepath.Join(m.root, "usr/local/bin/.*")); len(left) > 0 {
		m.t.Errorf("left behind: %q", left)
	}
}

// unit returns a unit's settings, each with all its values in order.
func (m *machine) unit(name string) map[string][]string {
	m.t.Helper()
	settings := map[string][]string{}
	for line := range strings.Lines(m.read("etc/systemd/system/" + name)) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "["):
		case !ok:
			m.t.Errorf("%s has the line %q", name, line)
		default:
			settings[key] = append(settings[key], value)
		}
	}
	return settings
}

// eachShell runs a test on a machine for each shell.
func eachShell(t *testing.T, test func(t *testing.T, m *machine)) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			t.Parallel()
			test(t, newMachine(t, shell))
		})
	}
}
