package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/store"
)

// take has a master take the database at path, and end.
func take(t *testing.T, path string) {
	t.Helper()
	db := openAt(t, path)
	owner, err := db.AcquireLease(t.Context(), "here x", time.Hour, time.Now())
	if err == nil {
		err = owner.TakePlace(t.Context(), "here", time.Now())
	}
	if err = errors.Join(err, owner.ReleaseLease(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func openAt(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// isCopy reports whether a master would refuse the database.
func isCopy(t *testing.T, path string) bool {
	t.Helper()
	db := openAt(t, path)
	err := db.CheckPlace(t.Context())
	if closed := db.Close(); closed != nil || err != nil && !errors.Is(err, store.ErrCopy) {
		t.Fatal(err, closed)
	}
	return err != nil
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// TestCopies shows what a master takes for a copy of its database.
func TestCopies(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "original")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state.sqlite")
	if isCopy(t, path) {
		t.Error("a new database is taken for a copy")
	}
	take(t, path)
	if isCopy(t, path) {
		t.Error("after a restart the database is taken for a copy")
	}
	elsewhere := t.TempDir()
	for name, make := range map[string]func(to string){
		"a copied directory": func(to string) { run(t, "cp", "-a", dir, to) },
		"a restored archive": func(to string) {
			run(t, "sh", "-c", `mkdir "$2" && tar -C "$1" -cf - . | tar -C "$2" -xpf -`, "sh", dir, to)
		},
		"a backup": func(to string) {
			run(t, "mkdir", to)
			vacuumInto(t, path, filepath.Join(to, "state.sqlite"))
		},
	} {
		to := filepath.Join(elsewhere, name)
		make(to)
		copied := filepath.Join(to, "state.sqlite")
		if !isCopy(t, copied) {
			t.Errorf("%s is not noticed", name)
		}
		take(t, copied)
		if isCopy(t, copied) {
			t.Errorf("%s is still taken for a copy once it was adopted", name)
		}
	}
	if isCopy(t, path) {
		t.Error("the original is taken for a copy")
	}
	// The same volume at another path, as a container that replaces another may
	// have it.
	moved := filepath.Join(elsewhere, "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if isCopy(t, filepath.Join(moved, "state.sqlite")) {
		t.Error("on the same volume at another path the database is taken for a copy")
	}
}

func vacuumInto(t *testing.T, from, to string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(from))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `VACUUM INTO ?`, to); err != nil {
		t.Fatal(err)
	}
}

// TestClonedDisk has the database on a disk that is mounted anew, and then on a
// clone of that disk. It runs alone: a process that another test starts has for a
// moment what is open here, and a disk with open files cannot be unmounted.
func TestClonedDisk(t *testing.T) {
	dir := t.TempDir()
	image, mountpoint := filepath.Join(dir, "disk"), filepath.Join(dir, "volume")
	run(t, "truncate", "-s", "16M", image)
	run(t, "/sbin/mkfs.ext4", "-q", image)
	if err := os.Mkdir(mountpoint, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(mountpoint, "state.sqlite")
	mounted := func(image string, do func()) bool {
		if out, err := exec.Command("mount", "-o", "loop", image, mountpoint).CombinedOutput(); err != nil {
			t.Logf("no disk can be mounted here, so none is cloned: %s", out)
			return false
		}
		defer run(t, "umount", mountpoint)
		do()
		return true
	}
	if !mounted(image, func() { take(t, path) }) {
		return
	}
	clone := filepath.Join(dir, "clone")
	run(t, "cp", image, clone)
	mounted(image, func() {
		if isCopy(t, path) {
			t.Error("the same disk, mounted again, is taken for a copy")
		}
	})
	mounted(clone, func() {
		if !isCopy(t, path) {
			t.Error("a cloned disk is not noticed")
		}
	})
}

// TestDisk reads what the kernel says of disks.
func TestDisk(t *testing.T) {
	t.Parallel()
	sys := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(sys, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		path := filepath.Join(sys, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(filepath.Join(sys, to), path)); err != nil {
			t.Fatal(err)
		}
	}
	write("nvme/nvme0n1/wwid", "nvme.1d0f-766f6c30\n")
	write("nvme/nvme0n1/device/serial", "vol0123456789abcdef0\n")
	write("nvme/nvme0n1/nvme0n1p1/partition", "1\n")
	write("nvme/nvme1n1/device/serial", "vol0  \n")
	write("xen/xvda/size", "1\n")
	link("dev/block/259:0", "nvme/nvme0n1")
	link("dev/block/259:1", "nvme/nvme0n1/nvme0n1p1")
	link("dev/block/259:2", "nvme/nvme1n1")
	link("dev/block/202:0", "xen/xvda")
	write("dm/dm-0/size", "1\n")
	link("dm/dm-0/slaves/nvme1n1", "nvme/nvme1n1")
	link("dm/dm-0/slaves/nvme0n1p1", "nvme/nvme0n1/nvme0n1p1")
	link("dev/block/253:0", "dm/dm-0")
	link("dm/dm-1/slaves/xvda", "xen/xvda")
	link("dm/dm-1/slaves/nvme1n1", "nvme/nvme1n1")
	link("dev/block/253:1", "dm/dm-1")
	link("dm/dm-2/slaves/dm-2", "dm/dm-2")
	link("dev/block/253:2", "dm/dm-2")
	for device, want := range map[[2]uint32]string{
		{259, 0}: "nvme.1d0f-766f6c30",
		{259, 1}: "nvme.1d0f-766f6c30",
		{259, 2}: "vol0",
		{202, 0}: "",
		{253, 0}: "nvme.1d0f-766f6c30 vol0",
		{253, 1}: "",
		{253, 2}: "",
		{0, 45}:  "",
	} {
		if got := disk(sys, device[0], device[1]); got != want {
			t.Errorf("device %v is %q, want %q", device, got, want)
		}
	}
}
