package worker

import (
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHideProcess(t *testing.T) {
	before, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(before), 0, 0, 0) })
	HideProcess(slog.New(slog.DiscardHandler))
	if after, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || after != 0 {
		t.Errorf("dumpable is %d, %v", after, err)
	}
	// The agent must still run commands.
	if master := shell(t, map[string]any{"command": "echo x"}); master.pairs["rc"] != 0 {
		t.Error(master.pairs)
	}
}
