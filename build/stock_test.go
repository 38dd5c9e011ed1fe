package build_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

const stockWorker = "/usr/bin/buildbot-worker"

// newStockFarm attaches Debian's buildbot-worker instead of our agent.
func newStockFarm(t *testing.T) *farm {
	t.Helper()
	if _, err := os.Stat(stockWorker); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: apt-get install buildbot-worker", stockWorker)
		}
		t.Skipf("%s is missing: apt-get install buildbot-worker", stockWorker)
	}
	url, attached := master(t)
	f := &farm{dir: filepath.Join(t.TempDir(), "worker")}
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}
	create := exec.Command("/usr/bin/python3", stockWorker, "create-worker", "--protocol=msgpack_experimental_v7",
		f.dir, strings.TrimPrefix(url, "ws://"), "bot1", "secret")
	create.Env = env
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	run := exec.Command("/usr/bin/python3", stockWorker, "start", "--nodaemon", f.dir)
	run.Env = env
	done, err := procs.Start(run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = run.Process.Kill() })
		defer timer.Stop()
		<-done
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(f.dir, "twistd.log"))
			t.Logf("twistd.log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	f.await(t, attached)
	return f
}

func TestRunOnAStockWorker(t *testing.T) {
	r, f := newRepository(t), newStockFarm(t)
	for _, mode := range [][2]string{{"incremental", ""}, {"incremental", ""}, {"full", "fresh"}, {"full", "clobber"}, {"full", "copy"}} {
		m := &memory{}
		job := f.job(
			gitStep(dormouse.Git{RepoURL: r.dir, Mode: mode[0], Method: mode[1], Timeout: time.Minute}),
			sh("cat", "cat file; echo; cat nosuch"),
			always(sh("after", "echo $WHO")),
		)
		job.Builder.Env = map[string]any{"WHO": []any{"a", "b"}}
		out := f.run(t, m, job, nil)
		if out.Result != dormouse.Failure {
			t.Fatalf("%v: %+v\n%s", mode, out, m.text(0))
		}
		if diff := cmp.Diff([]string{"git success", "cat failure", "after success"}, m.results()); diff != "" {
			t.Fatalf("%v: steps (-want +got):\n%s\n%s", mode, diff, m.text(0))
		}
		if m.stdout(1) != "two\n" || m.stdout(2) != "a:b\n" || m.props["got_revision"].Value != r.second {
			t.Errorf("%v: printed %q and %q, %v", mode, m.stdout(1), m.stdout(2), m.props)
		}
	}

	silent := sh("silent", "sleep 600")
	a := silent.Action.(dormouse.ShellCommand)
	a.Timeout = time.Second
	silent.Action = a
	m := &memory{}
	f.run(t, m, f.job(silent), nil)
	if got := m.steps[0].StateString; got != "'sleep 600' (failure) (timed out)" {
		t.Errorf("a timeout: %q\n%s", got, m.text(0))
	}

	stop := make(chan string, 1)
	m = &memory{watch: when("started", func() { stop <- "enough" })}
	out := f.run(t, m, f.job(sh("a", "echo started; sleep 600"), always(sh("b", "true"))), stop)
	if diff := cmp.Diff([]string{"a cancelled", "b success"}, m.results()); diff != "" || out.Result != dormouse.Cancelled {
		t.Errorf("stopped: %+v, steps (-want +got):\n%s", out, diff)
	}
}
