package command

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Directories that do not admit their owner are removed too. Root is admitted
// everywhere, so there the test goes on as somebody else, on its own thread.
func TestRemoveUnwritableTree(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	touch(t, filepath.Join(tree, "a/b/file"))
	for _, d := range []string{"a/b", "a", "."} {
		if err := os.Chmod(filepath.Join(tree, d), 0); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		const nobody = 65534
		own := func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, nobody, nobody)
		}
		if err := filepath.WalkDir(dir, own); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // the test's own is private
			t.Fatal(err)
		}
		become(t, nobody)
		if _, err := os.ReadDir(tree); err == nil {
			t.Fatal("still admitted: the test cannot fail")
		}
	}
	if err := removeTree(context.Background(), tree); err != nil {
		t.Error(err)
	}
}

// become makes the test's thread access files as another user.
func become(t *testing.T, uid int) {
	t.Helper()
	runtime.LockOSThread() // not unlocked: the thread ends with the test's goroutine
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.SetfsuidRetUid(0) })
}
