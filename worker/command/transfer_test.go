package command

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// moveIn runs a command that moves files to its end, on a worker whose directory
// is base.
func moveIn(t *testing.T, base, name string, args map[string]any, prepare func(*fakeConn, *running)) (master *fakeConn, failure string) {
	t.Helper()
	c, err := parseCommand(name, args)
	if err != nil {
		t.Fatal(err)
	}
	master = newFakeConn()
	r := newRunning(t.Context(), master, testPath)
	r.base = base
	if prepare != nil {
		prepare(master, r)
	}
	defer r.out.Close()
	failure = r.do(c)
	return master, failure
}

// write makes a file, and what it needs to be in.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUploadFile(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("0123456789", 10)
	path := write(t, filepath.Join(dir, "file"), text)
	accessed, modified := time.Unix(1000, 5000), time.Unix(2000, 6000)
	if err := os.Chtimes(path, accessed, modified); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		path   string
		args   map[string]any
		blocks []int
		rc     int
		stderr string
		closed bool
	}{
		{name: "default block", blocks: []int{100}, closed: true},
		{name: "blocks", args: map[string]any{"blocksize": int64(40), "maxsize": nil}, blocks: []int{40, 40, 20}, closed: true},
		{name: "whole blocks", args: map[string]any{"blocksize": int64(50)}, blocks: []int{50, 50}, closed: true},
		{name: "just within", args: map[string]any{"blocksize": int64(30), "maxsize": int64(100)}, blocks: []int{30, 30, 30, 10}, closed: true},
		{
			name: "over", args: map[string]any{"blocksize": int64(40), "maxsize": int64(99)}, blocks: []int{40, 40, 19}, rc: 1, closed: true,
			stderr: path + " has more than the 99 bytes that maxsize allows: the rest is cut off\n",
		},
		{
			name: "over at a block's end", args: map[string]any{"blocksize": int64(40), "maxsize": int64(80)}, blocks: []int{40, 40}, rc: 1, closed: true,
			stderr: path + " has more than the 80 bytes that maxsize allows: the rest is cut off\n",
		},
		{name: "nothing allowed", args: map[string]any{"maxsize": int64(0)}, rc: 1, closed: true, stderr: path + " has more than the 0 bytes that maxsize allows: the rest is cut off\n"},
		{name: "missing", path: path + "?", rc: 1, stderr: "cannot open for upload " + path + "?: no such file or directory\n"},
		{name: "directory", path: dir, rc: 1, stderr: "cannot open for upload " + dir + ": is a directory\n"},
		{name: "pipe", path: fifo, rc: 1, stderr: "cannot open for upload " + fifo + ": it is not a regular file\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := map[string]any{"path": path}
			if tt.path != "" {
				args["path"] = tt.path
			}
			for k, v := range tt.args {
				args[k] = v
			}
			master, failure := moveIn(t, dir, "upload_file", args, nil)
			if failure != "" {
				t.Error(failure)
			}
			if diff := cmp.Diff(tt.blocks, master.blocks); diff != "" {
				t.Error("blocks:", diff)
			}
			if got := master.got.String(); !strings.HasPrefix(text, got) {
				t.Errorf("got %q", got)
			}
			if master.pairs["rc"] != tt.rc || master.closed != tt.closed {
				t.Errorf("rc %v, closed %t", master.pairs["rc"], master.closed)
			}
			if got := master.text(dormouse.Stderr); got != tt.stderr {
				t.Errorf("stderr %q", got)
			}
			if got := master.text(dormouse.Header); got != "sending "+args["path"].(string)+"\n" {
				t.Errorf("header %q", got)
			}
			if !master.accessed.IsZero() {
				t.Error("times that nobody asked for")
			}
		})
	}

	master, failure := moveIn(t, dir, "upload_file", map[string]any{"path": path, "keepstamp": true}, func(*fakeConn, *running) {
		if err := os.Chtimes(path, accessed, modified); err != nil {
			t.Fatal(err)
		}
	})
	if failure != "" || !master.accessed.Equal(accessed) || !master.modified.Equal(modified) {
		t.Errorf("%s, %v, %v", failure, master.accessed, master.modified)
	}
	// The file is there all the same.
	master, failure = moveIn(t, dir, "upload_file", map[string]any{"path": path, "keepstamp": true}, func(m *fakeConn, _ *running) {
		m.refusal = &wire.RemoteError{Peer: "master", Op: "update_upload_file_utime", Text: "no"}
	})
	if failure != "" || master.pairs["rc"] != 0 || !strings.Contains(master.text(dormouse.Header), "did not keep its times: master refused") {
		t.Errorf("%s, %v, %s", failure, master.pairs, master.text(dormouse.Header))
	}
}

