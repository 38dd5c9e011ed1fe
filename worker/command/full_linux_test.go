package command

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/dormouse-ci/dormouse"
)

// A disk that is full is named, and nothing is left that looks whole. Only root
// can make one that is small.
func TestFullDisk(t *testing.T) {
	base := t.TempDir()
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=64k"); err != nil {
		t.Logf("no small disk can be made here, so that nothing is tried: %v", err)
		return
	}
	t.Cleanup(func() { _ = unix.Unmount(base, unix.MNT_DETACH) })
	const full = "no space left on device"
	source := t.TempDir()
	big := strings.Repeat("x", 200<<10)
	write(t, filepath.Join(source, "tree/big"), big)
	path := write(t, filepath.Join(base, "dir/old"), "old")
	before := left(t, base)
	master, failure := moveIn(t, base, "download_file", map[string]any{"path": path}, func(m *fakeConn, _ *running) { m.from = strings.NewReader(big) })
	if got := master.text(dormouse.Stderr); failure != "" || master.pairs["rc"] != 1 || got != "cannot write "+path+": "+full+"\n" {
		t.Errorf("%q, %v, %s", failure, master.pairs, got)
	}
	if diff := cmp.Diff(before, left(t, base)); diff != "" {
		t.Error(diff)
	}
	master, failure = moveIn(t, base, "cpdir", map[string]any{"from_path": filepath.Join(source, "tree"), "to_path": filepath.Join(base, "to")}, nil)
	if got := master.text(dormouse.Stderr); failure != "" || master.pairs["rc"] != 1 || got != "cannot copy to "+filepath.Join(base, "to/big")+": "+full+"\n" {
		t.Errorf("%q, %v, %s", failure, master.pairs, got)
	}
}
