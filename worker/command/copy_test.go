package command

import (
	"context"
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

func TestCopyDirectory(t *testing.T) {
	outside := t.TempDir()
	base := filepath.Join(outside, "base")
	from, to := filepath.Join(base, "from"), filepath.Join(base, "a/to")
	write(t, filepath.Join(from, "b/file"), "text")
	write(t, filepath.Join(from, "large"), strings.Repeat("x", copyStep+1))
	write(t, filepath.Join(from, "\xff"), "bytes")
	write(t, filepath.Join(outside, "secret"), "hunter2")
	for link, to := range map[string]string{"up": "../..", "absolute": outside, "nowhere": "nothing"} {
		if err := os.Symlink(to, filepath.Join(from, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(from, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1_000_000, 5000)
	for path, mode := range map[string]os.FileMode{"b/file": 0o751 | os.ModeSetuid, "b": 0o550} {
		path = filepath.Join(from, path)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	want := left(t, filepath.Join(from, "b"))
	args := map[string]any{"from_path": from, "to_path": to, "timeout": int64(120), "maxTime": nil, "logEnviron": false}
	for i := range 2 { // what is there already is written over
		master, failure := moveIn(t, base, "cpdir", args, nil)
		if failure != "" || master.pairs["rc"] != 0 {
			t.Fatalf("%q, %v, %s", failure, master.pairs, master.text(dormouse.Stderr))
		}
		if got := master.text(dormouse.Header); got != "copying "+from+" to "+to+" (timeout 120 secs)\nnot copied, as it is neither a file, a directory nor a link: "+from+"/fifo\n" {
			t.Errorf("header %q", got)
		}
		if diff := cmp.Diff(want, left(t, filepath.Join(to, "b"))); diff != "" {
			t.Error(diff)
		}
		for _, link := range []string{"up", "absolute", "nowhere"} {
			is, err := os.Readlink(filepath.Join(to, link))
			was, _ := os.Readlink(filepath.Join(from, link))
			if err != nil || is != was {
				t.Errorf("link %s: %q, %v", link, is, err)
			}
		}
		for _, path := range []string{"b", "b/file"} {
			was, _ := os.Lstat(filepath.Join(from, path))
			is, err := os.Lstat(filepath.Join(to, path))
			if err != nil || is.Mode() != was.Mode() || !is.ModTime().Equal(old) {
				t.Errorf("round %d, %s: %v %v, %v", i, path, is.Mode(), is.ModTime(), err)
			}
		}
		if fi, err := os.Stat(filepath.Join(to, "large")); err != nil || fi.Size() != copyStep+1 {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(to, "\xff")); err != nil {
			t.Error(err)
		}
	}
	// A single file, and a link, are copied as well.
	for _, name := range []string{"large", "up"} {
		master, _ := moveIn(t, base, "cpdir", map[string]any{"from_path": filepath.Join(from, name), "to_path": filepath.Join(base, "single", name)}, nil)
		if master.pairs["rc"] != 0 {
			t.Error(master.text(dormouse.Stderr))
		}
	}
	if got, err := os.Readlink(filepath.Join(base, "single/up")); err != nil || got != "../.." {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCopyDirectoryFails(t *testing.T) {
	outside := t.TempDir()
	base := filepath.Join(outside, "base")
	from := filepath.Join(base, "from")
	write(t, filepath.Join(from, "dir/file"), "text")
	write(t, filepath.Join(from, "file"), "text")
	write(t, filepath.Join(base, "clash/file/x"), "a directory where a file is to be")
	write(t, filepath.Join(base, "other/dir"), "a file where a directory is to be")
	write(t, filepath.Join(base, "planted/keep"), "")
	for link, to := range map[string]string{"away": outside, "planted/dir": outside} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, from, to, want string }{
		{"missing", base + "/nothing", base + "/to", "cannot copy " + base + "/nothing: no such file or directory"},
		{"outside", from, outside + "/to", "cannot copy to " + outside + "/to: it is not in the worker's base directory " + base},
		{"link", from, base + "/away/to", "a symbolic link on the way leads to "},
		{"itself", from, from, "it is the directory that is copied, or in it"},
		{"into itself", from, from + "/dir/to", "it is the directory that is copied, or in it"},
		{"a directory in the way", from, base + "/clash", "cannot copy to " + base + "/clash/file: is a directory"},
		{"a file in the way", from, base + "/other", "cannot copy to " + base + "/other/dir: not a directory"},
		{"a link in the way", from, base + "/planted", "cannot copy to " + base + "/planted/dir: not a directory"},
	} {
		master, failure := moveIn(t, base, "cpdir", map[string]any{"from_path": tt.from, "to_path": tt.to}, nil)
		if got := master.text(dormouse.Stderr); failure != "" || master.pairs["rc"] != 1 || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, %v, %s", tt.name, failure, master.pairs, got)
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("written outside: %v, %v", entries, err)
	}
}

// Work that makes no progress, or goes on for too long, is ended.
func TestWorkLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits limits
		every  time.Duration // of progress
		after  time.Duration
		reason string
	}{
		{"no progress", limits{timeout: 10 * time.Second}, time.Hour, 10 * time.Second, failedSilent},
		{"some progress", limits{timeout: 10 * time.Second, maxTime: time.Minute}, 9 * time.Second, time.Minute, failedTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				master := newFakeConn()
				r := newRunning(t.Context(), master)
				defer r.out.Close()
				begin := time.Now()
				stop := r.work(tt.limits, func(ctx context.Context, progress func()) {
					for ctx.Err() == nil {
						select {
						case <-time.After(tt.every):
							progress()
						case <-ctx.Done():
						}
					}
				})
				if stop == nil || stop.reason != tt.reason || time.Since(begin) != tt.after {
					t.Errorf("%v after %v", stop, time.Since(begin))
				}
			})
		})
	}
}

func TestCopyInterrupted(t *testing.T) {
	base := t.TempDir()
	from := filepath.Dir(write(t, filepath.Join(base, "from/file"), "text"))
	master, failure := moveIn(t, base, "cpdir", map[string]any{"from_path": from, "to_path": base + "/to", "timeout": nil}, func(_ *fakeConn, r *running) {
		ctx, cancel := context.WithCancelCause(r.ctx)
		cancel(&stopped{said: "stopped before it began"})
		r.ctx = ctx
	})
	if failure != "" {
		t.Error(failure)
	}
	if _, err := os.Stat(base + "/to/file"); err == nil {
		t.Errorf("went on: %v", master.pairs)
	}
}

func TestRemoveFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "file"), "")
	if err := os.Symlink(path, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		rc   int
		said string
	}{
		{filepath.Join(dir, "link"), 0, ""},
		{path, 0, ""},
		{path, int(syscall.ENOENT), "rmfile: no such file or directory: " + path + "\n"},
		{empty, int(syscall.EISDIR), "rmfile: is a directory: " + empty + "\n"},
	} {
		master := file(t, "rmfile", map[string]any{"path": tt.path})
		if master.pairs["rc"] != tt.rc || master.text(dormouse.Header) != tt.said {
			t.Errorf("%s: %v, %s", tt.path, master.pairs, master.text(dormouse.Header))
		}
	}
}