// What the master cannot take is an exception, not the file's fault.
func TestUploadRefused(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "file"), "x")
	refuse := func(m *fakeConn, _ *running) {
		m.onBlock = func(context.Context) error {
			return &wire.RemoteError{Peer: "master", Op: "update_upload_file_write", Text: "no space left on device"}
		}
	}
	master, failure := moveIn(t, dir, "upload_file", map[string]any{"path": path}, refuse)
	if !strings.Contains(failure, "no space left") || master.pairs["rc"] != 1 || master.closed {
		t.Errorf("%q, %v", failure, master.pairs)
	}
}

func TestUploadInterrupted(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "file"), strings.Repeat("x", 1000))
	for name, args := range map[string]map[string]any{
		"upload_file":      {"path": path, "blocksize": int64(10)},
		"upload_directory": {"path": dir, "blocksize": int64(10), "compress": "bz2"},
	} {
		master, failure := moveIn(t, dir, name, args, func(m *fakeConn, r *running) {
			m.onBlock = func(ctx context.Context) error {
				if len(m.blocks) < 3 {
					return nil
				}
				r.interrupt("enough")
				<-ctx.Done()
				return ctx.Err()
			}
		})
		if failure != "" || master.pairs["rc"] != 1 || master.closed || master.unpacked || len(master.blocks) != 3 {
			t.Errorf("%s: %q, %v, closed %t, %v", name, failure, master.pairs, master.closed, master.blocks)
		}
		if got := master.text(dormouse.Header); !strings.Contains(got, "command interrupted (enough)") || master.text(dormouse.Stderr) != "" {
			t.Errorf("%s: %s%s", name, got, master.text(dormouse.Stderr))
		}
	}
}

func TestTransferArguments(t *testing.T) {
	for _, tt := range []struct {
		name string
		args map[string]any
		want string
	}{
		{"upload_file", map[string]any{}, "path is missing"},
		{"upload_file", map[string]any{"path": "/x", "blocksize": int64(0)}, "blocksize is zero"},
		{"upload_file", map[string]any{"path": "/x", "blocksize": "1", "maxsize": int64(-1)}, "blocksize is not a number of bytes; argument maxsize is not"},
		{"upload_directory", map[string]any{"path": "/x", "compress": "zip"}, "compress is none of"},
		{"download_file", map[string]any{"path": "/x", "mode": int64(0o10000)}, "mode is not"},
		{"download_file", map[string]any{"path": "/x", "mode": "rw"}, "mode is not"},
		{"cpdir", map[string]any{"from_path": "/x", "timeout": "soon"}, "timeout is not a number of seconds; argument to_path is missing"},
		{"glob", map[string]any{"path": int64(1)}, "path is not a path"},
		{"rmfile", map[string]any{"path": "a\x00b"}, "path is not a path"},
	} {
		if _, err := parseCommand(tt.name, tt.args); dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: %v", tt.name, tt.args, err)
		}
	}
	// The names of the older protocol are known, too, and blocks are bounded.
	c, err := parseCommand("uploadFile", map[string]any{"path": "/x", "blocksize": int64(1 << 40), "maxsize": 1e300})
	if err != nil || c.(*transfer).block != maxBlock || c.(*transfer).maxSize != maxSize {
		t.Errorf("%+v, %v", c, err)
	}
}

// contents lists an archive.
func contents(t *testing.T, archive io.Reader) map[string]string {
	t.Helper()
	got := map[string]string{}
	for r := tar.NewReader(archive); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = fmt.Sprintf("%c %o %s%s", h.Typeflag, h.Mode, h.Linkname, text)
	}
}

