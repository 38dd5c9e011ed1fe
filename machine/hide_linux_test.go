package machine

import (
	"log/slog"
	"os/exec"
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
	if err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "echo x").Run(); err != nil {
		t.Error(err)
	}
}
