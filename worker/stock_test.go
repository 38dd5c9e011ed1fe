package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

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

// Our agent serves a real Buildbot master.
func TestStockMaster(t *testing.T) {
	if _, err := os.Stat(stockMaster); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install Debian's buildbot", stockMaster)
		}
		t.Skipf("%s is missing: install Debian's buildbot to run this test", stockMaster)
	}
	dir := t.TempDir()
	port, err := loopback.FreePort() // the stock master can not tell which one it took by itself
	if err != nil {
		t.Fatal(err)
	}
	startStockMaster(t, dir, port)
	m := &testMaster{url: "ws://127.0.0.1:" + strconv.Itoa(port) + "/"}
	base := filepath.Join(dir, "worker")
	stop := m.agent(t, func(c *Config) {
		c.Password = "pass word"
		c.BaseDir = base
		c.MaxDelay = 200 * time.Millisecond
		c.Environ = []string{"PATH=/usr/bin:/bin", "DORMOUSE_WORKER_PASSWORD=pass word"}
	})

	// The master writes the file when the build has ended, which is seconds
	// after its start; a machine under load has two minutes.
	var text []byte
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for text == nil {
		select {
		case <-ticker.C:
			var err error
			text, err = os.ReadFile(filepath.Join(dir, "result.json"))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		case <-deadline:
			t.Fatal("the build has not ended within two minutes")
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	var got stockResult
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Results != int(dormouse.Success) {
		t.Errorf("the build's result is %v", dormouse.Result(got.Results))
	}
	// The content of a log has each line with its stream's letter before it.
	build := filepath.Join(base, "a_builder/build")
	for i, want := range []struct {
		name   string
		result dormouse.Result
		lines  []string
	}{
		{"worker_preparation", dormouse.Success, nil},
		{"watched", dormouse.Success, []string{"olive first", "osecond ä", "eoops", "h in dir " + build + " (timeout 1200 secs)", "hprogram finished with exit code 0"}},
		{"list", dormouse.Success, []string{"oit's", "oa b", `h argv: ["printf", "%s\n", "it's", "a b"]`}},
		{"mkdir", dormouse.Success, nil},
		{"in it", dormouse.Success, []string{"o" + build + "/made"}},
		{"rmdir", dormouse.Success, nil},
		{"stat", dormouse.Failure, nil}, // the step wants a file, and it is a directory
		{"too long", dormouse.Failure, []string{"obegun", "hcommand timed out: 1 sec elapsed running echo begun; sleep 1000, attempting to kill", "hprocess killed by signal 9 (killed)", "hprogram finished with exit code -1"}},
	} {
		if i >= len(got.Steps) {
			t.Errorf("no step %q", want.name)
			continue
		}
		step := got.Steps[i]
		if step.Name != want.name || step.Results != int(want.result) {
			t.Errorf("step %q: %v, want %q: %v", step.Name, dormouse.Result(step.Results), want.name, want.result)
		}
		for _, line := range want.lines {
			if !strings.Contains("\n"+step.Logs["stdio"], "\n"+line+"\n") {
				t.Errorf("step %q has no line %q in its log:\n%s", step.Name, line, step.Logs["stdio"])
			}
		}
	}
	if strings.Contains(string(text), "pass word") {
		t.Error("the master learned the password from a step's environment")
	}
	if _, err := os.Stat(filepath.Join(build, "made")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was not removed: %v", err)
	}
}
