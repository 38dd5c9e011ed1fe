package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/loopback"
)

const stockMaster = "/usr/bin/buildbot"

// stockResult is what the stock master's configuration writes at the end.
type stockResult struct {
	Results int
	Steps   []struct {
		Name    string
		Results int
		Logs    map[string]string
	}
}

// startStockMaster starts a real Buildbot master in dir, which listens for
// workers on the port.
func startStockMaster(t *testing.T, dir string, port int) {
	t.Helper()
	env := []string{
		"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + dir, "PYTHONDONTWRITEBYTECODE=1",
		"TEST_DIR=" + dir, "TEST_PORT=" + strconv.Itoa(port),
	}
	base := filepath.Join(dir, "master")
	create := exec.CommandContext(t.Context(), stockMaster, "create-master", "-r", base)
	create.Env = env
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-master: %v\n%s", err, out)
	}
	cfg, err := os.ReadFile("testdata/stock_master.cfg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "master.cfg"), cfg, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	master := exec.Command("/usr/bin/python3", stockMaster, "start", "--nodaemon", base)
	master.Env = env
	master.Stdout, master.Stderr = &out, &out
	master.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := master.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-master.Process.Pid, syscall.SIGKILL)
		_ = master.Wait() // it was killed
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(base, "twistd.log"))
			t.Logf("the master printed:\n%s\nand logged:\n%s", out.Bytes(), log[max(0, len(log)-20_000):])
		}
	})
}

// proxy is what an agent and its master have between them, to cut.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
	wg       sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, in, out)
			p.mu.Unlock()
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				p.wg.Go(func() {
					_, _ = io.Copy(pair[0], pair[1])
					pair[0].Close()
					pair[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

// stock is a stock master with an agent of ours.
type stock struct {
	t    *testing.T
	dir  string
	base string // the agent's
}

// do asks the master to do something.
func (s *stock) do(what string) { write(s.t, filepath.Join(s.dir, "do-"+what), "") }

// await waits for a file. Builds take seconds; a machine under load has two
// minutes.
func (s *stock) await(path string) []byte {
	s.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(10 * time.Minute)
	for {
		select {
		case <-ticker.C:
			text, err := os.ReadFile(path)
			if err == nil {
				return text
			}
			if !errors.Is(err, fs.ErrNotExist) {
				s.t.Fatal(err)
			}
		case <-deadline:
			s.t.Fatalf("%s is not there after two minutes", path)
		}
	}
}

// result waits for the end of a builder's build.
func (s *stock) result(builder string) stockResult {
	s.t.Helper()
	path := filepath.Join(s.dir, "result-"+builder+".json")
	text := s.await(path)
	if strings.Contains(string(text), "pass word") {
		s.t.Error("the master learned the password from a step's environment")
	}
	var got stockResult
	if err := json.Unmarshal(text, &got); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
	return got
}

// stockStep is what a step should have come to. Each line of a log has its
// stream's letter before it.
type stockStep struct {
	name   string
	result dormouse.Result
	lines  []string
	logs   map[string]string // whole, other than stdio
}

func (s *stock) compare(got stockResult, result dormouse.Result, want []stockStep) {
	s.t.Helper()
	if got.Results != int(result) {
		s.t.Errorf("the build's result is %v, want %v", dormouse.Result(got.Results), result)
	}
	for i, want := range want {
		if i >= len(got.Steps) {
			s.t.Errorf("no step %q", want.name)
			continue
		}
		step := got.Steps[i]
		if step.Name != want.name || step.Results != int(want.result) {
			s.t.Errorf("step %q: %v, want %q: %v\n%s", step.Name, dormouse.Result(step.Results), want.name, want.result, step.Logs)
		}
		for _, line := range want.lines {
			if !strings.Contains("\n"+step.Logs["stdio"], "\n"+line+"\n") {
				s.t.Errorf("step %q has no line %q in its log:\n%s", step.Name, line, step.Logs)
			}
		}
		if want.logs != nil {
			delete(step.Logs, "stdio")
			if diff := cmp.Diff(want.logs, step.Logs); diff != "" {
				s.t.Errorf("step %q: %s", step.Name, diff)
			}
		}
	}
}

// Our agent serves a real Buildbot master: every command, several builders at
// once, a build that is stopped, a connection that is lost, and the end.
func TestStockMaster(t *testing.T) {
	if _, err := os.Stat(stockMaster); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install Debian's buildbot", stockMaster)
		}
		t.Skipf("%s is missing: install Debian's buildbot to run this test", stockMaster)
	}
	s := &stock{t: t, dir: t.TempDir()}
	port, err := loopback.FreePort() // the stock master cannot tell which one it took by itself
	if err != nil {
		t.Fatal(err)
	}
	startStockMaster(t, s.dir, port)
	between := newProxy(t, "127.0.0.1:"+strconv.Itoa(port))
	s.base = filepath.Join(s.dir, "worker")
	w, err := New(Config{
		Master: between.listener.Addr().String(), Name: "w1", Password: "pass word", BaseDir: s.base, MaxDelay: 200 * time.Millisecond,
		Environ: []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "DORMOUSE_WORKER_PASSWORD=pass word"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})

	for _, builder := range []string{"a builder", "other", "stopped"} {
		s.do(builder)
	}
	s.compareMain(s.result("a builder"))
	s.compare(s.result("other"), dormouse.Success, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"waits", dormouse.Success, []string{"o" + filepath.Join(s.base, "other/build")}, nil},
	})
	s.compare(s.result("stopped"), dormouse.Cancelled, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"stopped", dormouse.Cancelled, []string{"oup", "hcommand interrupted (enough), attempting to kill", "hprogram finished with exit code -1"}, nil},
	})

	source := strings.Repeat("0123456789abcdef", 4000)
	write(t, filepath.Join(s.dir, "source"), source)
	s.compareDownloads(source)

	s.do("again")
	s.await(filepath.Join(s.base, "again/tried"))
	between.cut()
	s.compare(s.result("again"), dormouse.Success, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"again", dormouse.Success, []string{"odone"}, nil},
	})

	s.do("shutdown")
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Minute):
		t.Error("the agent runs on long after it was told to end")
	}
}

