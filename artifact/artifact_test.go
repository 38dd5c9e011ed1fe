package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var build7 = dormouse.Build{ID: 70, Builder: "a/../b c", Number: 7}

func open(t *testing.T) (*Store, string) {
	t.Helper()
	base := t.TempDir()
	s, err := Open(base, filepath.Join(base, "secrets"), filepath.Join(base, "state.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	return s, base
}

// files are all files below a directory, with their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = string(b)
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

func TestFile(t *testing.T) {
	s, base := open(t)
	u, err := s.Begin(build7)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	f, err := u.File("out/./app", 10, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, p := range []string{"hel", "lo"} {
		if err := f.Write(ctx, []byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(ctx); err != nil {
		t.Fatal(err)
	}
	stamp := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := f.SetTimes(ctx, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	if got := files(t, filepath.Join(base, "artifacts", "a%2F..%2Fb c")); len(got) > 0 {
		t.Errorf("there before it was published: %v", got)
	}
	list, err := u.Publish(3)
	if err != nil {
		t.Fatal(err)
	}
	u.Discard()
	want := []dormouse.Artifact{{
		BuildID: 70, StepID: 3, Path: "out/app", Bytes: 5,
		SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", CreatedAt: list[0].CreatedAt,
	}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("artifacts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"a%2F..%2Fb c/7/out/app": "hello"}, files(t, filepath.Join(base, "artifacts"))); diff != "" {
		t.Errorf("on disk (-want +got):\n%s", diff)
	}
	got, err := s.Open(build7, list[0])
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if fi, err := got.Stat(); err != nil || fi.Mode().Perm() != 0o755 || !fi.ModTime().Equal(stamp) {
		t.Errorf("mode %v, time %v, %v", fi.Mode(), fi.ModTime(), err)
	}
}

func TestFileRefused(t *testing.T) {
	s, base := open(t)
	u, err := s.Begin(build7)
	if err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{"", "..", "../x", "/etc/x", "a/../../x", `..\x`, "a\x00b"} {
		if _, err := u.File(dest, 0, 0); dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%q: %v", dest, err)
		}
	}
	f, err := u.File("big", 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(t.Context(), []byte("12345")); err == nil || !strings.Contains(err.Error(), "maxsize") {
		t.Errorf("too large: %v", err)
	}
	if _, err := u.File("big", 0, 0); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("twice: %v", err)
	}
	if _, err := u.Publish(1); err == nil || !strings.Contains(err.Error(), "to its end") {
		t.Errorf("a file that is not whole was published: %v", err)
	}
	u.Discard()
	u.Discard()
	if got := files(t, base); len(got) > 0 {
		t.Errorf("left on disk: %v", got)
	}
}

// What a master that was killed has left is gone when the next one opens.
func TestLeftUnfinished(t *testing.T) {
	s, base := open(t)
	u, err := s.Begin(build7)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	if _, err := u.File("half", 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(base); err != nil {
		t.Fatal(err)
	}
	if got := files(t, base); len(got) > 0 {
		t.Errorf("left on disk: %v", got)
	}
}

func TestRead(t *testing.T) {
	s, base := open(t)
	for name, text := range map[string]string{"ok": "fine", "secrets/key": "no", "state.sqlite": "no", "state.sqlite-wal": "no"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(base, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"out": "/etc/passwd", "in": "ok", "to secret": "secrets/key", "to secrets": "secrets"} {
		if err := os.Symlink(to, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(base, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]dormouse.Code{
		"ok": "", "./x/../ok": "", filepath.Join(base, "ok"): "", "in": "",
		"nosuch": dormouse.NotFound, "../ok": dormouse.Invalid, "/etc/passwd": dormouse.Invalid, "out": dormouse.Invalid,
		"secrets/key": dormouse.Invalid, "secrets": dormouse.Invalid, "state.sqlite": dormouse.Invalid, "state.sqlite-wal": dormouse.Invalid,
		"to secret": dormouse.Invalid, "to secrets/key": dormouse.Invalid, ".": dormouse.Invalid, "fifo": dormouse.Invalid, "": dormouse.Invalid,
	} {
		f, err := s.Read(name)
		if dormouse.CodeOf(err) != want {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
		if err == nil {
			if b, err := io.ReadAll(f); string(b) != "fine" {
				t.Errorf("%q: %q, %v", name, b, err)
			}
			f.Close()
		}
	}
}

func archive(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "content of " + h.Name
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// receive uploads an archive in small blocks.
func receive(u *Upload, dest, compress string, limit int64, data []byte) error {
	d, err := u.Directory(dest, compress, limit)
	if err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), 100)
		if err := d.Write(nil, data[:n]); err != nil { //nolint:staticcheck // its context is not looked at
			return err
		}
		data = data[n:]
	}
	return d.Unpack(nil) //nolint:staticcheck // the same
}

func TestDirectory(t *testing.T) {
	data := archive(t,
		tar.Header{Name: ".", Typeflag: tar.TypeDir},
		tar.Header{Name: "index.html", Typeflag: tar.TypeReg, Mode: 0o4755},
		tar.Header{Name: "./sub/", Typeflag: tar.TypeDir},
		tar.Header{Name: "sub/caf\xe9 ☃\n", Typeflag: tar.TypeReg},
		tar.Header{Name: "links/only", Typeflag: tar.TypeSymlink, Linkname: "../index.html"},
		tar.Header{Name: "sub/latest", Typeflag: tar.TypeSymlink, Linkname: "../again"},
		tar.Header{Name: "again", Typeflag: tar.TypeSymlink, Linkname: "index.html"},
		tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "index.html"},
		tar.Header{Name: "folder", Typeflag: tar.TypeSymlink, Linkname: "sub"},
		tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "loop"},
	)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for compress, data := range map[string][]byte{"": data, "gz": packed.Bytes()} {
		for _, dest := range []string{"docs", "."} {
			s, base := open(t)
			u, err := s.Begin(build7)
			if err != nil {
				t.Fatal(err)
			}
			if err := receive(u, dest, compress, 1000, data); err != nil {
				t.Fatal(err)
			}
			list, err := u.Publish(1)
			u.Discard()
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				"index.html": "content of index.html", "again": "content of index.html", "hard": "content of index.html",
				"links/only": "content of index.html", "sub/latest": "content of index.html", "sub/caf%E9 ☃%0A": "content of sub/caf\xe9 ☃\n",
			}
			if diff := cmp.Diff(want, files(t, filepath.Join(base, "artifacts", "a%2F..%2Fb c", "7", dest))); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", compress, dest, diff)
			}
			if len(list) != len(want) || len(u.LeftOut) != 2 {
				t.Errorf("%d artifacts, left out: %q", len(list), u.LeftOut)
			}
		}
	}
}

func TestHostileArchives(t *testing.T) {
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	for name, c := range map[string]struct {
		data     []byte
		compress string
		limit    int64
		want     string
	}{
		"parent":        {data: archive(t, reg("../x")), want: "leaves its directory"},
		"hidden parent": {data: archive(t, reg("a/../../x")), want: "leaves its directory"},
		"absolute":      {data: archive(t, reg("/etc/x")), want: "leaves its directory"},
		"twice":         {data: archive(t, reg("x"), reg("./x")), want: "twice"},
		"link out":      {data: archive(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../secrets"}), want: "out of its directory"},
		"link absolute": {data: archive(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), want: "out of its directory"},
		"hard link out": {data: archive(t, tar.Header{Name: "a/l", Typeflag: tar.TypeLink, Linkname: "../x"}), want: "out of its directory"},
		"through a link": {
			data: archive(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, reg("l/x")), want: "out of its directory",
		},
		"file as directory": {data: archive(t, reg("f"), reg("f/x")), want: "a directory for"},
		"device":            {data: archive(t, tar.Header{Name: "d", Typeflag: tar.TypeChar}), want: "neither a file"},
		"fifo":              {data: archive(t, tar.Header{Name: "d", Typeflag: tar.TypeFifo}), want: "neither a file"},
		"long name":         {data: archive(t, reg(strings.Repeat("n", 5000))), want: "cannot be written"},
		"too much":          {data: archive(t, reg("a"), reg("b")), limit: 20, want: "maxsize"},
		"no archive":        {data: []byte(strings.Repeat("garbage ", 200)), want: "cannot be read"},
		"no gzip":           {data: []byte("garbage"), compress: "gz", want: "no gzip"},
		"cut off":           {data: archive(t, reg("a"))[:600], want: ""},
		"cut in a header":   {data: archive(t, reg("a"))[:300], want: "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			s, base := open(t)
			u, err := s.Begin(build7)
			if err != nil {
				t.Fatal(err)
			}
			err = receive(u, "d", c.compress, c.limit, c.data)
			if err == nil {
				_, err = u.Publish(1)
			}
			u.Discard()
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			got := files(t, base)
			if c.want != "" && len(got) > 0 {
				t.Errorf("left on disk: %v", got)
			}
		})
	}
}

// An archive is unpacked below its own directory, or refused, whatever is in it.
func FuzzDirectory(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a/b"}))
	f.Add(archive(f, tar.Header{Name: "../b", Typeflag: tar.TypeReg}))
	base := f.TempDir()
	s, err := Open(base)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := s.Begin(build7)
		if err != nil {
			t.Fatal(err)
		}
		if receive(u, "d", "", 1<<20, data) == nil {
			list, err := u.Publish(1)
			if err == nil {
				for _, a := range list {
					g, err := s.Open(build7, a)
					if err != nil {
						t.Fatalf("%q was published: %v", a.Path, err)
					}
					g.Close()
				}
			}
		}
		u.Discard()
		entries, err := os.ReadDir(base)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
		if err := os.RemoveAll(filepath.Join(base, "artifacts")); err != nil {
			t.Fatal(err)
		}
	})
}

// A worker that says that all went well before it has sent all is not believed.
func TestDirectoryNotEnded(t *testing.T) {
	s, base := open(t)
	u, err := s.Begin(build7)
	if err != nil {
		t.Fatal(err)
	}
	d, err := u.Directory("d", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write(t.Context(), archive(t, tar.Header{Name: "a", Typeflag: tar.TypeReg})[:1024]); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Publish(1); err == nil || !strings.Contains(err.Error(), "to its end") {
		t.Errorf("published: %v", err)
	}
	u.Discard()
	if got := files(t, base); len(got) > 0 {
		t.Errorf("left on disk: %v", got)
	}
}