func TestUploadDirectory(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	deep := strings.Repeat("a long name/", 30)
	write(t, filepath.Join(tree, "b/file"), "text")
	write(t, filepath.Join(tree, "b/\xff name"), "bytes")
	write(t, filepath.Join(tree, deep+"file"), strings.Repeat("x", 3000))
	write(t, filepath.Join(dir, "secret"), "hunter2")
	for link, to := range map[string]string{"out": "../secret", "up": "..", "nowhere": "\xfe"} {
		if err := os.Symlink(to, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(tree, "b/file"), 0o751|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(tree, "fifo"), 0o640); err != nil {
		t.Fatal(err)
	}
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	if err := syscall.Bind(socket, &syscall.SockaddrUnix{Name: filepath.Join(tree, "socket")}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"./": "5 755 ", "b/": "5 755 ", "b/file": "0 4751 text", "b/\xff name": "0 644 bytes",
		"out": "2 777 ../secret", "up": "2 777 ..", "nowhere": "2 777 \xfe", "fifo": "6 640 ",
		deep + "file": "0 644 " + strings.Repeat("x", 3000),
	}
	for i := range 30 {
		want[strings.Repeat("a long name/", i+1)] = "5 755 "
	}
	kinds := []any{nil, "gz"}
	if _, err := findExecutable("bzip2", "/", []string{testPath}); err == nil || os.Getenv("CI") == "true" {
		kinds = append(kinds, "bz2")
	} else {
		t.Log("bz2 is not tried: install Debian's bzip2")
	}
	for _, compress := range kinds {
		master, failure := moveIn(t, dir, "upload_directory", map[string]any{"path": tree, "blocksize": int64(100), "compress": compress, "maxsize": nil}, nil)
		if failure != "" || master.pairs["rc"] != 0 || !master.unpacked {
			t.Fatalf("%v: %q, %v, %s", compress, failure, master.pairs, master.text(dormouse.Stderr))
		}
		if n := slices.Max(master.blocks); n != 100 {
			t.Errorf("a block of %d bytes", n)
		}
		var archive io.Reader = &master.got
		switch compress {
		case "gz":
			if archive, err = gzip.NewReader(archive); err != nil {
				t.Fatal(err)
			}
		case "bz2":
			archive = bzip2.NewReader(archive)
		}
		if diff := cmp.Diff(want, contents(t, archive)); diff != "" {
			t.Errorf("%v: %s", compress, diff)
		}
	}
}

func TestUploadDirectoryFails(t *testing.T) {
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "tree/file"), strings.Repeat("x", 10_000))
	tree := filepath.Dir(path)
	for _, tt := range []struct {
		name    string
		args    map[string]any
		environ string
		want    string
	}{
		{"missing", map[string]any{"path": tree + "?"}, "", "cannot open for upload " + tree + "?: no such file or directory\n"},
		{"file", map[string]any{"path": path}, "", "cannot open for upload " + path + ": not a directory\n"},
		{"too large", map[string]any{"path": tree, "maxsize": int64(5000)}, "", tree + " has more than the 5000 bytes that maxsize allows: the archive is not unpacked\n"},
		{"no bzip2", map[string]any{"path": tree, "compress": "bz2"}, "PATH=/nowhere", "compress is bz2, and this machine has no bzip2 (bzip2: command not found in PATH=/nowhere): install it, or use gz\n"},
	} {
		master, failure := moveIn(t, dir, "upload_directory", tt.args, func(_ *fakeConn, r *running) {
			if tt.environ != "" {
				r.environ = []string{tt.environ}
			}
		})
		if failure != "" || master.pairs["rc"] != 1 || master.unpacked || master.text(dormouse.Stderr) != tt.want {
			t.Errorf("%s: %q, %v, unpacked %t, %s", tt.name, failure, master.pairs, master.unpacked, master.text(dormouse.Stderr))
		}
	}
	// A file is cut while it is read.
	write(t, path, strings.Repeat("x", 1_000_000))
	master, _ := moveIn(t, dir, "upload_directory", map[string]any{"path": tree, "blocksize": int64(512)}, func(m *fakeConn, _ *running) {
		m.onBlock = func(context.Context) error {
			if len(m.blocks) < 4 { // within the file
				return nil
			}
			return os.Truncate(path, 1)
		}
	})
	if got := master.text(dormouse.Stderr); master.unpacked || !strings.HasPrefix(got, "cannot send "+path+": it had 1000000 bytes, and was cut to ") {
		t.Errorf("stderr %q, unpacked %t", got, master.unpacked)
	}
}