// compareMain looks at the build that has all but downloads.
func (s *stock) compareMain(got stockResult) {
	t := s.t
	t.Helper()
	build := filepath.Join(s.base, "a_builder/build")
	const killed = "hprogram finished with exit code -1"
	s.compare(got, dormouse.Success, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"watched", dormouse.Success, []string{"olive first", "osecond ä", "eoops", "h in dir " + build + " (timeout 1200 secs)", "hprogram finished with exit code 0"}, nil},
		{"list", dormouse.Success, []string{"oit's", "oa b", `h argv: ["printf", "%s\n", "it's", "a b"]`}, nil},
		{"mkdir", dormouse.Success, nil, nil},
		{"in it", dormouse.Success, []string{"o" + build + "/made"}, nil},
		{"rmdir", dormouse.Success, nil, nil},
		{"stat", dormouse.Failure, nil, nil}, // the step wants a file, and it is a directory
		{"too long", dormouse.Failure, []string{"obegun", "hcommand timed out: 5 secs elapsed running echo begun; sleep 1000, attempting to kill", "hprocess killed by signal 9 (killed)", killed}, nil},
		{"gently", dormouse.Failure, []string{"obegun", "ocleaned up", killed}, nil},
		{"silent", dormouse.Failure, []string{"hcommand timed out: 1 sec without output running sleep 1000, attempting to kill", killed}, nil},
		{"few lines", dormouse.Failure, []string{"oy\noy\noy\nh\nhcommand printed more than 3 lines running yes, attempting to kill", killed}, nil},
		{"terminal", dormouse.Success, []string{"h using PTY: true", "ooops"}, nil},
		{"input", dormouse.Success, []string{"h using PTY: false", "ogiven"}, nil},
		{"tree", dormouse.Success, nil, nil},
		{"exists", dormouse.Success, nil, nil},
		{"log files", dormouse.Success, nil, map[string]string{"log": "olive in a file\nothe end\n", "old": "oafter\n"}},
		{"upload", dormouse.Success, []string{"hsending " + build + "/tree/one.txt"}, nil},
		{"large", dormouse.Success, nil, nil},
		{"too large", dormouse.Failure, []string{"e" + build + "/tree/large has more than the 12345 bytes that maxsize allows: the rest is cut off", "hprogram finished with exit code 1"}, nil},
		{"missing", dormouse.Failure, []string{"ecannot open for upload " + build + "/tree/nothing: no such file or directory"}, nil},
		{"directory", dormouse.Success, []string{"hsending " + build + "/tree"}, nil},
		{"directory gz", dormouse.Success, nil, nil},
		{"directory bz2", dormouse.Success, nil, nil},
		{"directory too large", dormouse.Failure, []string{"e" + build + "/tree has more than the 5000 bytes that maxsize allows: the archive is not unpacked"}, nil},
		{"several", dormouse.Success, nil, nil},
		{"copy", dormouse.Success, nil, nil},
		{"copy out", dormouse.Failure, nil, nil},
		{"compare", dormouse.Success, []string{"o750 1000000000", "oone.txt"}, nil},
	})
	if _, err := os.Stat(filepath.Join(build, "made")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was not removed: %v", err)
	}
	tree := files(t, filepath.Join(build, "tree"))
	want := map[string]string{
		"one.txt": "one\n", "large": tree["large"], "cut": tree["large"][:12345],
		"several": "directory", "several/one.txt": "one\n", "several/two.txt": "two\n", "several/ä.txt": "äöü",
		"several/sub": "directory", "several/sub/two.txt": "two\n",
	}
	for _, name := range []string{"tree", "gz", "bz2"} {
		want[name] = "directory"
		for path, text := range tree {
			want[name+"/"+path] = text
		}
	}
	if diff := cmp.Diff(want, files(t, filepath.Join(s.dir, "got"))); diff != "" {
		t.Errorf("what the master has: %s", diff)
	}
	if fi, err := os.Stat(filepath.Join(s.dir, "got/one.txt")); err != nil || fi.Mode() != 0o640 {
		t.Errorf("%v, %v", fi, err)
	}
}

