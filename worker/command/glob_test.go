package command

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// globTree makes a tree to find things in.
func globTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"a.txt", "b.txt", "c.md", ".hidden", "a-b", "[x]", "ä", "é.txt", "^", "!", "]", "-", `back\slash`,
		"d/a.txt", "d/e/a.txt", "d/e/f/b.txt", "d/.h/a.txt", ".h/a.txt", "g/a.txt", "star*", "aab", "aaab", "d/d/d/a.txt",
	} {
		write(t, filepath.Join(dir, name), "")
	}
	for link, to := range map[string]string{"linked": "d/e", "nowhere": "nothing", "tolink": "a.txt"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func find(t *testing.T, pattern string) []string {
	t.Helper()
	_, files, err := globFiles(t.Context(), pattern)
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, f := range files.([]any) {
		found = append(found, f.(string))
	}
	return found
}

func TestGlob(t *testing.T) {
	dir := globTree(t)
	for _, tt := range []struct {
		pattern string
		want    []string
	}{
		{"*.txt", []string{"a.txt", "b.txt", "é.txt"}},
		{"?", []string{"!", "-", "]", "^", "d", "g", "ä"}},
		{"[[]x]", []string{"[x]"}},
		{"*/a.txt", []string{"d/a.txt", "g/a.txt", "linked/a.txt"}},
		{"d/**/a.txt", []string{"d/a.txt", "d/d/d/a.txt", "d/e/a.txt"}},
		{"nothing", nil},
		{"nowhere", []string{"nowhere"}},
		{".h*", []string{".h", ".hidden"}},
		{"d/e/**", []string{"d/e/", "d/e/a.txt", "d/e/f", "d/e/f/b.txt"}},
		{"g/", []string{"g/"}},
		{"a.txt/", nil},
	} {
		want := []string{}
		for _, name := range tt.want {
			want = append(want, dir+"/"+name)
		}
		if diff := cmp.Diff(want, find(t, dir+"/"+tt.pattern)); diff != "" {
			t.Errorf("%s: %s", tt.pattern, diff)
		}
	}
	// What there is nothing of is no failure, and neither is a pattern alone.
	master := file(t, "glob", map[string]any{"path": dir + "/no*"})
	if diff := cmp.Diff([]any{dir + "/nowhere"}, master.pairs["files"]); diff != "" || master.pairs["rc"] != 0 {
		t.Error(diff)
	}
	if got := file(t, "glob", map[string]any{"path": dir + "/none*"}).pairs; got["files"] == nil || got["rc"] != 0 {
		t.Errorf("%v", got)
	}
}

// Names in any bytes are found, and told as nearly as possible.
func TestGlobBytes(t *testing.T) {
	dir := t.TempDir()
	touch(t, filepath.Join(dir, "a\xff"))
	if got := find(t, dir+"/a?"); !slices.Equal(got, []string{dir + "/a\uFFFD"}) {
		t.Errorf("%q", got)
	}
}

func TestGlobBounds(t *testing.T) {
	// Links in circles end.
	dir := t.TempDir()
	for _, d := range []string{"a", "b"} {
		write(t, filepath.Join(dir, d, "file"), "")
		for _, to := range []string{"a", "b", "."} {
			if err := os.Symlink("../"+to, filepath.Join(dir, d, "to"+to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := find(t, dir+"/**/file"); len(got) == 0 || len(got) > 100 {
		t.Errorf("%d found", len(got))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := globFiles(ctx, dir+"/**"); err == nil {
		t.Error("went on")
	}
	g := &globbing{ctx: t.Context(), seen: map[string]bool{}}
	var err error
	for i := 0; err == nil && i < maxGlobBytes; i++ {
		err = g.add(strings.Repeat("x", 4000) + string(rune(i)))
	}
	if err == nil || !strings.Contains(err.Error(), "use a narrower pattern") || len(g.found) > maxGlobBytes/4000+1 {
		t.Errorf("%d found, %v", len(g.found), err)
	}
	if got := errnoOf(err); got != -1 {
		t.Errorf("rc %d", got)
	}
}

// What Python finds, we find.
func TestGlobAsPython(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: install Debian's python3", python)
		}
		t.Skipf("%s is missing: install Debian's python3 to run this test", python)
	}
	dir := globTree(t)
	patterns := []string{
		"*", "?", "**", "**/", "*/", "*/*", "**/*.txt", "d/**/*", "**/e/**", "**/d/**/a.txt", "*/**/a*", "d/**/", "**/.h/*", ".*", ".h/*",
		"[a-c]*", "[!a-c]*", "[^a]", "[]]", "[!]]", "[]-]", "[-a]*", "[a-]*", "[--a]*", "[a--b]*", "[z-a]*", "[!z-a]", "[a-c-e]*", "[", "[]", "[!]", "[a", "a[-]b", "[[]*",
		`back\*`, `[\]]*`, "[ä-é]*", "a*b", "a*a*b", "*a*a*a*b", "a?*", "**a", "a**", "***", "d//e//*", "d/./*", "d/../*.txt", "linked/*", "linked/**", "nowhere*", "tolink*",
		"a.txt/*", "a.txt/**", "nothing/*", "nothing/**", "*/a.txt/", "d*/e/f", "d/e/a.txt", "star[*]", "[.]hidden", "",
	}
	const script = `import glob, json, os, sys
print(json.dumps([sorted(set(os.path.normpath(f) + ("/" if f.endswith("/") else "") for f in glob.glob(p, recursive=True) if os.path.lexists(f))) for p in json.load(sys.stdin)]))`
	whole := make([]string, len(patterns))
	for i, p := range patterns {
		whole[i] = dir + "/" + p
	}
	in, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", script)
	cmd.Env = []string{"LC_ALL=C.UTF-8"}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want [][]string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	for i, p := range patterns {
		got := []string{}
		for _, f := range find(t, whole[i]) {
			clean := path.Clean(f)
			if strings.HasSuffix(f, "/") {
				clean += "/"
			}
			got = append(got, clean)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want[i], slices.Compact(got)); diff != "" {
			t.Errorf("%q: %s", p, diff)
		}
	}
}

func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"*", "[a-z]?*", "[!]]", "[", "a*b*c", "[z-a]", "\xff[\xfe-\xff]"} {
		f.Add(pattern, "a name")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		tokens := parseGlob(pattern)
		matched := matchGlob(tokens, name)
		if !strings.ContainsAny(pattern, "*?[") && matched != (string([]rune(pattern)) == string([]rune(name))) {
			t.Errorf("%q, %q: %t", pattern, name, matched)
		}
		if matched && !matchGlob(append(tokens, globToken{star: true}), name) {
			t.Errorf("%q* does not match %q", pattern, name)
		}
		if !matchGlob(parseGlob("*"+strings.NewReplacer("[", "[[]", "*", "[*]", "?", "[?]").Replace(name)), name) {
			t.Errorf("%q does not match itself", name)
		}
	})
}
