package build_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// leaves is a command that starts a daemon, and prints its number.
const leaves = "rm -f pid; mkfifo pid; setsid sh -c 'echo $$ >pid; exec sleep 1000' >/dev/null 2>&1 & tee shown <pid"

// What a step leaves behind serves the steps that follow, and ends with the
// build, however that ends, on a worker of either kind.
func TestNothingOutlivesTheBuild(t *testing.T) {
	for name, c := range map[string]struct {
		farm      func(*testing.T) *farm
		resumable bool
	}{
		"agent": {func(t *testing.T) *farm { f, _ := newResumingFarm(t); return f }, true},
		"stock": {newStockFarm, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.farm(t)
			for _, last := range []string{"kill -0 $(cat shown)", "exit 1", "echo asked; sleep 1000"} {
				m, stop := &memory{}, make(chan string, 1)
				m.watch = when("asked", func() { stop <- "enough" })
				j := f.job(sh("a", leaves), sh("b", last))
				j.Resumable, j.Abandon = c.resumable, notAbandoned(t)
				out := f.run(t, m, j, stop)
				want := map[string]dormouse.Result{"exit 1": dormouse.Failure, "echo asked; sleep 1000": dormouse.Cancelled}[last]
				if out.Result != want {
					t.Errorf("%+v, want %v: %s", out, want, m.text(1))
				}
				pid, err := strconv.Atoi(strings.TrimSpace(m.stdout(0)))
				if err != nil {
					t.Fatal(err)
				}
				ended(t, pid)
			}
		})
	}
}

// ended waits until a process that was killed is gone, but for its parent's
// knowledge of it.
func ended(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.After(patience); ; {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, _ := strings.Cut(string(stat), ") "); err != nil || rest[0] == 'Z' {
			return
		}
		select {
		case <-deadline:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d lives on", pid)
		case <-time.After(time.Millisecond):
		}
	}
}

// A command on the master ends with its own process and its own exit code, what
// holds its output is named, and serves the build until its end.
func TestNothingOutlivesTheBuildOnTheMaster(t *testing.T) {
	for _, daemon := range []string{
		"sh -c 'echo $$ >pid; exec sleep 1000' &",
		"(setsid sh -c 'sh -c \"echo \\$\\$ >pid; exec sleep 1000\" &' &) ;",
	} {
		f, d, m := newFarm(t), newDisk(t), &memory{}
		j := f.job(
			step("a", dormouse.MasterShellCommand{Command: "rm -f pid shown; mkfifo pid; " + daemon + " tee shown <pid; exit 3"}),
			step("b", dormouse.MasterShellCommand{Command: "kill -0 $(cat shown)"}),
		)
		out := f.files(t, m, d, j, nil)
		if m.steps[0].StateString != "failed (3) (failure)" || *m.steps[1].Result != dormouse.Success {
			t.Errorf("%+v, %q: %s", out, m.results(), m.text(0)+m.text(1))
		}
		pid, err := strconv.Atoi(strings.TrimSpace(m.stdout(0)))
		if err != nil {
			t.Fatal(err)
		}
		if want := "process " + strconv.Itoa(pid) + " (sleep 1000) still has the command's output open"; !strings.Contains(m.text(0), want) {
			t.Errorf("the log does not say %q:\n%s", want, m.text(0))
		}
		ended(t, pid)
	}
}

// A secret is hidden wherever a line is cut, and a character is never cut.
func TestLongLinesOnTheMaster(t *testing.T) {
	const secret = "hunter2-é-and-more"
	f, d, m := newFarm(t), newDisk(t), &memory{}
	long := `i=0; while [ $i -lt 30 ]; do printf "é%s" "$S"; printf "%02185d" 1 | tr 0 é | head -c $((4370 + i)); i=$((i+1)); done`
	j := f.job(step("a", dormouse.MasterShellCommand{Command: long, Env: map[string]any{"S": expr.SecretRef{Name: "s"}, "PATH": "${PATH}"}}))
	j.Secret = func(string) (string, error) { return secret, nil }
	f.files(t, m, d, j, nil)
	got := m.stdout(0)
	if strings.Contains(strings.ReplaceAll(got, "\n", ""), secret) || strings.Count(got, "<s>") != 30 || strings.Count(got, "\n") < 2 {
		t.Errorf("%d lines, %d secrets are hidden", strings.Count(got, "\n"), strings.Count(got, "<s>"))
	}
}