// left lists what is in a directory and below.
func left(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case e.IsDir():
			got[rel] = "directory"
		case e.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			got[rel] = "-> " + to
			return err
		default:
			text, err := os.ReadFile(path)
			got[rel] = string(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDownloadFile(t *testing.T) {
	text := strings.Repeat("0123456789", 10)
	base := t.TempDir()
	old := write(t, filepath.Join(base, "b/old"), "old")
	if err := os.Chmod(old, 0o751); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("old", filepath.Join(base, "b/link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "b"), filepath.Join(base, "absolute")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		path   string
		args   map[string]any
		blocks []int
		mode   os.FileMode // 0: the default
		also   string      // what it is after
	}{
		{name: "new", path: "a/b/new", blocks: []int{100, 0}},
		{name: "blocks", path: "new", args: map[string]any{"blocksize": int64(40), "maxsize": nil, "mode": nil}, blocks: []int{40, 40, 20, 0}},
		{name: "just within", path: "within", args: map[string]any{"blocksize": int64(40), "maxsize": int64(100)}, blocks: []int{40, 40, 20, 0}},
		{name: "mode", path: "mode", args: map[string]any{"mode": int64(0o2710)}, blocks: []int{100, 0}, mode: 0o710 | os.ModeSetgid},
		{name: "no permissions", path: "none", args: map[string]any{"mode": int64(0)}, blocks: []int{100, 0}, mode: os.ModeDevice}, // none
		{name: "over another", path: "b/old", blocks: []int{100, 0}, mode: 0o751},
		{name: "over a link", path: "b/link", blocks: []int{100, 0}},
		{name: "through a link that stays inside", path: "absolute/inside", blocks: []int{100, 0}, also: "b/inside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(base, tt.path)
			args := map[string]any{"path": path}
			for k, v := range tt.args {
				args[k] = v
			}
			master, failure := moveIn(t, base, "download_file", args, func(m *fakeConn, _ *running) { m.from = strings.NewReader(text) })
			if failure != "" || master.pairs["rc"] != 0 || !master.finished {
				t.Fatalf("%q, %v, %s", failure, master.pairs, master.text(dormouse.Stderr))
			}
			if diff := cmp.Diff(tt.blocks, master.blocks); diff != "" {
				t.Error("blocks:", diff)
			}
			fi, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.mode
			if want == 0 {
				want = 0o644 // the machine's umask is 022
			}
			if got := fi.Mode(); got != want&^os.ModeDevice {
				t.Errorf("mode %v, want %v", got, want)
			}
			if tt.also != "" {
				path = filepath.Join(base, tt.also)
			}
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != text {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for name := range left(t, base) {
		if strings.Contains(name, temporaryPrefix) {
			t.Errorf("%s is left", name)
		}
	}
}

// Whatever goes wrong, there is nothing that looks whole, and what was there is
// there still.
func TestDownloadFails(t *testing.T) {
	outside := t.TempDir()
	base := filepath.Join(outside, "base")
	write(t, filepath.Join(base, "old"), "old")
	write(t, filepath.Join(base, "dir/file"), "file")
	for link, to := range map[string]string{
		"away": "../..", "etc": "/etc", "dangling": "../nothing", "dir/loop": "loop",
		// The last of a chain leads out.
		"one": "two", "two": "dir/../../",
	} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	before := left(t, outside)
	text := strings.Repeat("0123456789", 10)
	in := func(rel string) string { return base + "/" + rel }
	for _, tt := range []struct {
		name    string
		path    string
		args    map[string]any
		prepare func(*fakeConn, *running)
		stderr  string
		failure string
	}{
		{name: "outside", path: filepath.Join(outside, "new"), stderr: "it is not in the worker's base directory " + base},
		{name: "up", path: in("dir/../../new"), stderr: "cannot open for download " + in("dir/../../new") + ": it is not in the worker's base directory"},
		{name: "beside", path: base + "-other/new", stderr: "it is not in the worker's base directory"},
		{name: "the root", path: "/", stderr: "it is not in the worker's"},
		{name: "itself", path: base, stderr: "it is not in the worker's base directory"},
		{name: "relative link", path: in("away/new"), stderr: "a symbolic link on the way leads to "},
		{name: "absolute link", path: in("etc/new"), stderr: "a symbolic link on the way leads to /etc, out of the worker's base directory"},
		{name: "below a link", path: in("etc/a/b/new"), stderr: "a symbolic link on the way leads to /etc/a/b, out of"},
		{name: "chain", path: in("one/new"), stderr: "a symbolic link on the way leads to "},
		{name: "dangling link", path: in("dangling/new"), stderr: "the symbolic link " + in("dangling") + " leads nowhere"},
		{name: "loop", path: in("dir/loop/new"), stderr: "cannot open for download " + in("dir/loop/new") + ": "},
		{name: "directory", path: in("dir"), stderr: "is a directory"},
		{name: "below a file", path: in("old/new"), stderr: in("old") + " is not a directory"},
		{name: "long name", path: in(strings.Repeat("x", 300)), stderr: "file name too long"},
		{name: "too large", path: in("old"), args: map[string]any{"maxsize": int64(99)}, stderr: in("old") + " has more than the 99 bytes that maxsize allows: nothing of it is kept"},
		{name: "interrupted", path: in("old"), prepare: func(m *fakeConn, r *running) {
			m.onBlock = func(ctx context.Context) error {
				if len(m.blocks) == 2 {
					r.interrupt("enough")
					<-ctx.Done()
				}
				return nil
			}
		}},
		{name: "connection lost", path: in("old"), prepare: func(m *fakeConn, r *running) {
			m.onBlock = func(ctx context.Context) error {
				if len(m.blocks) == 2 {
					r.cancel()
					return wire.ErrConnectionLost
				}
				return nil
			}
		}},
		{name: "refused", path: in("old"), failure: "unknown command_id", prepare: func(m *fakeConn, _ *running) {
			m.onBlock = func(context.Context) error {
				return &wire.RemoteError{Peer: "master", Op: "update_read_file", Text: "unknown command_id"}
			}
		}, stderr: "master refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := map[string]any{"path": tt.path, "blocksize": int64(10)}
			for k, v := range tt.args {
				args[k] = v
			}
			var lost bool
			master, failure := moveIn(t, base, "download_file", args, func(m *fakeConn, r *running) {
				m.from = strings.NewReader(text)
				r.cancel = func() {}
				if tt.name == "connection lost" {
					r.ctx, r.cancel = context.WithCancel(r.ctx)
					lost = true
				}
				if tt.prepare != nil {
					tt.prepare(m, r)
				}
			})
			if !strings.Contains(failure, tt.failure) || tt.failure == "" && failure != "" {
				t.Errorf("failure %q", failure)
			}
			if !lost && (master.pairs["rc"] != 1 || !master.finished) {
				t.Errorf("%v, closed %t", master.pairs, master.finished)
			}
			if got := master.text(dormouse.Stderr); !lost && (!strings.Contains(got, tt.stderr) || tt.stderr == "" && got != "") {
				t.Errorf("stderr %q", got)
			}
			if diff := cmp.Diff(before, left(t, outside)); diff != "" {
				t.Error("left:", diff)
			}
		})
	}
}

// A link that is planted after the way was looked at does not lead out either.
func TestDownloadRacesWithLink(t *testing.T) {
	outside := t.TempDir()
	base := filepath.Join(outside, "base")
	write(t, filepath.Join(base, "dir/file"), "file")
	dir, name, err := openInside(base, filepath.Join(base, "dir/new"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := os.Rename(filepath.Join(base, "dir"), filepath.Join(base, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(base, "dir")); err != nil {
		t.Fatal(err)
	}
	f, err := dir.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := os.Stat(filepath.Join(base, "moved/new")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "new")); err == nil {
		t.Error("written outside")
	}
}

func FuzzDownloadPath(f *testing.F) {
	for _, path := range []string{"a", "../a", "b/../../a", "/", "", ".", "link/a", "link/../a", "a//b/./c", strings.Repeat("../", 50) + "a"} {
		f.Add(path)
	}
	top := f.TempDir()
	outside := filepath.Join(top, "outside")
	base := filepath.Join(outside, "base")
	if err := os.MkdirAll(base, 0o755); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(base, "link")); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if strings.ContainsRune(path, 0) || len(path) > 1000 {
			return
		}
		dir, name, err := openInside(base, base+"/"+path)
		if err != nil {
			return
		}
		defer dir.Close()
		if file, err := dir.Create(name); err == nil {
			file.Close()
		}
		if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
			t.Fatalf("%q: written outside: %v, %v", path, entries, err)
		}
	})
}

// A master cannot make the agent hold more than a block.
func TestDownloadBlocksAreBounded(t *testing.T) {
	base := t.TempDir()
	big := bytes.Repeat([]byte("x"), 3<<20)
	master, _ := moveIn(t, base, "download_file", map[string]any{"path": filepath.Join(base, "big"), "blocksize": int64(1 << 30)}, func(m *fakeConn, _ *running) { m.from = bytes.NewReader(big) })
	if diff := cmp.Diff([]int{maxBlock, maxBlock, maxBlock, 0}, master.blocks); diff != "" {
		t.Error(diff)
	}
}
