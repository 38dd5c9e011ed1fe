package command

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// appendTo adds to a file, with a time of its own: the clock of a test's bubble
// is not the file system's.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// tailing runs a supervisor over a fake process with log files, to its end.
func tailing(t *testing.T, files []logFile, l limits, master *fakeConn, life func(p *fakeProcess)) {
	t.Helper()
	r := newRunning(t.Context(), master)
	p := newFakeProcess()
	p.onSignal = func(sig syscall.Signal) { go p.end(exitStatus{-1, sig}, true) }
	c := &shellCommand{argv: []string{"cmd"}, shown: []string{"cmd"}, wantStdout: true, wantStderr: true, limits: l, logs: files}
	c.signal = syscall.SIGKILL
	complain := func(path string, err error) { t.Logf("%s: %v", path, err) }
	tails := startTails(files, complain)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		newSupervisor(r, p, tails, c, time.Now()).run()
		tails.Close()
		_ = r.out.Drain()
		r.out.Close()
	}()
	life(p)
	<-ended
}

func TestLogFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	files := []logFile{
		{name: "whole", path: path("whole")},
		{name: "followed", path: path("followed"), follow: true},
		{name: "untouched", path: path("untouched")},
		{name: "later", path: path("later"), follow: true},
		{name: "cut", path: path("cut")},
		{name: "replaced", path: path("replaced")},
		{name: "replaced before", path: path("replaced before"), follow: true},
		{name: "never", path: path("never")},
		{name: "directory", path: dir},
	}
	for _, name := range []string{"whole", "followed", "untouched", "replaced before"} {
		appendTo(t, path(name), "before\n")
	}
	synctest.Test(t, func(t *testing.T) {
		master := newFakeConn()
		tailing(t, files, limits{}, master, func(p *fakeProcess) {
			for _, name := range []string{"whole", "followed"} {
				appendTo(t, path(name), "one\nunfini")
			}
			if err := os.Rename(path("replaced before"), path("elsewhere")); err != nil {
				t.Error(err)
			}
			appendTo(t, path("replaced before"), "another file, and longer\n")
			appendTo(t, path("cut"), "first of many\n")
			appendTo(t, path("replaced"), "first\n")
			time.Sleep(10 * time.Second)
			if got := master.log("followed"); len(got) != 1 {
				t.Errorf("seen while it runs: %q", got)
			}
			for _, name := range []string{"whole", "followed"} {
				appendTo(t, path(name), "shed\r\ntwo\n")
			}
			if err := os.Truncate(path("cut"), 0); err != nil {
				t.Error(err)
			}
			appendTo(t, path("cut"), "anew\n")
			// The old one grows until it is replaced, and nothing of it is lost.
			appendTo(t, path("replaced"), "last of the old\n")
			held, err := os.OpenFile(path("replaced"), os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Error(err)
			}
			if err := os.Rename(path("replaced"), path("replaced.1")); err != nil {
				t.Error(err)
			}
			if _, err := held.WriteString("even later\n"); err != nil {
				t.Error(err)
			}
			held.Close()
			appendTo(t, path("replaced"), "the new\n")
			appendTo(t, path("later"), "all of it\n")
			time.Sleep(10 * time.Second)
			// What comes just before the end is read as well.
			appendTo(t, path("whole"), "the end")
			p.end(exitStatus{}, true)
		})
		want := map[string][]string{
			"whole":           {"before", "one", "unfinished", "two", "the end"},
			"followed":        {"one", "unfinished", "two"},
			"later":           {"all of it"},
			"cut":             {"first of many", "anew"},
			"replaced":        {"first", "last of the old", "even later", "the new"},
			"replaced before": {"another file, and longer"},
		}
		if diff := cmp.Diff(want, master.logs); diff != "" {
			t.Error(diff)
		}
		if master.pairs["rc"] != 0 {
			t.Errorf("%v", master.pairs)
		}
	})
}

// A log file that grows is a sign of life, but its lines are not output.
func TestLogFileIsNotSilent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		master := newFakeConn()
		begin := time.Now()
		tailing(t, []logFile{{name: "log", path: path}}, limits{timeout: 10 * time.Second, maxLines: 2}, master, func(*fakeProcess) {
			for range 5 {
				time.Sleep(8 * time.Second)
				appendTo(t, path, "x\n")
			}
		})
		if master.pairs["failure_reason"] != failedSilent || len(master.logs["log"]) != 5 {
			t.Errorf("%v, %v", master.pairs, master.logs)
		}
		if got := time.Since(begin).Round(time.Second); got < 50*time.Second || got > 52*time.Second {
			t.Errorf("ended after %v", got)
		}
	})
}

// Nothing is read while the master holds back, and the end waits for it.
func TestLogFileIsHeldBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const lines = 20_000
	appendTo(t, path, "")
	synctest.Test(t, func(t *testing.T) {
		master := newFakeConn()
		master.hold = make(chan struct{})
		tailing(t, []logFile{{name: "log", path: path}}, limits{timeout: 10 * time.Second, maxTime: time.Minute}, master, func(p *fakeProcess) {
			appendTo(t, path, strings.Repeat(strings.Repeat("x", 99)+"\n", lines))
			time.Sleep(5 * time.Second)
			p.end(exitStatus{}, true)
			time.Sleep(time.Hour)
			if got := len(master.log("log")); got > lines/2 {
				t.Errorf("%d lines with nothing acknowledged", got)
			}
			close(master.hold)
		})
		if len(master.logs["log"]) != lines || master.pairs["rc"] != 0 || master.pairs["failure_reason"] != nil {
			t.Errorf("%d lines, %v", len(master.logs["log"]), master.pairs)
		}
	})
}

// An interruption does not wait for a log that the master does not take.
func TestLogFileIsGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		master := newFakeConn()
		master.hold = make(chan struct{})
		r := newRunning(t.Context(), master)
		p := newFakeProcess()
		files := []logFile{{name: "log", path: path}}
		c := &shellCommand{argv: []string{"cmd"}, shown: []string{"cmd"}, logs: files}
		tails := startTails(files, func(string, error) {})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			newSupervisor(r, p, tails, c, time.Now()).run()
			tails.Close()
		}()
		appendTo(t, path, strings.Repeat(strings.Repeat("x", 99)+"\n", 20_000))
		p.end(exitStatus{}, true)
		time.Sleep(time.Minute)
		r.interrupt("enough")
		<-ended
		close(master.hold)
		_ = r.out.Drain()
		r.out.Close()
	})
}

func TestLogFilesOfCommand(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "old"), "before\n")
	master := shell(t, map[string]any{
		"command": "echo out; echo one > log; echo after >> old; echo abs > $PWD/sub", "workdir": dir,
		"logfiles": map[string]any{"a log": "log", "old": map[string]any{"filename": "old", "follow": true}, "abs": filepath.Join(dir, "sub")},
	})
	want := map[string][]string{"a log": {"one"}, "old": {"after"}, "abs": {"abs"}}
	if diff := cmp.Diff(want, master.logs); diff != "" {
		t.Error(diff)
	}
	if got := master.text(dormouse.Header); !strings.Contains(got, " watching log file a log: "+filepath.Join(dir, "log")+"\n") {
		t.Error(got)
	}
	if master.text(dormouse.Stdout) != "out\n" {
		t.Error(master.text(dormouse.Stdout))
	}
}
