package master

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnersOfCopies: a directory's master has one name for the lease, and that of
// a copy of the directory has another. It has to wait until the original's lease
// is over.
func TestOwnersOfCopies(t *testing.T) {
	t.Parallel()
	owner := func(dir string) string {
		t.Helper()
		f, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		name, err := ownerName(f)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	original := t.TempDir()
	first := owner(original)
	if again := owner(original); again != first {
		t.Errorf("after a restart the owner is %q, and was %q", again, first)
	}
	if host, err := os.Hostname(); err != nil || !strings.HasPrefix(first, host+" ") {
		t.Errorf("%q does not begin with the host %s (%v)", first, host, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if out, err := exec.Command("cp", "-a", original, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if other := owner(copied); other == first {
		t.Errorf("a copy of the directory has the original's owner %q", other)
	}
}

// TestDirectoryIsGivenBack: also where another process has inherited the open file.
func TestDirectoryIsGivenBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	heir := exec.Command("sleep", "1000")
	heir.ExtraFiles = []*os.File{lock}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = heir.Process.Kill()
		_ = heir.Wait()
	}()
	if _, err := lockDir(dir); err == nil {
		t.Error("the directory has two masters")
	}
	unlockDir(lock)
	again, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	unlockDir(again)
}
