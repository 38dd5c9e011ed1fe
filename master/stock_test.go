package master_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
	"github.com/dormouse-ci/dormouse/web"
)

const stockWorker = "/usr/bin/buildbot-worker"

// cable carries connections to an address, until it is cut.
type cable struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{Listener: l}
	c.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, near, far)
			c.mu.Unlock()
			for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
				c.wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1]) // its end is all that matters
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.cut()
		c.wg.Wait()
	})
	return c
}

// cut ends all connections there are.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// startStock runs Debian's buildbot-worker. The channel is closed when it has
// ended.
func startStock(t *testing.T, addr, name, password string) <-chan struct{} {
	t.Helper()
	return startStockWith(t, addr, name, password, "")
}

// startStockWith has it trust a CA, where one is named, and speak TLS.
func startStockWith(t *testing.T, addr, name, password, caFile string) <-chan struct{} {
	t.Helper()
	if _, err := os.Stat(stockWorker); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: apt-get install buildbot-worker", stockWorker)
		}
		t.Skipf("%s is missing: apt-get install buildbot-worker", stockWorker)
	}
	dir := filepath.Join(t.TempDir(), "worker")
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + t.TempDir(), "PYTHONDONTWRITEBYTECODE=1"}
	args := []string{stockWorker, "create-worker", "--maxretries=20", "--protocol=msgpack_experimental_v7"}
	if caFile != "" {
		args = append(args, "--use-tls")
		env = append(env, "SSL_CERT_FILE="+caFile)
	}
	create := exec.Command("/usr/bin/python3", append(args, dir, addr, name, password)...)
	create.Env = env
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-worker: %v\n%s", err, out)
	}
	program := exec.Command("/usr/bin/python3", stockWorker, "start", "--nodaemon", dir)
	program.Env = env
	done, err := procs.Start(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = program.Process.Kill()
			<-done
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "twistd.log"))
			t.Logf("twistd.log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return done
}

// TestStockWorker: a worker that another project made serves several builders of
// this master at once, is seen live, moves files, is interrupted, comes back after
// its connection was cut, and leaves when it is asked to.
func TestStockWorker(t *testing.T) {
	s := newSite(t)
	gate, gate2 := filepath.Join(s.dir, "gate"), filepath.Join(s.dir, "gate2")
	m := s.start(workersPort(t) + fmt.Sprintf(`
c['workers'] = [worker.Worker('stock', 'password of stock', max_builds=2)]
def plain(name, *items):
    return util.BuilderConfig(name=name, workernames=['stock'], collapseRequests=False, factory=util.BuildFactory(list(items)))
c['builders'] = [
    plain('b', steps.ShellCommand(name='shell', command=%q, logEnviron=False)),
    plain('b2', steps.ShellCommand(name='shell', command=%q, logEnviron=False)),
    plain('b3', steps.StringDownload('from the master\n', 'in'), steps.ShellCommand(command='cat in > out; mkdir d; cp in d'),
        steps.FileUpload('out', 'out'), steps.DirectoryUpload('d', 'd', compress='bz2'), steps.MultipleFileUpload(['o*'], 'g', glob=True),
        steps.CopyDirectory('build/d', 'build/e'), steps.FileExists('build/e/in'), steps.RemoveDirectory('build/e'), steps.MakeDirectory('build/f'),
        steps.ShellCommand(name='log file', command='for i in 1 2 3; do echo line $i; done > made.log', logfiles={'made': 'made.log'}),
        steps.ShellCommand(name='terminal', command='tty', usePTY=True), steps.ShellCommand(name='stdin', command='cat', initialStdin='given'),
        steps.ShellCommand(name='too long', command='sleep 600', maxTime=1, flunkOnFailure=False)),
    plain('b4', steps.ShellCommand(name='shell', command='echo 1; echo 2; echo 3; sleep 600', logEnviron=False)),
]
c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['b', 'b2', 'b3', 'b4'])]
`, gated(gate), gated(gate2)))
	wire := newCable(t, m.WorkerAddr())
	gone := startStock(t, wire.Addr().String(), "stock", "password of stock")

	// Several builders, live.
	first, second := m.force("b", 1)[0], m.force("b2", 1)[0]
	m.awaitLine("b", "3")
	m.awaitLine("b2", "3")
	open(t, gate)
	if got := m.ended(first.ID); *got.Result != dormouse.Success {
		t.Errorf("%+v", got)
	}

	// A connection that is cut: the build that ran is tried again.
	wire.cut()
	m.until("the retry", func() bool {
		builds, err := m.Builds(t.Context(), web.BuildQuery{Builder: "b2", Limit: 5})
		return err == nil && len(builds) == 2 && builds[1].Result != nil && *builds[1].Result == dormouse.Retry
	})
	open(t, gate2)
	if got := m.ended(second.ID); *got.Result != dormouse.Success {
		t.Errorf("%+v", got)
	}

	// Files, both ways, and the other commands.
	files := m.ended(m.force("b3", 1)[0].ID)
	steps, err := m.Steps(t.Context(), files.BuildID)
	if err != nil || *files.Result != dormouse.Success {
		t.Errorf("%+v, %v", files, err)
	}
	for _, st := range steps {
		want := dormouse.Success
		if st.Name == "too long" {
			want = dormouse.Failure
		}
		if *st.Result != want {
			t.Errorf("step %s: %v, %s", st.Name, *st.Result, st.StateString)
		}
		for _, l := range st.Logs {
			lines, err := m.LogLines(t.Context(), l.ID, 0, 1000)
			var text strings.Builder
			for _, line := range lines {
				text.WriteString(line.Text + "\n")
			}
			if err != nil || l.Name == "made" && text.String() != "line 1\nline 2\nline 3\n" || st.Name == "terminal" && !strings.Contains(text.String(), "/dev/pts/") {
				t.Errorf("step %s, log %s: %q, %v", st.Name, l.Name, text.String(), err)
			}
		}
	}
	var kept []string
	list, err := m.Artifacts(t.Context(), files.BuildID, "", 100)
	for _, a := range list {
		kept = append(kept, a.Path)
	}
	if got := strings.Join(kept, " "); err != nil || got != "d/in g/out out" {
		t.Errorf("kept %q, %v", got, err)
	}

	// Interruption.
	stopped := m.force("b4", 1)[0]
	b := m.awaitLine("b4", "3")
	if err := m.StopBuild(t.Context(), b.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	if got := m.ended(stopped.ID); *got.Result != dormouse.Cancelled {
		t.Errorf("%+v", got)
	}

	// A shutdown that waits for what runs: there is nothing.
	if err := m.StopWorker(t.Context(), "stock", false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("the worker has not ended")
	}
}