// compareDownloads has the master send files: as it is, which it cannot, and
// repaired.
func (s *stock) compareDownloads(source string) {
	t := s.t
	t.Helper()
	s.do("downloads")
	got := s.result("downloads")
	s.compare(got, dormouse.Exception, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"file", dormouse.Exception, nil, nil},
	})
	if log := got.Steps[1].Logs["stdio"]; !strings.Contains(log, "answered update_read_file without the bytes of the file, as Buildbot 3.7 does") {
		t.Errorf("the log does not say what is wrong:\n%s", log)
	}
	build := filepath.Join(s.base, "downloads/build")
	if there := files(t, build); len(there) != 2 || there["sub/dir"] == "" {
		t.Errorf("left: %v", there)
	}
	s.do("repair")
	s.do("downloads")
	s.compare(s.result("downloads"), dormouse.Success, []stockStep{
		{"worker_preparation", dormouse.Success, nil, nil},
		{"file", dormouse.Success, nil, nil},
		{"string", dormouse.Success, nil, nil},
		{"json", dormouse.Success, nil, nil},
		{"too large", dormouse.Failure, []string{"e" + build + "/cut has more than the 100 bytes that maxsize allows: nothing of it is kept"}, nil},
		{"outside", dormouse.Failure, []string{"ecannot open for download /tmp/dormouse-outside: it is not in the worker's base directory " + s.base}, nil},
		{"what is there", dormouse.Success, []string{"o751", `oa text: ä{"a": [1]}`}, nil},
		{"stamped", dormouse.Success, nil, nil},
		{"keeps times", dormouse.Success, nil, nil},
	})
	want := map[string]string{
		"sub": "directory", "sub/dir": "directory", "sub/dir/down.txt": source, "text": "a text: ä", "a.json": `{"a": [1]}`, "stamped": "x\n",
	}
	if diff := cmp.Diff(want, files(t, build)); diff != "" {
		t.Error(diff)
	}
	if fi, err := os.Stat(filepath.Join(s.dir, "got/stamped")); err != nil || fi.ModTime().Unix() != 1_000_000_000 {
		t.Errorf("%v, %v", fi, err)
	}
}
