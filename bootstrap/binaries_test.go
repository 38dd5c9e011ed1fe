package bootstrap_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
)

// programs makes a directory of programs, and finds them.
func programs(t *testing.T, files map[string]string) (*bootstrap.Binaries, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := bootstrap.FindBinaries(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, dir
}

func sha(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func TestFindBinaries(t *testing.T) {
	b, _ := programs(t, map[string]string{
		"dormouse-linux-s390x": "one", "dormouse-plan9-386": "two",
		"dormouse-linux-arm64.old": "x", "dormouse": "x", "README": "x", "xdormouse-linux-mips": "x",
	})
	own := runtime.GOOS + "-" + runtime.GOARCH
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"linux-s390x": sha("one"), "plan9-386": sha("two"), own: sha(string(text))}
	if diff := cmp.Diff(want, b.Checksums()); diff != "" {
		t.Error(diff)
	}

	b, _ = programs(t, map[string]string{"dormouse-" + own: "another"})
	if diff := cmp.Diff(map[string]string{own: sha("another")}, b.Checksums()); diff != "" {
		t.Errorf("a file in the directory goes first: %s", diff)
	}
	b, err = bootstrap.FindBinaries(filepath.Join(t.TempDir(), "absent"))
	if err != nil || len(b.Checksums()) != 1 {
		t.Fatalf("%v", err)
	}
	b.Close()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "dormouse-linux-mips"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bootstrap.FindBinaries(dir); dormouse.CodeOf(err) != dormouse.Configuration || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("an empty program: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "dormouse-linux-mips")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dormouse-linux-mips"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := bootstrap.FindBinaries(dir); dormouse.CodeOf(err) != dormouse.Configuration {
		t.Errorf("a directory in place of a program: %v", err)
	}
}

func TestServe(t *testing.T) {
	const text = "0123456789"
	b, dir := programs(t, map[string]string{"dormouse-linux-s390x": text, "secret": "hunter2"})
	// What is served is what was measured.
	if err := os.Rename(filepath.Join(dir, "secret"), filepath.Join(dir, "dormouse-linux-s390x")); err != nil {
		t.Fatal(err)
	}
	tag := `"` + sha(text) + `"`
	for _, tt := range []struct {
		method, path string
		header       http.Header
		status       int
		body         string
		want         http.Header
	}{
		{"GET", "/worker/linux-s390x", nil, 200, text, http.Header{"Etag": {tag}, "Content-Length": {"10"}, "Content-Type": {"application/octet-stream"}}},
		{"HEAD", "/worker/linux-s390x", nil, 200, "", http.Header{"Etag": {tag}, "Content-Length": {"10"}}},
		{"GET", "/worker/linux-s390x", http.Header{"Range": {"bytes=7-"}}, 206, "789", http.Header{"Content-Range": {"bytes 7-9/10"}}},
		{"GET", "/worker/linux-s390x", http.Header{"Range": {"bytes=7-"}, "If-Range": {`"other"`}}, 200, text, nil},
		{"GET", "/worker/linux-s390x", http.Header{"If-None-Match": {tag}}, 304, "", nil},
		{"POST", "/worker/linux-s390x", nil, 405, "programs are only fetched\n", http.Header{"Allow": {"GET, HEAD"}}},
		{"GET", "/worker/secret", nil, 404, "no such program; there are " + platforms(b) + "\n", nil},
		{"GET", "/worker/", nil, 404, "no such program; there are " + platforms(b) + "\n", nil},
		{"GET", "/worker/../secret", nil, 404, "no such program; there are " + platforms(b) + "\n", nil},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		maps.Copy(r.Header, tt.header)
		rec := httptest.NewRecorder()
		b.ServeHTTP(rec, r)
		if rec.Code != tt.status || rec.Body.String() != tt.body {
			t.Errorf("%s %s %v: %d %q", tt.method, tt.path, tt.header, rec.Code, rec.Body)
		}
		for name, want := range tt.want {
			if diff := cmp.Diff(want, rec.Result().Header[name]); diff != "" {
				t.Errorf("%s %s %v: %s %s", tt.method, tt.path, tt.header, name, diff)
			}
		}
	}
}

func platforms(b *bootstrap.Binaries) string {
	names := make([]string, 0, 2)
	for name := range b.Checksums() {
		names = append(names, name)
	}
	if len(names) == 2 && names[0] > names[1] {
		names[0], names[1] = names[1], names[0]
	}
	return strings.Join(names, ", ")
}

func BenchmarkServe(b *testing.B) {
	programs, err := bootstrap.FindBinaries(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer programs.Close()
	server := httptest.NewServer(programs)
	defer server.Close()
	for b.Loop() {
		resp, err := server.Client().Get(server.URL + bootstrap.Prefix + runtime.GOOS + "-" + runtime.GOARCH)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
