package command

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/dormouse-ci/dormouse"
)

// file runs a command on files to its end.
func file(t *testing.T, name string, args map[string]any) *fakeConn {
	t.Helper()
	c, err := parseCommand(name, args)
	if err != nil {
		t.Fatal(err)
	}
	master := newFakeConn()
	r := newRunning(t.Context(), master)
	defer r.out.Close()
	if failure := r.do(c); failure != "" {
		t.Fatal(failure)
	}
	return master
}

func TestMkdir(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a/b/c"), filepath.Join(dir, "d")
	for range 2 { // what is there already is fine
		if got := file(t, "mkdir", map[string]any{"paths": []any{a, b}}).pairs; got["rc"] != 0 {
			t.Errorf("%v", got)
		}
	}
	for _, d := range []string{a, b} {
		if fi, err := os.Stat(d); err != nil || !fi.IsDir() {
			t.Error(err)
		}
	}
	touch(t, filepath.Join(dir, "file"))
	below := filepath.Join(dir, "file/x")
	master := file(t, "mkdir", map[string]any{"paths": []any{below, filepath.Join(dir, "never")}})
	if master.pairs["rc"] != int(syscall.ENOTDIR) {
		t.Errorf("rc %v", master.pairs["rc"])
	}
	if got := master.text(dormouse.Header); got != "mkdir: not a directory: "+below+"\n" {
		t.Errorf("header %q", got)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestRmdir(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	touch(t, keep)
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range removeBatch + 10 {
		touch(t, filepath.Join(tree, "a/b", strings.Repeat("x", 1+i%200)+string(rune('a'+i/200))))
	}
	if err := os.Symlink(keep, filepath.Join(tree, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(tree, "linked directory")); err != nil {
		t.Fatal(err)
	}
	single := filepath.Join(dir, "single")
	touch(t, single)
	master := file(t, "rmdir", map[string]any{"paths": []any{tree, filepath.Join(dir, "not there"), single}})
	if master.pairs["rc"] != 0 {
		t.Errorf("rc %v: %s", master.pairs["rc"], master.text(dormouse.Header))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "keep" {
		t.Errorf("left: %v, %v", entries, err)
	}
	// A path that fails does not keep the others.
	touch(t, single)
	master = file(t, "rmdir", map[string]any{"paths": []any{"/proc/self", single}})
	if master.pairs["rc"] == 0 {
		t.Error("rc 0 for what cannot be removed")
	}
	if _, err := os.Stat(single); err == nil {
		t.Error("a failure stopped the rest")
	}
}

func TestRemoveStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if err := removeTree(ctx, dir); err == nil {
		t.Error("went on")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error("removed after all")
	}
}

func TestStat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o640); err != nil {
		t.Fatal(err)
	}
	got := file(t, "stat", map[string]any{"path": path}).pairs
	numbers, ok := got["stat"].([]any)
	if !ok || len(numbers) != 10 || got["rc"] != 0 {
		t.Fatalf("%v", got)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := numbers[0].(int64); mode != syscall.S_IFREG|0o640 {
		t.Errorf("mode %o", mode)
	}
	if numbers[6] != int64(5) || numbers[8] != fi.ModTime().Unix() {
		t.Errorf("%v", numbers)
	}
	master := file(t, "stat", map[string]any{"path": path + ".not"})
	if master.pairs["rc"] != int(syscall.ENOENT) || master.pairs["stat"] != nil {
		t.Errorf("%v", master.pairs)
	}
}

func TestListdir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a", "\xff"} {
		touch(t, filepath.Join(dir, name))
	}
	got := file(t, "listdir", map[string]any{"path": dir}).pairs
	var names []string
	for _, name := range got["files"].([]any) {
		names = append(names, name.(string))
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"a", "b", "\uFFFD"}) || got["rc"] != 0 {
		t.Errorf("%q, %v", names, got)
	}
	if got := file(t, "listdir", map[string]any{"path": dir + "/not"}).pairs; got["rc"] != int(syscall.ENOENT) {
		t.Errorf("%v", got)
	}
	// The stock master insists on the key also where there is nothing.
	if got := file(t, "listdir", map[string]any{"path": t.TempDir()}).pairs; got["files"] == nil {
		t.Errorf("%v", got)
	}
}

func TestFileArguments(t *testing.T) {
	for name, args := range map[string]map[string]any{
		"mkdir":   {"paths": "/x"},
		"rmdir":   {"paths": []any{}},
		"stat":    {},
		"listdir": {"path": int64(1)},
	} {
		if _, err := parseCommand(name, args); dormouse.CodeOf(err) != dormouse.Invalid {
			t.Errorf("%s %v: %v", name, args, err)
		}
	}
}
